"""What differs between asyncio and blocking code: sockets, time and cancellation. Its twin is _sync/io.py."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from .._where import Where
from ..errors import CaissonError, lost, unreachable

__all__ = ["CANCELLED", "Beside", "Gate", "Link", "aclosing", "clock_s", "connect", "offload", "pause", "serve", "stream_of"]

#: What a caller ends a wait with.
CANCELLED: tuple[type[BaseException], ...] = (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)
Gate = asyncio.Lock
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

clock_s = time.monotonic
pause = asyncio.sleep
_CHUNK = 65_536


class Link:
    """One connection. Every failure of it is CONNECTION_LOST."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes, timeout_s: float) -> None:
        try:
            self._writer.write(data)
            async with asyncio.timeout(timeout_s):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise lost(self._name, error or "it took nothing") from error

    async def receive(self, timeout_s: float) -> bytes:
        """Bytes; none at the end. Raises TimeoutError when none came in time; nothing is lost then."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._reader.read(_CHUNK)
        except TimeoutError:
            raise
        except OSError as error:
            raise lost(self._name, error) from error

    def usable(self) -> bool:
        """Whether it can take another request: the other side neither closed it nor said anything unasked."""
        return not self._writer.is_closing() and not self._reader.at_eof() and not getattr(self._reader, "_buffer", b"")

    def abort(self) -> None:
        self._writer.transport.abort()

    def wake(self) -> None:
        """Ends what waits for it."""
        self._writer.transport.abort()

    def give(self) -> Stream:
        """The connection itself; this object is no longer of use."""
        return self._reader, self._writer

    async def receive_head(self, timeout_s: float) -> bytes:
        """The bytes up to the first empty line, and none after it."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._reader.readuntil(b"\r\n\r\n")
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
            raise lost(self._name, error or "nothing came") from error


async def connect(where: Where, timeout_s: float) -> Link:
    """Raises CaissonError DAEMON_UNREACHABLE."""
    try:
        async with asyncio.timeout(timeout_s):
            if where.socket_path is not None:
                reader, writer = await asyncio.open_unix_connection(where.socket_path)
            else:
                context = ssl.create_default_context() if where.secure else None
                reader, writer = await asyncio.open_connection(where.host, where.port, ssl=context)
    except (OSError, TimeoutError, ValueError) as error:
        raise unreachable(where.name) from error
    return Link(where.name, reader, writer)


def stream_of(stream: Stream, name: str) -> Link:
    return Link(name, *stream)


class Beside:
    """Something that goes on beside its caller until it is done or `end` ends it."""

    def __init__(self, act: Callable[[], Awaitable[None]]) -> None:
        self._task = asyncio.ensure_future(act())

    @property
    def goes_on(self) -> bool:
        return not self._task.done()

    @property
    def error(self) -> BaseException | None:
        """What it failed with; None while it goes on, and when it went well."""
        return None if self.goes_on or self._task.cancelled() else self._task.exception()

    async def end(self, cut: Callable[[], None]) -> None:
        """`cut` makes what it waits for fail."""
        cut()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def offload(act: Callable[..., Any], *args: Any) -> Any:
    """Runs what reads or writes local files without holding up the loop."""
    return await asyncio.to_thread(act, *args)


async def serve(local_port: int, dial: Callable[[], Awaitable[Stream]]) -> "Forward":
    """Listens on 127.0.0.1; each connection is joined with one that `dial` makes."""
    forward = Forward(dial)
    forward._server = await asyncio.start_server(forward._joined, "127.0.0.1", local_port)
    return forward


class Forward:
    """A local port that is one of a sandbox. `async with` closes it."""

    def __init__(self, dial: Callable[[], Awaitable[Stream]]) -> None:
        self._dial = dial
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await self._dial()
            try:
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            finally:
                far_writer.transport.abort()
        except (OSError, CaissonError, asyncio.CancelledError):
            pass  # there is nobody to tell but the two ends, which see it
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> "Forward":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
