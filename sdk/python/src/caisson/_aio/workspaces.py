"""Workspaces, apart from any sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from .._ask import Ask, at, given
from .._types import WorkspaceInfo
from .._where import Where, connection as default_connection
from ..errors import CaissonError
from . import io
from .files import body_of
from .http import AsyncHttp
from .sandbox import AsyncSandbox

#: Longest that the sandbox which lends its files for an export may live.
_EXPORT_MOST_MS = 3_600_000


class AsyncWorkspaces:
    """Workspaces, which outlive their sandboxes when they have a name. `create(workspace=...)` makes one, or takes it up again."""

    @staticmethod
    async def list(*, connection: Where | None = None) -> Sequence[WorkspaceInfo]:
        async with AsyncHttp(connection or default_connection()) as http:
            answer = await http.json(Ask("GET", at("workspaces"), repeatable=True))
            return answer["workspaces"]  # type: ignore[no-any-return]

    @staticmethod
    async def get(workspace: str, *, connection: Where | None = None) -> WorkspaceInfo:
        """The workspace with this id or name. Raises CaissonError WORKSPACE_NOT_FOUND."""
        async with AsyncHttp(connection or default_connection()) as http:
            return await http.json(Ask("GET", at("workspaces", workspace), repeatable=True))

    @staticmethod
    async def remove(workspace: str, *, connection: Where | None = None) -> None:
        """Removes it and what is in it; its snapshots stay. Raises CaissonError WORKSPACE_NOT_FOUND, WORKSPACE_ATTACHED."""
        async with AsyncHttp(connection or default_connection()) as http:
            await http.json(Ask("DELETE", at("workspaces", workspace)))

    @staticmethod
    async def import_(archive: Any, *, name: str | None = None, connection: Where | None = None) -> dict[str, Any]:
        """Makes a new workspace from a tar archive, gzip or not, and a snapshot of it: {"workspace", "snapshot"}. `archive`: bytes, an
        open file or an iterable of them. Without a name it is given one, which is in the answer.

        Raises CaissonError ARCHIVE_INVALID, WORKSPACE_EXISTS.
        """
        headers = {"Content-Type": "application/x-tar"}
        async with AsyncHttp(connection or default_connection()) as http:
            return await http.json(Ask("POST", at("workspaces", "import"), given(name=name), headers, body=body_of(archive)))

    @staticmethod
    async def export(workspace: str, *, connection: Where | None = None) -> AsyncIterator[bytes]:
        """The files that it has now as the pieces of a tar archive, whether a sandbox uses it or not. Closing the iterator gives up.

        Raises CaissonError WORKSPACE_NOT_FOUND.
        """
        where = connection or default_connection()
        info = await AsyncWorkspaces.get(workspace, connection=where)
        if info["attachedTo"] is not None:
            async with io.aclosing(_archive(where, info["attachedTo"])) as pieces:
                async for piece in pieces:
                    yield piece
            return
        if info["name"] is None:
            hint = "name one that has a name, or export a snapshot of it"
            raise CaissonError("WORKSPACE_NOT_FOUND", f"no workspace is called {workspace}", hint)
        lender = await AsyncSandbox.create(workspace=info["name"], ttl_ms=_EXPORT_MOST_MS, keep_alive=True, connection=where)
        async with lender, io.aclosing(_archive(where, lender.id)) as pieces:
            async for piece in pieces:
                yield piece


async def _archive(where: Where, sandbox: str) -> AsyncIterator[bytes]:
    ask = Ask("GET", at("sandboxes", sandbox, "files", "archive"), {"path": "/workspace"}, {"Accept": "application/x-tar"}, repeatable=True)
    async with AsyncHttp(where) as http, io.aclosing(http.pieces(ask)) as pieces:
        async for piece in pieces:
            yield piece
