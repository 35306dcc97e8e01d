# Generated from _aio/http.py by `./dev generate`: change that file.
"""Requests and answers over connections that are used again where that is safe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Callable
from typing import Any

from .._ask import Ask, head_of
from .._http1 import Response
from .._where import Where
from ..errors import CaissonError, invalid_answer, is_passing, lost, problem
from . import io

#: How long one step of an exchange may take: to connect, to send a piece, to be answered. A paused or busy sandbox takes its time.
CONNECT_S = 10.0
STEP_S = 120.0
#: The API says something at least every 15 seconds on a stream of events; one that is silent for longer is lost.
SILENCE_S = 45.0
IDLE_MOST = 8
JSON_MOST_BYTES = 64 * 1024 * 1024
_PIECE = 65_536
_PAUSE_MOST_S = 2.0
#: A connection that was open for so long before it broke has worked: the time that it is away begins anew.
_WORKED_S = 10.0


class Http:
    """The requests of one client. Holds connections that nobody uses now; `close` ends them, and `cut` ends all of them."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self._idle: list[io.Link] = []
        self._used: set[io.Link] = set()
        self._over = False

    def __enter__(self) -> "Http":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()

    def cut(self) -> None:
        """Ends what is asked now, from any thread: it fails, and nothing is asked any more."""
        self._over = True
        for link in list(self._used):
            link.wake()

    def json(self, ask: Ask) -> Any:
        """The JSON of the answer; None where it has none. Raises what the answer says."""
        body = self._patiently(ask, lambda: self._whole(ask))
        if not body:
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise invalid_answer(f"{ask.path} answered with what is not JSON") from None

    def open(self, ask: Ask, *, timeout_s: float = STEP_S) -> "Reply":
        """The answer with its body unread."""
        return self._patiently(ask, lambda: self._once(ask, timeout_s))

    def pieces(self, ask: Ask) -> Iterator[bytes]:
        """The body of the answer as it comes: nothing is held but what the reader has not taken."""
        reply = self.open(ask)
        try:
            while piece := reply.read():
                yield piece
        finally:
            reply.close()

    def _patiently(self, ask: Ask, attempt: Callable[[], Any]) -> Any:
        """A request that may be repeated is, when the connection breaks before its answer is there."""
        retry = Retry(self.where)
        while True:
            asked_s = io.clock_s()
            try:
                return attempt()
            except CaissonError as error:
                if self._over or not _again(ask, error, retry.lost):
                    raise
                if ask.patient and error.code == "CONNECTION_LOST" and io.clock_s() - asked_s >= _WORKED_S:
                    retry.progressed()
                retry.failed(error)

    def _whole(self, ask: Ask) -> bytes:
        reply = self._once(ask, ask.step_s or STEP_S)
        try:
            return reply.all(JSON_MOST_BYTES)
        finally:
            reply.close()

    def _once(self, ask: Ask, timeout_s: float) -> "Reply":
        head, body, chunked = head_of(ask, self.where)
        link = self._link(ask)
        self._used.add(link)
        try:
            if self._over:
                raise lost(self.where.name, "it was closed")
            answer = Response(ask.method)
            reply = Reply(self, link, answer, timeout_s)
            try:
                self._send(link, head, body, chunked, ask.step_s or STEP_S)
            except CaissonError:
                # What is refused in the middle is answered and then closed: the answer says more than the broken pipe.
                if not reply._salvaged():
                    raise
            else:
                reply._head()
            if answer.status >= 400:
                text = reply.all(JSON_MOST_BYTES)
                raise problem(answer.status, text, answer.headers.get("retry-after"))
            return reply
        except BaseException:
            self._end(link)
            raise

    def _link(self, ask: Ask) -> io.Link:
        """A kept connection may be closed by the other side as the request arrives: only what may be repeated goes there."""
        while ask.repeatable and self._idle:
            link = self._idle.pop()
            if link.usable():
                return link
            link.abort()
        return io.connect(self.where, CONNECT_S)

    def _send(self, link: io.Link, head: bytes, body: Any, chunked: bool, step_s: float) -> None:
        """Each piece may take so long, however many there are."""
        if not chunked:
            rest = memoryview(body or b"")
            link.send(head + bytes(rest[:_PIECE]), step_s)
            for at in range(_PIECE, len(rest), _PIECE):
                link.send(bytes(rest[at : at + _PIECE]), step_s)
            return
        link.send(head, step_s)
        with io.closing(_pieces(body)) as pieces:
            for piece in pieces:
                if piece:
                    link.send(b"%x\r\n%b\r\n" % (len(piece), piece), step_s)
        link.send(b"0\r\n\r\n", step_s)

    def _keep(self, link: io.Link) -> None:
        if len(self._idle) < IDLE_MOST and not self._over:
            self._used.discard(link)
            self._idle.append(link)
        else:
            self._end(link)

    def _end(self, link: io.Link) -> None:
        self._used.discard(link)
        link.abort()


