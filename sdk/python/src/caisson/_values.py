"""What calls give back."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, Union

from ._types import Ending, ExecInfo, HeldAttempt
from .errors import invalid_answer

StreamName = Literal["stdout", "stderr"]
LINE_MOST_BYTES = 1024 * 1024


class Decided(HeldAttempt):
    """A decision that was made of what waited."""

    decision: Literal["allow", "deny"]
    untilMs: Union[float, None]
    """Until when it holds of the same again, in milliseconds since 1970 UTC; None: as long as the sandbox lives."""


@dataclass(frozen=True)
class Output:
    """Bytes that a command wrote. `offset` counts the bytes of both streams together that came before."""

    stream: StreamName
    offset: int
    data: bytes

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True)
class ExecEnd:
    """How a command ended. `exit` is `"unknown"` when nobody can tell, and that is never `ok`."""

    exec_id: str
    ok: bool
    exit: Union[int, Literal["unknown"]]
    ending: Ending
    reason: str
    duration_ms: float
    truncated: bool
    """Whether anything that it wrote was dropped."""
    evidence: Any


@dataclass(frozen=True)
class ExecResult(ExecEnd):
    stdout_bytes: bytes = field(repr=False)
    stderr_bytes: bytes = field(repr=False)

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode("utf-8", "replace")


def end_of(info: ExecInfo) -> dict[str, Any]:
    """The fields of `ExecEnd` of an exec that has ended."""
    ending: Any = info.get("ending") or {"kind": "unknown", "detail": "no ending was reported"}
    code = info.get("exit") if info.get("ending") is not None else None
    code = "unknown" if code is None else code
    ended = info["endedMs"] if info.get("endedMs") is not None else info["startedMs"]
    counts = info.get("output") or {}
    return {
        "exec_id": info["id"],
        "ok": ending["kind"] == "exited" and ending["code"] == 0 and code == 0,
        "exit": code,
        "ending": ending,
        "reason": info.get("reason") or "what became of the command is unknown",
        "duration_ms": max(0, (ended or 0) - info["startedMs"]),
        "truncated": any(count["truncated"] for count in counts.values()),
        "evidence": info.get("evidence"),
    }


class Collector:
    """Keeps the first bytes of each stream, and drops what comes after."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.dropped = False

    def add(self, chunk: Output) -> None:
        into = self._kept[chunk.stream]
        part = chunk.data[: self._most - len(into)]
        self.dropped = self.dropped or len(part) < len(chunk.data)
        into += part

    def result(self, info: ExecInfo) -> ExecResult:
        fields = end_of(info)
        fields["truncated"] = fields["truncated"] or self.dropped
        return ExecResult(**fields, stdout_bytes=bytes(self._kept["stdout"]), stderr_bytes=bytes(self._kept["stderr"]))


def output_of(data: Any, seen: int) -> Output | None:
    """What of an event is new after `seen`; None when nothing is. Raises CaissonError ANSWER_INVALID when bytes are missing."""
    try:
        stream, offset, raw = data["stream"], data["offset"], base64.b64decode(data["data"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise invalid_answer("an event of output that is none") from None
    if stream not in ("stdout", "stderr") or not isinstance(offset, int) or offset < 0:
        raise invalid_answer("an event of output that is none")
    if offset > seen:
        raise invalid_answer(f"the output from {seen} to {offset} is missing")
    known = seen - offset
    return None if known >= len(raw) else Output(stream, seen, raw[known:])


class Lines:
    """Text lines of one stream, from chunks that end anywhere. Bytes that are not UTF-8 are U+FFFD; a line of more than a
    MiB comes in pieces."""

    def __init__(self, stream: StreamName) -> None:
        self._stream = stream
        self._rest = b""

    def feed(self, chunk: Output) -> list[str]:
        if chunk.stream != self._stream:
            return []
        *whole, self._rest = (self._rest + chunk.data).split(b"\n")
        if len(self._rest) > LINE_MOST_BYTES:
            whole, self._rest = [*whole, self._rest], b""
        return [line.decode("utf-8", "replace") for line in whole]

    def end(self) -> list[str]:
        return [self._rest.decode("utf-8", "replace")] if self._rest else []


@dataclass(frozen=True)
class PythonFault:
    """The exception that ended a cell."""

    name: str
    value: str
    traceback: str


@dataclass(frozen=True)
class PythonResult:
    """What a cell came to. `results` holds dicts by `type`: text, table, image, json, html."""

    text: str | None
    """`repr` of the value of the last line, if it is an expression."""
    results: list[dict[str, Any]]
    stdout: str
    stderr: str
    error: PythonFault | None
    """The exception that ended the cell; `KeyboardInterrupt` when it was interrupted."""
    truncated: bool = False
    """Whether more was printed than is held here, or a result is given as its text because it was too long."""
    timed_out: bool = False
    """Whether `timeout_ms` ran out."""

    @property
    def ok(self) -> bool:
        return self.error is None
