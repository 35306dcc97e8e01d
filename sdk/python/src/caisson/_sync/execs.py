# Generated from _aio/execs.py by `./dev generate`: change that file.
"""Running a command and waiting for its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Union

from .._ask import Ask, at, given, keyed
from .._values import Collector, ExecResult, Output
from ..errors import CaissonError, ExecError, invalid_option, is_passing
from . import io
from .follow import Follower
from .http import Http
from .process import Process, signal_exec


#: How often a wait for output looks whether stdin could be written.
_LOOK_S = 1.0
#: Longest that a wait which its caller ended takes to see its command killed, when the API is away.
_KILL_MS = 10_000


def exec_ask(sandbox: str, argv: Sequence[str], key: str | None, **options: Any) -> Ask:
    """The request that starts a command; asked again it starts nothing, because it has a key."""
    if isinstance(argv, (str, bytes)) or not all(isinstance(part, str) for part in argv):
        raise invalid_option("argv must be a list of strings; use `sh` for a line of shell")
    tty = options.pop("tty", None)
    if tty is not None:
        options["tty"] = {"cols": tty[0], "rows": tty[1]}
    request = {"argv": list(argv), **given(**options)}
    return Ask("POST", at("sandboxes", sandbox, "execs"), headers=keyed(key), json=request, repeatable=True)


def start(http: Http, ask: Ask) -> Process:
    return Process(http, http.json(ask), written=0)


def run(
    http: Http,
    sandbox: str,
    ask: Ask,
    *,
    stdin: Union[str, bytes, None],
    check: bool,
    kill_on_cancel: bool,
    max_buffer_bytes: int,
    on_output: Callable[[Output], Any] | None,
) -> ExecResult:
    """Runs what is asked for: its stdin is written beside the reading of its output. A wait that ends before the command does kills
    it, unless told otherwise."""
    kept = Collector(max_buffer_bytes)
    follower = Follower(http, sandbox, None, start=ask)
    feeder = Http(http.where)
    feeding: io.Beside | None = None
    threw = False
    try:
        if stdin is not None:
            info = http.json(ask)
            follower.exec_id = info["id"]
            process, data = Process(feeder, info, written=0), stdin
            feeding = io.Beside(lambda: _feed(process, data))
        while (chunk := _next(follower, feeding)) is not None:
            kept.add(chunk)
            if on_output is not None:
                try:
                    on_output(chunk)
                except BaseException:
                    threw = True
                    raise
    except BaseException as thrown:
        if kill_on_cancel and (threw or _leaves(thrown, follower)):
            _abandon(http, sandbox, follower, ask)
        raise
    finally:
        if feeding is not None:
            feeding.end(feeder.cut)
        feeder.close()
        follower.close()
    assert follower.info is not None
    result = kept.result(follower.info)
    if check and not result.ok:
        raise ExecError(ask.json["argv"][0], result)
    return result


def _next(follower: Follower, feeding: io.Beside | None) -> Output | None:
    """What comes next. Raises what ended the writing of stdin before the command read all of it."""
    while feeding is not None and feeding.goes_on:
        try:
            return follower.next(timeout_s=_LOOK_S)
        except TimeoutError:
            pass
    if feeding is not None and feeding.error is not None:
        raise feeding.error
    return follower.next()


def _leaves(thrown: BaseException, follower: Follower) -> bool:
    """Whether the command has to be killed: a connection that has failed carries no kill, and what was refused never started."""
    return not isinstance(thrown, CaissonError) or follower.exec_id is not None and not is_passing(thrown)


def _feed(process: Process, stdin: Union[str, bytes]) -> None:
    """A command that ends without reading everything has read what it wanted."""
    try:
        process.write(stdin)
        process.end_stdin()
    except CaissonError:
        info = process.info()
        if info["state"] != "ended":
            raise


def _abandon(http: Http, sandbox: str, follower: Follower, ask: Ask) -> None:
    """Kills the command of a wait that was ended. Its id may not be known yet: asking again under the same key tells it."""
    where = http.where
    try:
        follower.close()
        with Http(replace(where, reconnect_ms=min(where.reconnect_ms, _KILL_MS))) as killer:
            exec_id = follower.exec_id or (killer.json(ask))["id"]
            signal_exec(killer, sandbox, exec_id, "SIGKILL")
    except CaissonError:
        pass  # the caller is told why the wait ended; the limits of the sandbox end what could not be reached
