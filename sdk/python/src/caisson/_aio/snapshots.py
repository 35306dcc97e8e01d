"""Snapshots, apart from any sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from .._ask import Ask, at
from .._types import SnapshotInfo
from .._where import Where, connection as default_connection
from . import io
from .http import AsyncHttp


class AsyncSnapshots:
    """Snapshots of workspaces, which stay until they are removed. `box.snapshot` makes one."""

    @staticmethod
    async def list(*, connection: Where | None = None) -> Sequence[SnapshotInfo]:
        async with AsyncHttp(connection or default_connection()) as http:
            answer = await http.json(Ask("GET", at("snapshots"), repeatable=True))
            return answer["snapshots"]  # type: ignore[no-any-return]

    @staticmethod
    async def get(snapshot: str, *, connection: Where | None = None) -> SnapshotInfo:
        """Raises CaissonError SNAPSHOT_NOT_FOUND."""
        async with AsyncHttp(connection or default_connection()) as http:
            return await http.json(Ask("GET", at("snapshots", snapshot), repeatable=True))

    @staticmethod
    async def remove(snapshot: str, *, connection: Where | None = None) -> None:
        """Workspaces that were made from it keep their files. Raises CaissonError SNAPSHOT_NOT_FOUND."""
        async with AsyncHttp(connection or default_connection()) as http:
            await http.json(Ask("DELETE", at("snapshots", snapshot)))

    @staticmethod
    async def export(snapshot: str, *, connection: Where | None = None) -> AsyncIterator[bytes]:
        """Its files as the pieces of a tar archive. Closing the iterator gives up. Raises CaissonError SNAPSHOT_NOT_FOUND."""
        ask = Ask("GET", at("snapshots", snapshot, "export"), headers={"Accept": "application/x-tar"}, repeatable=True)
        async with AsyncHttp(connection or default_connection()) as http, io.aclosing(http.pieces(ask)) as pieces:
            async for piece in pieces:
                yield piece
