"""Running a command and waiting for its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from .._ask import Ask, at, given, keyed
from .._values import Collector, ExecResult, Output
from ..errors import CaissonError, ExecError, invalid_option
from . import io
from .follow import AsyncFollower
from .http import AsyncHttp
from .process import AsyncProcess, signal_exec


def exec_ask(sandbox: str, argv: Sequence[str], key: str | None, **options: Any) -> Ask:
    """The request that starts a command; asked again it starts nothing, because it has a key."""
    if isinstance(argv, (str, bytes)) or not all(isinstance(part, str) for part in argv):
        raise invalid_option("argv must be a list of strings; use `sh` for a line of shell")
    tty = options.pop("tty", None)
    if tty is not None:
        options["tty"] = {"cols": tty[0], "rows": tty[1]}
    request = {"argv": list(argv), **given(**options)}
    return Ask("POST", at("sandboxes", sandbox, "execs"), headers=keyed(key), json=request, repeatable=True)


async def start(http: AsyncHttp, ask: Ask) -> AsyncProcess:
    return AsyncProcess(http, await http.json(ask), written=0)


async def run(
    http: AsyncHttp,
    sandbox: str,
    ask: Ask,
    *,
    stdin: Union[str, bytes, None],
    check: bool,
    kill_on_cancel: bool,
    max_buffer_bytes: int,
    on_output: Callable[[Output], Any] | None,
) -> ExecResult:
    """Runs what is asked for. A wait that the caller ends kills the command, unless told otherwise."""
    kept = Collector(max_buffer_bytes)
    follower = AsyncFollower(http, sandbox, None, start=ask)
    try:
        if stdin is not None:
            process = await start(http, ask)
            follower.exec_id = process.id
            await _feed(process, stdin)
        while (chunk := await follower.next()) is not None:
            kept.add(chunk)
            if on_output is not None:
                on_output(chunk)
    except BaseException as thrown:
        # Whatever ends the wait but the connection itself: a cancelled task, Ctrl-C, or an exception of on_output.
        if kill_on_cancel and not isinstance(thrown, CaissonError):
            await _abandon(http, sandbox, follower, ask)
        raise
    finally:
        await follower.aclose()
    assert follower.info is not None
    result = kept.result(follower.info)
    if check and not result.ok:
        raise ExecError(ask.json["argv"][0], result)
    return result


async def _feed(process: AsyncProcess, stdin: Union[str, bytes]) -> None:
    """A command that ends without reading everything has read what it wanted."""
    try:
        await process.write(stdin)
        await process.end_stdin()
    except CaissonError:
        info = await process.info()
        if info["state"] != "ended":
            raise


async def _abandon(http: AsyncHttp, sandbox: str, follower: AsyncFollower, ask: Ask) -> None:
    """Kills the command of a wait that was ended. Its id may not be known yet: asking again under the same key tells it."""
    try:
        await follower.aclose()
        exec_id = follower.exec_id or (await http.json(ask))["id"]
        await signal_exec(http, sandbox, exec_id, "SIGKILL")
    except CaissonError:
        pass  # the caller is told why the wait ended; the limits of the sandbox end what could not be reached
