"""Server-sent events (HTML §9.2.6) from bytes that come in any pieces. No input or output here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .errors import invalid_answer

EVENT_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Event:
    name: str
    data: str
    id: str | None

    def json(self) -> Any:
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            raise invalid_answer(f"an event {self.name[:64]} that is not JSON") from None


class Events:
    """`feed` takes bytes and gives the events that they complete. An event that the end of the stream cuts short is none.

    Raises CaissonError ANSWER_INVALID for an event of more than 16 MiB.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._first = True
        self._size = 0
        self._name = ""
        self._data: list[bytes] = []
        self._id: str | None = None

    def feed(self, data: bytes) -> list[Event]:
        self._buffer += data
        found: list[Event] = []
        start = 0
        while (line_end := self._end(max(start, self._searched))) is not None:
            end, after = line_end
            self._line(bytes(self._buffer[start:end]), found)
            start = self._searched = after
        del self._buffer[:start]
        self._searched = max(0, len(self._buffer) - 1)
        if self._size + len(self._buffer) > EVENT_MOST_BYTES:
            raise invalid_answer("an event without an end")
        return found

    def _end(self, at: int) -> tuple[int, int] | None:
        """Where the line ends and the next begins: after LF, CR LF or CR. A CR that is last may be half of an end."""
        line_feed = self._buffer.find(b"\n", at)
        carriage = self._buffer.find(b"\r", at, line_feed if line_feed >= 0 else len(self._buffer))
        if carriage < 0:
            return None if line_feed < 0 else (line_feed, line_feed + 1)
        if carriage + 1 == len(self._buffer):
            return None
        return carriage, carriage + (2 if self._buffer[carriage + 1] == 0x0A else 1)

    def _line(self, line: bytes, found: list[Event]) -> None:
        if self._first:
            line, self._first = line.removeprefix(b"\xef\xbb\xbf"), False
        if not line:
            return self._dispatch(found)
        self._size += len(line)
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"data":
            self._data.append(value)
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

    def _dispatch(self, found: list[Event]) -> None:
        if self._data:
            found.append(Event(self._name or "message", b"\n".join(self._data).decode("utf-8", "replace"), self._id))
        self._name, self._data, self._size = "", [], 0
