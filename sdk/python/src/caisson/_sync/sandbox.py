# Generated from _aio/sandbox.py by `./dev generate`: change that file.
"""A computer for an agent."""

from __future__ import annotations

from collections.abc import Iterator, Callable, Mapping, Sequence
from typing import Any, Union

from .._ask import Ask, at, given, keyed
from .._rules import Rules, network_request
from .._types import ExecInfo, Level, LiveUsage, SandboxInfo, SandboxState, SnapshotInfo, SomeLimits
from .._values import ExecResult, Output
from .._where import Where, connection as default_connection
from ..errors import CaissonError
from . import execs
from .files import Files
from .http import Http
from .network import Network
from .ports import Ports
from .process import Process
from .python import Python
from .secrets import Secrets

MAX_BUFFER_BYTES = 16 * 1024 * 1024
_PAGE = 100


class Sandbox:
    """A sandbox that stays: many commands, files that persist, snapshots and forks. Made by `create` and `connect`;
    `with` closes it at the end. Times are in milliseconds and sizes in bytes, as their names say.

    Every method raises CaissonError with the code that the API gave, or DAEMON_UNREACHABLE, CONNECTION_LOST, ANSWER_INVALID.
    """

    def __init__(self, http: Http, info: SandboxInfo) -> None:
        self._http = http
        self._info = info
        self.files = Files(http, info["id"])
        self.ports = Ports(http, info["id"])
        self.network = Network(http, info["id"])
        self.secrets = Secrets(http, info["id"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, state={self._info['state']!r})"

    @property
    def id(self) -> str:
        return self._info["id"]

    @property
    def name(self) -> str | None:
        return self._info["name"]

    @property
    def last_info(self) -> SandboxInfo:
        """As the last call of this object saw it."""
        return self._info

    @classmethod
    def create(
        cls,
        *,
        level: Level | None = None,
        image: str | None = None,
        limits: SomeLimits | None = None,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        workspace: str | None = None,
        from_snapshot: str | None = None,
        memory: bool | None = None,
        ttl_ms: int | None = None,
        idle_ms: int | None = None,
        keep_alive: bool | None = None,
        terminals: bool | None = None,
        network: Rules | None = None,
        secrets: Sequence[str] | None = None,
        audit_mirror: bool | None = None,
        connection: Where | None = None,
        idempotency_key: str | None = None,
    ) -> "Sandbox":
        """Makes a sandbox; it can run commands when this returns. A connection that breaks meanwhile makes no second one.
        `memory`: its processes go on as `from_snapshot` kept them. Without `network` it can never reach anything; the rules of one
        that it has can be changed (`box.network`). `secrets` names those of the policy that it may use and never sees
        (`box.secrets`); it reaches their hosts by that.
        """
        request = given(
            level=level, image=image, limits=limits, env=env, name=name, labels=labels, workspace=workspace, memory=memory, ttlMs=ttl_ms,
            idleMs=idle_ms, keepAlive=keep_alive, terminals=terminals, network=network_request(network), secrets=secrets,
            auditMirror=audit_mirror,
            **({} if from_snapshot is None else {"from": from_snapshot}),
        )
        http = Http(connection or default_connection())
        ask = Ask("POST", at("sandboxes"), headers=keyed(idempotency_key), json=request, repeatable=True)
        return cls(http, http.json(ask))

    @classmethod
    def connect(cls, sandbox: str, *, connection: Where | None = None) -> "Sandbox":
        """The sandbox with this id or name. Raises CaissonError SANDBOX_NOT_FOUND."""
        http = Http(connection or default_connection())
        return cls(http, http.json(Ask("GET", at("sandboxes", sandbox), repeatable=True)))

    @classmethod
    def list(
        cls, *, state: SandboxState | None = None, labels: Mapping[str, str] | None = None, connection: Where | None = None
    ) -> Iterator[SandboxInfo]:
        """Sandboxes, newest first, page by page; all of `labels` must hold."""
        http = Http(connection or default_connection())
        pairs = [f"{key}={value}" for key, value in (labels or {}).items()]
        cursor: str | None = None
        try:
            while True:
                query = given(state=state, limit=_PAGE, cursor=cursor, label=pairs or None)
                page = http.json(Ask("GET", at("sandboxes"), query, repeatable=True))
                for info in page["sandboxes"]:
                    yield info
                cursor = page["next"]
                if cursor is None:
                    return
        finally:
            http.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at(self, *more: str) -> str:
        return at("sandboxes", self.id, *more)

    def _tell(self, method: str, *more: str, repeatable: bool, body: Any = None) -> SandboxInfo:
        self._info = self._http.json(Ask(method, self._at(*more), json=body, repeatable=repeatable))
        return self._info

    def info(self) -> SandboxInfo:
        """The sandbox as it is now."""
        return self._tell("GET", repeatable=True)

    def close(self) -> SandboxInfo:
        """Ends every process of it. Closing what is closed is no error."""
        try:
            return self._tell("DELETE", repeatable=True)
        except CaissonError as error:
            if error.code != "SANDBOX_NOT_FOUND":
                raise
            return self._info
        finally:
            self._http.close()

    def disconnect(self) -> None:
        """Ends the connections of this object; the sandbox goes on."""
        self._http.close()

    def pause(self) -> SandboxInfo:
        """Freezes every process of it."""
        return self._tell("POST", "pause", repeatable=False)

    def resume(self) -> SandboxInfo:
        return self._tell("POST", "resume", repeatable=False)

    def renew(self, *, ttl_ms: int | None = None, idle_ms: int | None = None, keep_alive: bool | None = None) -> SandboxInfo:
        """Gives it more or less time, from now on."""
        return self._tell("PATCH", repeatable=True, body=given(ttlMs=ttl_ms, idleMs=idle_ms, keepAlive=keep_alive))

    def usage(self) -> LiveUsage:
        """What it uses now, measured outside it."""
        return self._http.json(Ask("GET", self._at("usage"), repeatable=True))

    def snapshot(self, *, label: str | None = None, memory: bool | None = None, idempotency_key: str | None = None) -> SnapshotInfo:
        """Keeps the workspace as it is now, and with `memory` its running processes as well. Raises CaissonError
        CHECKPOINT_UNAVAILABLE for memory at a level that cannot save it.
        """
        ask = Ask("POST", self._at("snapshots"), headers=keyed(idempotency_key), json=given(label=label, memory=memory), repeatable=True)
        return self._http.json(ask)

    def fork(
        self,
        *,
        level: Level | None = None,
        image: str | None = None,
        limits: SomeLimits | None = None,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        workspace: str | None = None,
        memory: bool | None = None,
        ttl_ms: int | None = None,
        idle_ms: int | None = None,
        keep_alive: bool | None = None,
        terminals: bool | None = None,
        network: Rules | None = None,
        secrets: Sequence[str] | None = None,
        audit_mirror: bool | None = None,
        idempotency_key: str | None = None,
    ) -> "Sandbox":
        """Makes a sandbox whose workspace starts as this one's is now, and with `memory` its processes too. What is left out is as
        in this one; its secrets are leased anew.
        """
        request = given(
            level=level, image=image, limits=limits, env=env, name=name, labels=labels, workspace=workspace, memory=memory, ttlMs=ttl_ms,
            idleMs=idle_ms, keepAlive=keep_alive, terminals=terminals, network=network_request(network), secrets=secrets,
            auditMirror=audit_mirror,
        )
        http = Http(self._http.where)
        ask = Ask("POST", self._at("fork"), headers=keyed(idempotency_key), json=request, repeatable=True)
        return type(self)(http, http.json(ask))

    def restore(self, snapshot: Union[str, SnapshotInfo]) -> SandboxInfo:
        """Puts the workspace back to a snapshot, its own or another's, and starts the sandbox anew: its commands end."""
        kept = snapshot if isinstance(snapshot, str) else snapshot["id"]
        return self._tell("POST", "restore", repeatable=False, body={"snapshot": kept})

    def changes(self, *, from_snapshot: str | None = None, limit: int | None = None) -> dict[str, Any]:
        """How the workspace differs from a snapshot, or from what it was at first: {"changes", "truncated"}."""
        query = given(limit=limit, **({} if from_snapshot is None else {"from": from_snapshot}))
        return self._http.json(Ask("GET", self._at("changes"), query, repeatable=True))

    def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Union[str, bytes, None] = None,
        timeout_ms: int | None = None,
        output_bytes: int | None = None,
        check: bool = False,
        kill_on_cancel: bool = True,
        max_buffer_bytes: int = MAX_BUFFER_BYTES,
        on_output: Callable[[Output], Any] | None = None,
        idempotency_key: str | None = None,
    ) -> ExecResult:
        """Runs a command and waits for its end. What it exits with is in the result; with `check`, anything but 0 is raised as
        ExecError. Bytes beyond `max_buffer_bytes` of a stream are dropped and said (`truncated`). A wait that is cancelled
        kills the command unless `kill_on_cancel` is false.
        """
        ask = execs.exec_ask(
            self.id, argv, idempotency_key, cwd=cwd, env=env, timeoutMs=timeout_ms, outputBytes=output_bytes,
            stdin=None if stdin is None else True,
        )
        return execs.run(
            self._http, self.id, ask, stdin=stdin, check=check, kill_on_cancel=kill_on_cancel, max_buffer_bytes=max_buffer_bytes, on_output=on_output
        )

    def sh(self, script: str, **options: Any) -> ExecResult:
        """Runs a script of the sandbox's own shell. Options as of `exec`."""
        return self.exec(["sh", "-c", script], **options)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool | None = None,
        tty: tuple[int, int] | None = None,
        timeout_ms: int | None = None,
        output_bytes: int | None = None,
        idempotency_key: str | None = None,
    ) -> Process:
        """Starts a command and does not wait for it. `stdin`: whether it can be written. `tty`: columns and rows of a terminal."""
        ask = execs.exec_ask(
            self.id, argv, idempotency_key, cwd=cwd, env=env, stdin=stdin, tty=tty, timeoutMs=timeout_ms, outputBytes=output_bytes
        )
        return execs.start(self._http, ask)

    def attach(self, exec_id: str) -> Process:
        """A command that was started before, by whoever. Its output is read from the first byte on."""
        return Process(self._http, self._http.json(Ask("GET", self._at("execs", exec_id), repeatable=True)), written=None)

    def execs(self) -> Sequence[ExecInfo]:
        """The commands of this sandbox that are remembered."""
        answer = self._http.json(Ask("GET", self._at("execs"), repeatable=True))
        return answer["execs"]  # type: ignore[no-any-return]

    def python(
        self,
        *,
        program: str = "python3",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_ms: int | None = None,
    ) -> Python:
        """Starts a Python session. `timeout_ms` is how long it lives at most; default: the sandbox's limit `wallMs`."""
        info = self.info()
        options = given(cwd=cwd, env=env, timeoutMs=timeout_ms)
        session = Python(self._http, self.id, program=program, most_bytes=info["limits"]["outputBytes"], options=options)
        session._begin()
        return session
