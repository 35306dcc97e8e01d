"""One command in a sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Union

from .._ask import Ask, at
from .._types import ExecInfo
from .._values import ExecEnd, Lines, Output, StreamName, end_of
from ..errors import CaissonError
from . import io
from .follow import AsyncFollower
from .http import AsyncHttp

#: Longest that one request waits for the end of a command; then the next one does.
WAIT_MS = 60_000
_STDIN_PIECE = 256 * 1024
#: A command reads its stdin when it likes, which may be never: this is longer than it lives.
_READ_S = 7 * 86_400.0


class AsyncProcess:
    """A command that runs in a sandbox. What it writes is kept by Caisson: every iteration of it reads from the first byte on,
    and goes on where a lost connection broke off. Comes from `box.spawn` and `box.attach`; `async with` kills it at the end.
    Every method waits for an API that does not answer, for `reconnect_ms`.
    """

    def __init__(self, http: AsyncHttp, info: ExecInfo, *, written: int | None) -> None:
        self._http = http
        #: The offset of what is not known to be taken, and that: one value, so that nothing comes between the two.
        self._stdin: tuple[int | None, memoryview] = (written, memoryview(b""))
        self._writing = io.Gate()
        self.id = info["id"]
        self.sandbox = info["sandbox"]
        self.tty = info["tty"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def _path(self, *more: str) -> str:
        return at("sandboxes", self.sandbox, "execs", self.id, *more)

    async def output(self, *, offset: int = 0) -> AsyncIterator[Output]:
        """Both streams in the order in which they came, until the command has ended."""
        follower = AsyncFollower(self._http, self.sandbox, self.id, offset=offset)
        try:
            while (chunk := await follower.next()) is not None:
                yield chunk
        finally:
            await follower.aclose()

    def __aiter__(self) -> AsyncIterator[Output]:
        return self.output()

    async def lines(self, stream: StreamName = "stdout") -> AsyncIterator[str]:
        """The lines of one stream as text, without their ends."""
        lines = Lines(stream)
        async with io.aclosing(self.output()) as chunks:
            async for chunk in chunks:
                for line in lines.feed(chunk):
                    yield line
        for line in lines.end():
            yield line

    async def info(self) -> ExecInfo:
        return await self._http.json(Ask("GET", self._path(), repeatable=True, patient=True))

    async def wait(self) -> ExecEnd:
        """How the command ended, once it has."""
        while True:
            info = await self._http.json(Ask("GET", self._path(), {"waitMs": WAIT_MS}, repeatable=True, patient=True))
            if info["state"] == "ended":
                return ExecEnd(**end_of(info))

    async def write(self, data: Union[str, bytes]) -> None:
        """Writes to stdin, in the order of the calls; returns when the sandbox has taken the bytes. Each byte is taken once,
        also when the connection breaks. What a call that its caller ended has left goes before what is written next: it
        is not to be written again. The command must have been started with `stdin` or `tty`."""
        async with self._writing:
            offset, rest = self._stdin
            self._stdin = (offset, memoryview(bytes(rest) + (data.encode() if isinstance(data, str) else bytes(data))))
            await self._flush()

    async def end_stdin(self) -> None:
        """Ends stdin, after what was written."""
        async with self._writing:
            await self._flush()
            await self._put(b"", {"end": True})

    async def _flush(self) -> None:
        """The same bytes at the same place are taken once: what may have been taken is sent again, and what follows it with it."""
        try:
            while len(self._stdin[1]) > 0:
                offset, rest = self._stdin
                if offset is None:
                    offset = await self._put(b"", {})
                    self._stdin = (offset, rest)
                piece = bytes(rest[:_STDIN_PIECE])
                await self._put(piece, {"offset": offset})
                self._stdin = (offset + len(piece), rest[len(piece) :])
        except CaissonError:
            self._stdin = (None, memoryview(b""))
            raise

    async def _put(self, data: bytes, query: dict[str, Any]) -> int:
        answer = await self._http.json(Ask("PUT", self._path("stdin"), query, body=data, repeatable=True, patient=True, step_s=_READ_S))
        return int(answer["taken"])

    async def kill(self, signal: Union[str, int] = "SIGTERM") -> bool:
        """Sends a signal to the command's process group; 9 reaches everything that it started. False: it had ended."""
        return await signal_exec(self._http, self.sandbox, self.id, signal)

    async def resize(self, cols: int, rows: int) -> None:
        """Gives the terminal another size."""
        await self._http.json(Ask("POST", self._path("resize"), json={"cols": cols, "rows": rows}, repeatable=True, patient=True))

    async def __aenter__(self) -> "AsyncProcess":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill("SIGKILL")


async def signal_exec(http: AsyncHttp, sandbox: str, exec_id: str, signal: Union[str, int]) -> bool:
    """Sends a signal; False when there is nothing left to send it to."""
    path = at("sandboxes", sandbox, "execs", exec_id)
    if await _ended(http, path):
        return False
    try:
        # SIGKILL may be sent twice; any other signal may mean something each time.
        await http.json(Ask("POST", f"{path}/signal", json={"signal": signal}, repeatable=signal in ("SIGKILL", 9), patient=True))
    except CaissonError:
        if await _ended(http, path):
            return False
        raise
    return True


async def _ended(http: AsyncHttp, path: str) -> bool:
    try:
        info = await http.json(Ask("GET", path, repeatable=True, patient=True))
    except CaissonError as error:
        if error.code in ("EXEC_NOT_FOUND", "SANDBOX_NOT_FOUND"):
            return True
        raise
    return bool(info["state"] == "ended")
