# Generated from _aio/snapshots.py by `./dev generate`: change that file.
"""Snapshots, apart from any sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._ask import Ask, at
from .._types import SnapshotInfo
from .._where import Where, connection as default_connection
from . import io
from .http import Http


class Snapshots:
    """Snapshots of workspaces, which stay until they are removed. `box.snapshot` makes one."""

    @staticmethod
    def list(*, connection: Where | None = None) -> Sequence[SnapshotInfo]:
        with Http(connection or default_connection()) as http:
            answer = http.json(Ask("GET", at("snapshots"), repeatable=True))
            return answer["snapshots"]  # type: ignore[no-any-return]

    @staticmethod
    def get(snapshot: str, *, connection: Where | None = None) -> SnapshotInfo:
        """Raises CaissonError SNAPSHOT_NOT_FOUND."""
        with Http(connection or default_connection()) as http:
            return http.json(Ask("GET", at("snapshots", snapshot), repeatable=True))

    @staticmethod
    def remove(snapshot: str, *, connection: Where | None = None) -> None:
        """Workspaces that were made from it keep their files. Raises CaissonError SNAPSHOT_NOT_FOUND."""
        with Http(connection or default_connection()) as http:
            http.json(Ask("DELETE", at("snapshots", snapshot)))

    @staticmethod
    def export(snapshot: str, *, connection: Where | None = None) -> Iterator[bytes]:
        """Its files as the pieces of a tar archive. Closing the iterator gives up. Raises CaissonError SNAPSHOT_NOT_FOUND."""
        ask = Ask("GET", at("snapshots", snapshot, "export"), headers={"Accept": "application/x-tar"}, repeatable=True)
        with Http(connection or default_connection()) as http, io.closing(http.pieces(ask)) as pieces:
            for piece in pieces:
                yield piece
