"""The files of a sandbox's workspace."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any, Union

from .. import _tarball
from .._ask import Ask, at, given, named
from .._types import FileInfo
from ..errors import CaissonError, invalid_answer, problem_of
from . import io
from .follow import open_events
from .http import AsyncHttp, AsyncReply

FilePath = Union[str, bytes]

_PAGE = 1_000
_READ_MOST_BYTES = 256 * 1024 * 1024


class AsyncFiles:
    """`box.files`. A path is below /workspace, or relative to it; bytes where a name in it is not UTF-8, which is where an answer
    has "pathBase64". Works while the sandbox is paused too."""

    def __init__(self, http: AsyncHttp, sandbox: str) -> None:
        self._http = http
        self._sandbox = sandbox

    def _at(self, verb: str) -> str:
        return at("sandboxes", self._sandbox, "files", verb)

    async def _get(self, verb: str, query: dict[str, Any]) -> Any:
        return await self._http.json(Ask("GET", self._at(verb), query, repeatable=True))

    async def _post(self, verb: str, fields: dict[str, Any], *, repeatable: bool = False) -> Any:
        return await self._http.json(Ask("POST", self._at(verb), json=fields, repeatable=repeatable))

    async def read_text(self, path: FilePath, *, max_bytes: int = _READ_MOST_BYTES) -> str:
        """The whole file as UTF-8; bytes that are not are U+FFFD."""
        return (await self.read_bytes(path, max_bytes=max_bytes)).decode("utf-8", "replace")

    async def read_bytes(self, path: FilePath, *, offset: int = 0, length: int | None = None, max_bytes: int = _READ_MOST_BYTES) -> bytes:
        """The file, or `length` bytes of it from `offset` on; fewer where it ends before.

        Raises CaissonError FILE_NOT_FOUND, and ANSWER_INVALID for more than `max_bytes`.
        """
        if length == 0:
            await self.stat(path)
            return b""
        try:
            reply = await self._open(path, offset, length)
        except CaissonError as error:
            if error.code == "RANGE_INVALID" and offset >= 0 and (length is None or length > 0):  # the file ends before it
                return b""
            raise
        try:
            return await reply.all(max_bytes)
        finally:
            await reply.aclose()

    async def read_stream(self, path: FilePath, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The file in pieces as they come: nothing is held but what the reader has not taken."""
        reply = await self._open(path, offset, length)
        try:
            while piece := await reply.read():
                yield piece
        finally:
            await reply.aclose()

    async def _open(self, path: FilePath, offset: int, length: int | None) -> AsyncReply:
        headers: dict[str, str] = {}
        if offset or length is not None:
            headers["Range"] = f"bytes={int(offset)}-{'' if length is None else int(offset) + int(length) - 1}"
        reply = await self._http.open(Ask("GET", self._at("content"), named(path), headers, repeatable=True))
        if headers and reply.status != 206:
            await reply.aclose()
            raise invalid_answer("a range was asked for, and the whole file came")
        return reply

    async def write(
        self,
        path: FilePath,
        content: Any,
        *,
        mode: int | None = None,
        parents: bool | None = None,
        exclusive: bool | None = None,
        expected: FileInfo | None = None,
    ) -> FileInfo:
        """Writes a file whole or not at all. `content`: text, bytes, an open file or an iterable of them.

        `exclusive`: FILE_EXISTS when it is there. `expected`: FILE_CHANGED when it is no longer what `stat` told.
        """
        query = {**named(path), **given(mode=None if mode is None else f"{mode:03o}", parents=parents, exclusive=exclusive)}
        headers = {} if expected is None else {"If-Match": f'"{expected["version"]}"'}
        body = body_of(content)
        again = isinstance(body, bytes) and not exclusive and expected is None
        return await self._http.json(Ask("PUT", self._at("content"), query, headers, body=body, repeatable=again))

    async def append(self, path: FilePath, content: Any) -> FileInfo:
        return await self._http.json(Ask("POST", self._at("append"), named(path), body=body_of(content)))

    async def list(self, path: FilePath = "/workspace", *, recursive: bool | None = None) -> AsyncIterator[FileInfo]:
        """What is in a folder."""
        cursor: str | None = None
        while True:
            page = await self._get("list", {**named(path), **given(recursive=recursive, limit=_PAGE, cursor=cursor)})
            for info in page["files"]:
                yield info
            cursor = page["next"]
            if cursor is None:
                return

    async def stat(self, path: FilePath) -> FileInfo:
        return await self._get("stat", named(path))

    async def exists(self, path: FilePath) -> bool:
        try:
            await self.stat(path)
        except CaissonError as error:
            if error.code == "FILE_NOT_FOUND":
                return False
            raise
        return True

    async def mkdir(self, path: FilePath, *, parents: bool | None = None, mode: int | None = None) -> FileInfo:
        return await self._post("mkdir", {**named(path), **given(parents=parents, mode=mode)}, repeatable=parents is True)

    async def move(self, source: FilePath, target: FilePath, *, replace: bool | None = None) -> FileInfo:
        return await self._post("move", {**named(source, "from"), **named(target, "to"), **given(replace=replace)})

    async def remove(self, path: FilePath, *, recursive: bool | None = None) -> None:
        await self._post("remove", {**named(path), **given(recursive=recursive)})

    async def chmod(self, path: FilePath, mode: int) -> FileInfo:
        return await self._post("chmod", {**named(path), "mode": mode}, repeatable=True)

    async def search(
        self, path: FilePath = "/workspace", *, name: str | None = None, content: str | None = None, regex: bool | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """Files by name, or lines by content: {"matches": [{path, line, column, text}], "truncated"}."""
        return await self._post("search", {**named(path), **given(name=name, content=content, regex=regex, limit=limit)}, repeatable=True)

    async def patch(self, diff: str, *, path: FilePath | None = None) -> Any:
        """Applies a unified diff, all of it or nothing."""
        return await self._post("patch", {"diff": diff, **({} if path is None else named(path))})

    async def watch(self, path: FilePath = "/workspace", *, recursive: bool | None = None) -> AsyncIterator[dict[str, str]]:
        """Changes below a path from now on: {"kind", "path"}. A connection that breaks ends it: changes may be missing then."""
        events = await open_events(self._http, Ask("GET", self._at("watch"), {**named(path), **given(recursive=recursive)}, repeatable=True))
        try:
            while (event := await events.next()) is not None:
                if event.name == "problem":
                    raise problem_of(event.json(), 500)
                if event.name == "change":
                    yield event.json()
        finally:
            await events.aclose()

    async def upload(self, local_dir: Union[str, os.PathLike[str]], path: FilePath = "/workspace") -> dict[str, int]:
        """Copies a folder of this machine, links as links, into a folder of the workspace: {"files", "bytes"}."""
        with _tarball.spool() as archive:
            await io.offload(_tarball.pack, os.fspath(local_dir), archive)
            ask = Ask("PUT", self._at("archive"), named(path), {"Content-Type": "application/x-tar"}, body=archive)
            return await self._http.json(ask)

    async def download(
        self, path: FilePath, local_dir: Union[str, os.PathLike[str]], *, max_bytes: int = _tarball.MOST_BYTES, max_files: int = _tarball.MOST_FILES
    ) -> dict[str, int]:
        """Copies a folder of the workspace into an empty or new folder of this machine: {"files", "bytes"}. Nothing is written
        outside it, and nothing is made but files, folders and links that stay inside.

        Raises CaissonError ARCHIVE_REFUSED, and the OSError of a disk of this machine that is full or may not be written.
        """
        with _tarball.spool() as archive:
            reply = await self._http.open(Ask("GET", self._at("archive"), named(path), repeatable=True))
            try:
                room = _tarball.room_for(max_bytes, max_files)
                while piece := await reply.read():
                    room -= len(piece)
                    if room < 0:
                        raise _tarball.refused(f"it is larger than {max_bytes} bytes")
                    await io.offload(archive.write, piece)
            finally:
                await reply.aclose()
            archive.seek(0)
            return await io.offload(_tarball.unpack, archive, os.fspath(local_dir), max_bytes, max_files)


def body_of(content: Any) -> Any:
    """What a request takes for the text, bytes, open file or iterable of them that a caller gives."""
    return content.encode() if isinstance(content, str) else bytes(content) if isinstance(content, (bytearray, memoryview)) else content