def _again(ask: Ask, error: CaissonError, was_lost: bool) -> bool:
    """Whether a request that failed is made again. What did not arrive may be, whatever it does."""
    if ask.patient and error.code in ("DAEMON_UNREACHABLE", "DRAINING"):
        return True
    return ask.repeatable and (error.code == "CONNECTION_LOST" or was_lost and is_passing(error))


def _pieces(body: Any) -> Iterator[bytes]:
    if hasattr(body, "read"):
        while data := io.offload(body.read, _PIECE):
            yield data.encode() if isinstance(data, str) else bytes(data)
    elif hasattr(body, "__iter__"):
        for data in body:
            yield data.encode() if isinstance(data, str) else bytes(data)
    else:
        for data in body:
            yield data.encode() if isinstance(data, str) else bytes(data)


class Reply:
    """An answer whose body is read as it comes. `close` gives the connection back, or ends it when there is more on it."""

    def __init__(self, http: Http, link: io.Link, answer: Response, timeout_s: float) -> None:
        self._http = http
        self._link: io.Link | None = link
        self._answer = answer
        self._timeout_s = timeout_s
        self._waiting: list[bytes] = []
        self.headers = answer.headers

    @property
    def status(self) -> int:
        return self._answer.status

    def _head(self) -> None:
        while not self._answer.head_known:
            self._waiting += self._more(self._timeout_s)
        self.headers = self._answer.headers

    def _salvaged(self) -> bool:
        try:
            self._head()
        except CaissonError:
            return False
        return self._answer.status >= 400

    def _more(self, timeout_s: float) -> list[bytes]:
        """Raises TimeoutError only where less than the time of the reply was given."""
        assert self._link is not None
        name = self._http.where.name
        try:
            data = self._link.receive(timeout_s)
        except TimeoutError:
            if timeout_s < self._timeout_s:
                raise
            raise lost(name, f"nothing came for {timeout_s:g} s") from None
        if data:
            return self._answer.feed(data)
        if not self._answer.eof():
            raise lost(name, "it ended before the answer did")
        return []

    def read(self, timeout_s: float | None = None) -> bytes:
        """Some of the body; nothing at its end. Raises TimeoutError after `timeout_s`, and can be called again then."""
        while not self._waiting and not self._answer.done:
            self._waiting = self._more(self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s))
        return self._waiting.pop(0) if self._waiting else b""

    def all(self, most_bytes: int) -> bytes:
        body = bytearray()
        while data := self.read():
            body += data
            if len(body) > most_bytes:
                raise invalid_answer(f"an answer of more than {most_bytes} bytes")
        return bytes(body)

    def close(self) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        if self._answer.done and self._answer.keep_alive and not self._answer.rest and not self._waiting:
            self._http._keep(link)
        else:
            self._http._end(link)


class Retry:
    """Pauses between attempts, each longer than the last, until there was no progress for the time of the connection."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._since_s: float | None = None
        self._attempt = 0

    @property
    def lost(self) -> bool:
        return self._since_s is not None

    def progressed(self) -> None:
        self._since_s, self._attempt = None, 0

    def failed(self, error: CaissonError) -> None:
        now_s = io.clock_s()
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s >= self._where.reconnect_ms / 1000:
            raise error
        io.pause(min(_PAUSE_MOST_S, 0.02 * 2**self._attempt))
        self._attempt = min(self._attempt + 1, 10)
