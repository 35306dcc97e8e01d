# Generated from _aio/python.py by `./dev generate`: change that file.
"""A Python interpreter in a sandbox that keeps its variables from one cell to the next."""

from __future__ import annotations

import codecs
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Union

from .._driver import SOURCE
from .._frames import Frames
from .._values import Output, PythonFault, PythonResult
from ..errors import CaissonError, PythonEnded
from . import io
from .execs import exec_ask, start
from .follow import Follower
from .http import Http
from .process import Process

_START_S = 30.0
#: How long an interrupted cell may take to end before the session is killed.
_INTERRUPT_S = 3.0
_MAX_CHARS = 1024 * 1024
_STREAMS = ("stdout", "stderr")
Listener = Callable[[str], Any]


class _Cell:
    """What has come of one cell."""

    def __init__(
        self, number: int, on_stdout: Listener | None = None, on_stderr: Listener | None = None, max_chars: int = _MAX_CHARS
    ) -> None:
        self.number = number
        self.listeners = {"stdout": on_stdout, "stderr": on_stderr}
        self.printed: dict[str, list[str]] = {stream: [] for stream in _STREAMS}
        self.room = {stream: max_chars for stream in _STREAMS}
        # The bytes of a character may come in two chunks.
        self.decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in _STREAMS}
        self.truncated = False
        self.timed_out = False
        self.begun = False
        #: An interrupt was sent after it had begun: none is lost then.
        self.interrupted = False
        self.ended = False
        self.answer: dict[str, Any] | None = None

    @property
    def done(self) -> bool:
        return self.ended and self.answer is not None

    def add(self, stream: str, data: bytes, *, last: bool = False) -> None:
        text = self.decoders[stream].decode(data, last)
        part = text[: self.room[stream]]
        self.truncated = self.truncated or len(part) < len(text)
        self.room[stream] -= len(part)
        self.printed[stream].append(part)
        listener = self.listeners[stream]
        if listener is not None and text:
            listener(text)

    def result(self, error: PythonFault | None = None) -> PythonResult:
        answer = self.answer or {}
        told = answer.get("error")
        if error is None and isinstance(told, dict):
            error = PythonFault(*(str(told.get(name, "")) for name in ("name", "value", "traceback")))
        stdout, stderr = ("".join(self.printed[stream]) for stream in _STREAMS)
        shown = [one for one in answer.get("results", []) if isinstance(one, dict)]
        truncated = self.truncated or answer.get("truncated") is True
        return PythonResult(answer.get("text"), shown, stdout, stderr, error, truncated, self.timed_out)


