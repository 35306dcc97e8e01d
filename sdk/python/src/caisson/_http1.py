"""HTTP/1.1 responses (RFC 9112) from bytes that come in any pieces. No input or output here."""

from __future__ import annotations

import re

from .errors import invalid_answer

HEAD_MOST_BYTES = 65_536
LINE_MOST_BYTES = 4_096
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class Response:
    """One response as it arrives. `feed` takes bytes and gives those of the body; `eof` says that no more come.

    Raises CaissonError ANSWER_INVALID for bytes that are no response. What comes after it is in `rest`.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer = bytearray()
        self._state = "head"
        self._left = 0
        self._trailers = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.done = False
        self.keep_alive = False

    @property
    def head_known(self) -> bool:
        return self._state != "head"

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        out: list[bytes] = []
        while not self.done and self._step(out):
            pass
        return out

    def eof(self) -> bool:
        """Whether the response is whole, now that the connection has ended."""
        if self._state == "until-eof":
            self.done = True
        return self.done

    def _step(self, out: list[bytes]) -> bool:
        if self._state == "head":
            return self._head()
        if self._state in ("length", "chunk"):
            return self._bytes(out)
        if self._state == "until-eof":
            return self._take(len(self._buffer), out)
        line = self._line(LINE_MOST_BYTES)
        if line is None:
            return False
        if self._state == "size":
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise invalid_answer("a chunk without a length")
            self._left = int(match[1], 16)
            self._state = "chunk" if self._left else "trailers"
        elif self._state == "after-chunk":
            if line:
                raise invalid_answer("a chunk that is longer than it says")
            self._state = "size"
        else:
            self._trailers += len(line) + 2
            if self._trailers > HEAD_MOST_BYTES:
                raise invalid_answer("too many trailers")
            self.done = not line
        return True

    def _take(self, count: int, out: list[bytes]) -> bool:
        if count == 0:
            return False
        out.append(bytes(self._buffer[:count]))
        del self._buffer[:count]
        return True

    def _bytes(self, out: list[bytes]) -> bool:
        count = min(self._left, len(self._buffer))
        if not self._take(count, out):
            return False
        self._left -= count
        if self._left == 0 and self._state == "length":
            self.done = True
        elif self._left == 0:
            self._state = "after-chunk"
        return True

    def _line(self, most: int) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, most + 2)
        if end < 0:
            if len(self._buffer) > most:
                raise invalid_answer("a line without an end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, HEAD_MOST_BYTES + 4)
        if end < 0:
            if len(self._buffer) > HEAD_MOST_BYTES:
                raise invalid_answer("a head without an end")
            return False
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        status = _STATUS.fullmatch(lines[0])
        if status is None:
            raise invalid_answer("what answered does not speak HTTP/1.1")
        self.status = int(status[1])
        self.headers = _headers(lines[1:])
        if 100 <= self.status < 200 and self.status != 101:
            return True
        self.keep_alive = lines[0].startswith(b"HTTP/1.1") and "close" not in self.headers.get("connection", "").lower()
        self._frame()
        return True

    def _frame(self) -> None:
        """How long the body is (RFC 9112 §6.3). Two answers to that question are none."""
        length, coding = self.headers.get("content-length"), self.headers.get("transfer-encoding")
        if length is not None and coding is not None:
            raise invalid_answer("a body with two lengths")
        if self._method == "HEAD" or self.status in (101, 204, 304):
            self._state, self.done = "none", True
        elif coding is not None:
            if coding.lower() != "chunked":
                raise invalid_answer(f"a body coded as {coding[:64]}")
            self._state = "size"
        elif length is not None:
            if not re.fullmatch(r"\d{1,15}", length):
                raise invalid_answer("a length that is no number")
            self._state, self._left = "length", int(length)
            self.done = self._left == 0
        else:
            self._state, self.keep_alive = "until-eof", False


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise invalid_answer("a header that is none")
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1")
        if name in headers:
            if name in ("content-length", "transfer-encoding"):
                raise invalid_answer("a body with two lengths")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers
