# Generated from _aio/ports.py by `./dev generate`: change that file.
"""TCP ports of a sandbox's own loopback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

from .._ask import Ask, at, given, head_of
from .._http1 import Response
from .._where import Where
from ..errors import invalid_answer, invalid_option, lost, problem
from . import io
from .http import CONNECT_S, STEP_S, Http

BODY_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class PortResponse:
    """What a server in the sandbox answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Ports:
    """The ports of one sandbox: `box.ports`."""

    def __init__(self, http: Http, sandbox: str) -> None:
        self._http = http
        self._sandbox = sandbox

    def connect(self, port: int) -> io.Stream:
        """A connection to a port: a reader and a writer of asyncio, or a socket where nothing is asynchronous.

        Raises CaissonError PORT_REFUSED where nothing listens.
        """
        where = self._http.where
        path = at("sandboxes", self._sandbox, "ports", str(_port(port)), "connect")
        head, _, _ = head_of(Ask("GET", path, headers={"Connection": "Upgrade", "Upgrade": "caisson-tcp"}), where)
        link = io.connect(where, CONNECT_S)
        try:
            link.send(head, STEP_S)
            answer = Response("GET")
            waiting = answer.feed(link.receive_head(STEP_S))
            if answer.status == 101:
                return link.give()
            while not answer.done:
                data = link.receive(STEP_S)
                waiting += answer.feed(data)
                if not data and not answer.eof():
                    raise lost(where.name, "it ended before the answer did")
            raise problem(answer.status, b"".join(waiting))
        except BaseException:
            link.abort()
            raise

    def forward(self, port: int, *, local_port: int = 0) -> io.Forward:
        """Listens on 127.0.0.1 and joins every connection with the port of the sandbox. `port` of the result is the local one."""
        _port(port)
        return io.serve(local_port, lambda: self.connect(port))

    def fetch(
        self,
        port: int,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: Union[str, bytes, None] = None,
        timeout_s: float = 30.0,
        max_bytes: int = BODY_MOST_BYTES,
    ) -> PortResponse:
        """One HTTP request to a server in the sandbox. The answer is untrusted: it is bounded, and redirects are not followed."""
        raw = body.encode() if isinstance(body, str) else body
        head, sent, _ = head_of(_port_ask(method, path, headers or {}, raw), _inside(port))
        stream = self.connect(port)
        link = io.stream_of(stream, f"port {port}")
        try:
            link.send(head + (sent or b""), timeout_s)
            answer, pieces, size, until_s = Response(method), [], 0, io.clock_s() + timeout_s
            while not answer.done:
                try:
                    data = link.receive(max(0.0, until_s - io.clock_s()))
                except TimeoutError:
                    raise lost(f"port {port}", f"no whole answer within {timeout_s:g} s") from None
                found = answer.feed(data)
                size += sum(len(piece) for piece in found)
                pieces += found
                if size > max_bytes:
                    raise invalid_answer(f"port {port} answered with more than {max_bytes} bytes")
                if not data and not answer.eof():
                    raise lost(f"port {port}", "it ended before the answer did")
            return PortResponse(answer.status, answer.headers, b"".join(pieces))
        finally:
            link.abort()


def _port(port: int) -> int:
    if not isinstance(port, int) or not 1 <= port <= 65_535:
        raise invalid_option("port must be 1 to 65535")
    return port


def _inside(port: int) -> Where:
    return Where(f"port {port}", None, "127.0.0.1", port, False, f"127.0.0.1:{port}")


def _port_ask(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Ask:
    if not method.isascii() or not method.isalpha() or len(method) > 32:
        raise invalid_option("method must be a word such as GET")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise invalid_option("path must begin with / and be percent-encoded")
    return Ask(method, path, headers={"Connection": "close", **given(**dict(headers))}, body=body)