class Python:
    """A session: `box.python()`. One cell runs at a time. It ends with `close`, with its sandbox, or after the wall time of an
    exec (`timeout_ms`, by default the sandbox's limit `wallMs`); all that it prints counts for the limit `outputBytes`.
    """

    def __init__(self, http: Http, sandbox: str, *, program: str, most_bytes: int, options: Mapping[str, Any]) -> None:
        self._http = http
        self._sandbox = sandbox
        self._program = program
        self._most_bytes = most_bytes
        self._options = options
        self._one = io.Gate()
        self._number = 0
        #: How often it was closed: a restart that was under way then starts nothing.
        self._closed = 0
        self._unfinished: _Cell | None = None
        self._process: Process | None = None
        self._follower: Follower | None = None
        self._frames: dict[str, Frames] = {}
        self._seen = {"stdout": 0, "stderr": 0}
        self._over: str | None = "it was not started"
        self.version = ""

    def _begin(self) -> None:
        nonce = secrets.token_hex(16)
        ask = exec_ask(self._sandbox, [self._program, "-u", "-c", SOURCE], None, stdin=True, **self._options)
        self._process = start(self._http, ask)
        self._follower = Follower(self._http, self._sandbox, self._process.id)
        self._frames = {"stdout": Frames(nonce), "stderr": Frames(nonce)}
        self._seen = {"stdout": 0, "stderr": 0}
        self._over, self._unfinished = None, None
        first = _Cell(0)
        try:
            self._tell(json.dumps({"nonce": nonce}) + "\n")
            first.ended = True
            self._until(first, io.clock_s() + _START_S)
        except TimeoutError:
            raise self._lose(first, f"it did not start within {_START_S:g} s") from None
        except BaseException:
            self._kill()
            raise
        assert first.answer is not None
        self.version = str(first.answer.get("python", ""))

    def run(
        self,
        code: str,
        *,
        timeout_ms: int | None = None,
        on_stdout: Listener | None = None,
        on_stderr: Listener | None = None,
        max_chars: int = _MAX_CHARS,
    ) -> PythonResult:
        """Runs a cell. An exception of the cell is the `error` of the result. After `timeout_ms` the cell is interrupted, which is a
        KeyboardInterrupt in it; the result says `timed_out`, and the session goes on. A wait that the caller ends interrupts the
        cell too. `max_chars`: characters of stdout, and the same of stderr, that the result holds; what comes after is dropped
        and said (`truncated`).

        Raises PythonEnded (PYTHON_ENDED) when the interpreter died: its outcome is unknown, and never a success.
        """
        with self._one:
            self._settle()
            self._number += 1
            cell = _Cell(self._number, on_stdout, on_stderr, max_chars)
            until_s = None if timeout_ms is None else io.clock_s() + timeout_ms / 1000
            self._unfinished = cell
            try:
                self._tell(json.dumps({"id": cell.number, "code": code}) + "\n")
                self._until(cell, until_s)
            except TimeoutError:
                return self._late(cell, timeout_ms)
            except CaissonError:
                raise
            except BaseException:
                self._interrupt_cell(cell)
                raise
            self._unfinished = None
            return cell.result()

    def interrupt(self) -> None:
        """Sends SIGINT: the cell that runs gets a KeyboardInterrupt. May be called while `run` waits."""
        if self._process is not None and self._over is None:
            self._process.kill("SIGINT")

    def restart(self) -> None:
        """Ends the interpreter and starts another, without its variables. Raises PythonEnded when it is closed meanwhile."""
        closed = self._closed
        self._kill()
        with self._one:
            self._kill()
            self._begin()
            if self._closed != closed:
                raise self._lose(None, "it was closed")

    def close(self) -> None:
        """Ends the interpreter, and one that a restart has begun."""
        self._closed += 1
        self._kill()

    def __enter__(self) -> "Python":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, line: str) -> None:
        """Tells what an ended call has left untold, and then this."""
        if self._over is not None or self._process is None:
            raise PythonEnded(self._over or "it was not started")
        try:
            self._process.write(line)
        except CaissonError as error:
            # An interpreter that has died takes no input: how it ended says more.
            info = self._process.info()
            if info["state"] != "ended":
                raise
            raise self._lose(None, info["reason"] or "it is unknown how") from error

    def _until(self, cell: _Cell, until_s: float | None, *, begun: bool = False) -> None:
        """Takes what comes until the cell is done, or has begun. Raises TimeoutError at `until_s`."""
        while not (cell.done or (begun and cell.begun)):
            follower = self._follower
            if follower is None:
                raise PythonEnded(self._over or "it was closed", cell.result())
            chunk = follower.next(None if until_s is None else max(0.0, until_s - io.clock_s()))
            if chunk is None:
                reason = (follower.info or {}).get("reason") or "it is unknown how"
                raise self._lose(cell, str(reason))
            try:
                self._take(cell, chunk)
            except CaissonError as error:
                raise self._lose(cell, str(error)) from None
            if not cell.done and self._seen[chunk.stream] >= self._most_bytes:
                raise self._lose(cell, f"it wrote {self._most_bytes} bytes, which is the limit of the sandbox on output")

    def _take(self, cell: _Cell, chunk: Output) -> None:
        self._seen[chunk.stream] += len(chunk.data)
        for part in self._frames[chunk.stream].feed(chunk.data):
            if isinstance(part, bytes):
                cell.add(chunk.stream, part)
            elif part.get("type") == "ready" and cell.number == 0:
                cell.answer = part
            elif part.get("id") == cell.number and part.get("type") == "begun":
                cell.begun = True
            elif part.get("id") == cell.number and part.get("type") == "result":
                cell.answer = part
                cell.add(chunk.stream, b"", last=True)
            elif part.get("id") == cell.number and part.get("type") == "end":
                cell.ended = True
                cell.add(chunk.stream, b"", last=True)

    def _settle(self) -> None:
        """Waits for the end of a cell that was interrupted: what it still prints is not the next one's."""
        cell = self._unfinished
        if cell is None or self._over is not None:
            return
        cell.listeners = {"stdout": None, "stderr": None}
        over_s = io.clock_s() + _INTERRUPT_S
        try:
            if not cell.begun:
                self._tell("")
                self._until(cell, over_s, begun=True)
            if not (cell.interrupted or cell.done):
                self._interrupt_cell(cell)
            self._until(cell, over_s)
        except TimeoutError:
            raise self._lose(cell, "the cell before did not end when it was interrupted") from None
        self._unfinished = None

    def _late(self, cell: _Cell, timeout_ms: int | None) -> PythonResult:
        cell.timed_out = True
        over_s = io.clock_s() + _INTERRUPT_S
        try:
            self._until(cell, over_s, begun=True)  # what interrupts it before is lost
            self.interrupt()
            cell.interrupted = True
            self._until(cell, over_s)
        except TimeoutError:
            why = f"its {timeout_ms} ms were over, and the cell did not end within {_INTERRUPT_S:g} s when it was interrupted"
            raise self._lose(cell, why) from None
        except CaissonError:
            raise
        except BaseException:
            self._interrupt_cell(cell)
            raise
        self._unfinished = None
        return cell.result()

    def _lose(self, cell: _Cell | None, reason: str) -> PythonEnded:
        """Ends the session for good; the answer is what to raise."""
        self._kill(reason)
        if cell is None:
            return PythonEnded(reason)
        return PythonEnded(reason, cell.result(PythonFault("PythonEnded", reason, "")))

    def _kill(self, reason: str = "it was closed") -> None:
        if self._over is None:
            self._over = reason
        process, self._process = self._process, None
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()
        if process is not None:
            try:
                process.kill("SIGKILL")
            except CaissonError:
                pass  # it is over for this client; the wall time of the exec ends what could not be reached

    def _interrupt_cell(self, cell: _Cell) -> None:
        """Interrupts a cell whose end nobody waits for any more. Before it has begun that may be lost: the next run does it again."""
        begun = cell.begun
        try:
            self.interrupt()
        except CaissonError:
            return  # the next run finds out
        cell.interrupted = begun
