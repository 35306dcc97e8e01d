"""What a Python session writes: prints, and between them frames. The format is in sdk/driver/python_session.py."""

from __future__ import annotations

import json
import re
from typing import Any, Union

from .errors import invalid_answer

#: An answer has at most 64 results of 6 MiB; what is beyond is no answer of the driver.
FRAME_MOST_BYTES = 384 * 1024 * 1024
_HEAD = re.compile(rb"[+.][0-9a-f]{4}")


class Frames:
    """`feed` takes bytes of one stream and gives, in order, printed bytes and the frames' messages."""

    def __init__(self, nonce: str) -> None:
        self._mark = b"\x1e" + nonce.encode("ascii")
        self._buffer = bytearray()
        self._message = bytearray()

    def feed(self, data: bytes) -> list[Union[bytes, dict[str, Any]]]:
        self._buffer += data
        found: list[Union[bytes, dict[str, Any]]] = []
        while self._buffer:
            at = self._buffer.find(self._mark)
            if at != 0:
                end = at if at > 0 else len(self._buffer) - self._partial()
                if end == 0:
                    break
                found.append(bytes(self._buffer[:end]))
                del self._buffer[:end]
            elif not self._piece(found):
                break
        return found

    def end(self) -> bytes:
        """What was held back because it could have become a frame."""
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest

    def _partial(self) -> int:
        """How many bytes at the end may be the beginning of a mark."""
        start = self._buffer.rfind(b"\x1e", max(0, len(self._buffer) - len(self._mark) + 1))
        tail = self._buffer[start:] if start >= 0 else b""
        return len(tail) if tail and self._mark.startswith(bytes(tail)) else 0

    def _piece(self, found: list[Union[bytes, dict[str, Any]]]) -> bool:
        """Takes one piece from the front of the buffer; False when it is not whole."""
        begin = len(self._mark) + 5
        head = bytes(self._buffer[len(self._mark) : begin])
        if len(head) < 5:
            return False
        if not _HEAD.fullmatch(head):
            raise invalid_answer("a frame of the session that is none")
        end = begin + int(head[1:], 16)
        if len(self._buffer) < end:
            return False
        self._message += self._buffer[begin:end]
        del self._buffer[:end]
        if len(self._message) > FRAME_MOST_BYTES:
            raise invalid_answer("a frame of the session without an end")
        if head[:1] == b".":
            message, self._message = bytes(self._message), bytearray()
            found.append(_parsed(message))
        return True


def _parsed(message: bytes) -> dict[str, Any]:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise invalid_answer("a message of the session that is not JSON") from None
    if not isinstance(value, dict):
        raise invalid_answer("a message of the session that is no object")
    return value
