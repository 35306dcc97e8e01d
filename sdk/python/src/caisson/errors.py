"""What the SDK raises."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, Union

from ._types import ErrorCode

if TYPE_CHECKING:
    from ._values import ExecResult, PythonResult

ClientCode = Literal[
    "CONNECTION_LOST",  # the connection broke when the request may have arrived: whether it took effect is not known
    "ANSWER_INVALID",  # what answered is not the API of Caisson, or not one that this SDK can read
    "EXEC_FAILED",  # a command did not end with 0, and `check` was asked for
    "ARCHIVE_REFUSED",  # an archive of a sandbox would write outside the folder that it was downloaded to
    "PYTHON_ENDED",  # the interpreter of a Python session has ended
    "OPTIONS_INVALID",  # the options cannot be used
]
AnyCode = Union[ErrorCode, ClientCode, str]

_TEXT_MOST = 4096


class CaissonError(Exception):
    """Every refusal and failure: a code of the table of errors, what happened, and what can be done about it.

    `status` is the HTTP status with which the API answered, or None where it did not.
    `retry_after_seconds` is given where the API says when to come again.
    """

    def __init__(
        self, code: AnyCode, message: str, hint: str = "", *, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" ({self.hint})" if self.hint else "")

    def __reduce__(self) -> Any:
        return (_rebuilt, (type(self), self.__dict__.copy()))


def _rebuilt(kind: type[CaissonError], fields: dict[str, Any]) -> CaissonError:
    error = kind.__new__(kind)
    Exception.__init__(error, fields.get("message", ""))
    error.__dict__.update(fields)
    return error


class ExecError(CaissonError):
    """A command that did not end with 0, raised where `check` was asked for."""

    def __init__(self, program: str, result: "ExecResult") -> None:
        last = result.stderr.rstrip().rpartition("\n")[2][:_TEXT_MOST]
        super().__init__(
            "EXEC_FAILED", f"{program}: {result.reason}" + (f": {last}" if last else ""), "its stdout, stderr and ending are in `result`"
        )
        self.result = result


class PythonEnded(CaissonError):
    """The interpreter of a session ended before the cell did, or before it was asked. `result` is what came of the cell."""

    def __init__(self, reason: str, result: "PythonResult | None" = None) -> None:
        super().__init__("PYTHON_ENDED", f"the Python session has ended: {reason}", "call restart(); its variables are gone")
        self.result = result


def invalid_option(detail: str) -> CaissonError:
    return CaissonError("OPTIONS_INVALID", detail, "correct the argument")


def invalid_answer(detail: str) -> CaissonError:
    return CaissonError("ANSWER_INVALID", detail, "see that the address is one of Caisson, and that both are of one version")


def unreachable(name: str) -> CaissonError:
    return CaissonError("DAEMON_UNREACHABLE", f"nothing answers at {name}", "start it with ./caisson up")


def lost(name: str, detail: object) -> CaissonError:
    return CaissonError("CONNECTION_LOST", f"the connection to {name} broke: {detail}", "look at what became of it before asking again")


def problem(status: int, body: bytes, retry_after: str | None = None) -> CaissonError:
    """The error that an answer tells: problem+json (RFC 9457), or whatever stood in between."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    wait = float(retry_after) if retry_after is not None and re.fullmatch(r"\d{1,6}", retry_after) else None
    return problem_of(fields, status, wait)


def problem_of(fields: Any, status: int, retry_after_seconds: float | None = None) -> CaissonError:
    if isinstance(fields, dict):
        code, detail, hint = fields.get("code"), fields.get("detail"), fields.get("hint")
        if isinstance(code, str) and re.fullmatch(r"[A-Z][A-Z0-9_]{1,63}", code) and isinstance(detail, str):
            shown = hint[:_TEXT_MOST] if isinstance(hint, str) else ""
            return CaissonError(code, detail[:_TEXT_MOST], shown, status=status, retry_after_seconds=retry_after_seconds)
    error = invalid_answer(f"the answer was HTTP {status} without a problem that can be read")
    error.status = status
    return error


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed when it is tried again a little later."""
    return isinstance(error, CaissonError) and error.code in ("CONNECTION_LOST", "DAEMON_UNREACHABLE", "DRAINING")
