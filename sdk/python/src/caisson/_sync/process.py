# Generated from _aio/process.py by `./dev generate`: change that file.
"""One command in a sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union

from .._ask import Ask, at
from .._types import ExecInfo
from .._values import ExecEnd, Lines, Output, StreamName, end_of
from ..errors import CaissonError
from . import io
from .follow import Follower
from .http import Http

#: Longest that one request waits for the end of a command; then the next one does.
WAIT_MS = 60_000
_STDIN_PIECE = 256 * 1024
#: A command reads its stdin when it likes, which may be never: this is longer than it lives.
_READ_S = 7 * 86_400.0


class Process:
    """A command that runs in a sandbox. What it writes is kept by Caisson: every iteration of it reads from the first byte on,
    and goes on where a lost connection broke off. Comes from `box.spawn` and `box.attach`; `with` kills it at the end.
    Every method waits for an API that does not answer, for `reconnect_ms`.
    """

    def __init__(self, http: Http, info: ExecInfo, *, written: int | None) -> None:
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

    def output(self, *, offset: int = 0) -> Iterator[Output]:
        """Both streams in the order in which they came, until the command has ended."""
        follower = Follower(self._http, self.sandbox, self.id, offset=offset)
        try:
            while (chunk := follower.next()) is not None:
                yield chunk
        finally:
            follower.close()

    def __iter__(self) -> Iterator[Output]:
        return self.output()

    def lines(self, stream: StreamName = "stdout") -> Iterator[str]:
        """The lines of one stream as text, without their ends."""
        lines = Lines(stream)
        with io.closing(self.output()) as chunks:
            for chunk in chunks:
                for line in lines.feed(chunk):
                    yield line
        for line in lines.end():
            yield line

    def info(self) -> ExecInfo:
        return self._http.json(Ask("GET", self._path(), repeatable=True, patient=True))

    def wait(self) -> ExecEnd:
        """How the command ended, once it has."""
        while True:
            info = self._http.json(Ask("GET", self._path(), {"waitMs": WAIT_MS}, repeatable=True, patient=True))
            if info["state"] == "ended":
                return ExecEnd(**end_of(info))

    def write(self, data: Union[str, bytes]) -> None:
        """Writes to stdin, in the order of the calls; returns when the sandbox has taken the bytes. Each byte is taken once,
        also when the connection breaks. What a call that its caller ended has left goes before what is written next: it
        is not to be written again. The command must have been started with `stdin` or `tty`."""
        with self._writing:
            offset, rest = self._stdin
            self._stdin = (offset, memoryview(bytes(rest) + (data.encode() if isinstance(data, str) else bytes(data))))
            self._flush()

    def end_stdin(self) -> None:
        """Ends stdin, after what was written."""
        with self._writing:
            self._flush()
            self._put(b"", {"end": True})

    def _flush(self) -> None:
        """The same bytes at the same place are taken once: what may have been taken is sent again, and what follows it with it."""
        try:
            while len(self._stdin[1]) > 0:
                offset, rest = self._stdin
                if offset is None:
                    offset = self._put(b"", {})
                    self._stdin = (offset, rest)
                piece = bytes(rest[:_STDIN_PIECE])
                self._put(piece, {"offset": offset})
                self._stdin = (offset + len(piece), rest[len(piece) :])
        except CaissonError:
            self._stdin = (None, memoryview(b""))
            raise

    def _put(self, data: bytes, query: dict[str, Any]) -> int:
        answer = self._http.json(Ask("PUT", self._path("stdin"), query, body=data, repeatable=True, patient=True, step_s=_READ_S))
        return int(answer["taken"])

    def kill(self, signal: Union[str, int] = "SIGTERM") -> bool:
        """Sends a signal to the command's process group; 9 reaches everything that it started. False: it had ended."""
        return signal_exec(self._http, self.sandbox, self.id, signal)

    def resize(self, cols: int, rows: int) -> None:
        """Gives the terminal another size."""
        self._http.json(Ask("POST", self._path("resize"), json={"cols": cols, "rows": rows}, repeatable=True, patient=True))

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill("SIGKILL")


def signal_exec(http: Http, sandbox: str, exec_id: str, signal: Union[str, int]) -> bool:
    """Sends a signal; False when there is nothing left to send it to."""
    path = at("sandboxes", sandbox, "execs", exec_id)
    if _ended(http, path):
        return False
    try:
        # SIGKILL may be sent twice; any other signal may mean something each time.
        http.json(Ask("POST", f"{path}/signal", json={"signal": signal}, repeatable=signal in ("SIGKILL", 9), patient=True))
    except CaissonError:
        if _ended(http, path):
            return False
        raise
    return True


def _ended(http: Http, path: str) -> bool:
    try:
        info = http.json(Ask("GET", path, repeatable=True, patient=True))
    except CaissonError as error:
        if error.code in ("EXEC_NOT_FOUND", "SANDBOX_NOT_FOUND"):
            return True
        raise
    return bool(info["state"] == "ended")
