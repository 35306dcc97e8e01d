"""Archives of folders: made here for an upload, and unpacked here from a sandbox, which is not trusted."""

from __future__ import annotations

import errno
import os
import stat
import tarfile
import tempfile
from typing import IO, Any

from .errors import CaissonError, invalid_option

MOST_BYTES = 4 * 1024**3
MOST_FILES = 200_000
_DEPTH_MOST = 128
_SPOOL_BYTES = 8 * 1024 * 1024
_PIECE = 1024 * 1024
#: What no archive is the cause of: the place here is full, broken, or not to be written.
_OF_THE_DISK = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
)


def refused(why: str) -> CaissonError:
    return CaissonError("ARCHIVE_REFUSED", f"the archive is refused: {why}", "look at what is in the folder of the sandbox before it is copied")


def spool() -> Any:
    """A place for an archive: memory for a small one, a file without a name for a large one."""
    return tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)


def room_for(max_bytes: int, max_files: int) -> int:
    """Bytes that an archive of so much may have: a head and padding for every file."""
    return max_bytes + 4096 * max_files + 10_240


def pack(folder: str, archive: IO[bytes]) -> None:
    """Writes the folder's content as a tar archive and goes back to its start. What is neither file, folder nor link is left out."""
    if not os.path.isdir(folder):
        raise invalid_option(f"{folder} is not a folder")
    with _Tar.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(os.listdir(folder)):
            tar.add(os.path.join(folder, name), arcname=name, filter=_anonymous)
    archive.seek(0)


class _Tar(tarfile.TarFile):
    """Writes a file that has two names as two files."""

    def gettarinfo(self, *args: Any, **options: Any) -> tarfile.TarInfo:
        self.inodes = {}
        return super().gettarinfo(*args, **options)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (member.isfile() or member.isdir() or member.issym()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode &= 0o777
    return member


def unpack(archive: IO[bytes], folder: str, max_bytes: int, max_files: int) -> dict[str, int]:
    """Makes the archive's files, folders and links below a folder that is empty or new. Every name is resolved from the
    descriptor of that folder, one part at a time and through no link, so that no order of members leads out of it.

    Raises CaissonError ARCHIVE_REFUSED, and OPTIONS_INVALID for a folder with something in it. What the disk here refuses, such as
    one that is full or may not be written, is the OSError that it is.
    """
    os.makedirs(folder, exist_ok=True)
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    files = size = members = 0
    folder_modes: dict[tuple[str, ...], int] = {}
    try:
        if os.listdir(root):
            raise invalid_option(f"{folder} is not empty")
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            for member in tar:
                members += 1
                size += member.size if member.isreg() else 0
                if members > max_files or size > max_bytes:
                    raise refused(f"more than {max_files} files or {max_bytes} bytes")
                parts = _parts(member.name)
                if parts:
                    files += _make(root, tar, member, parts, folder_modes)
        for parts, mode in sorted(folder_modes.items(), reverse=True):
            _in_folder(root, parts, lambda parent, name, mode=mode: os.chmod(name, mode, dir_fd=parent, follow_symlinks=True))
    except (tarfile.TarError, EOFError) as error:
        raise refused(f"it cannot be read ({error})") from None
    except (OSError, ValueError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise refused(f"{type(error).__name__}: {error}") from error
    finally:
        os.close(root)
    return {"files": files, "bytes": size}


def _parts(name: str) -> tuple[str, ...]:
    if name.startswith("/") or "\0" in name:
        raise refused(f"it names {name[:256]!r}")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or len(parts) > _DEPTH_MOST:
        raise refused(f"it names {name[:256]!r}")
    return parts


def _make(root: int, tar: tarfile.TarFile, member: tarfile.TarInfo, parts: tuple[str, ...], folder_modes: dict[tuple[str, ...], int]) -> int:
    if member.isdir():
        _in_folder(root, parts, _make_folder)
        folder_modes[parts] = member.mode & 0o777 | 0o700
        return 0
    if member.issym():
        target = member.linkname
        _check_link(target, len(parts) - 1)
        _in_folder(root, parts, lambda parent, name: os.symlink(target, name, dir_fd=parent))
        return 1
    if not member.isreg():
        raise refused(f"{member.name[:256]!r} is neither a file, a folder nor a symbolic link")
    _in_folder(root, parts, lambda parent, name: _make_file(parent, name, tar, member))
    return 1


def _check_link(target: str, depth: int) -> None:
    """A link may climb no higher than the folder, and only before it goes down: by this, what it passes through may be links."""
    names = [part for part in target.split("/") if part not in ("", ".")]
    climb = next((at for at, part in enumerate(names) if part != ".."), len(names))
    if target.startswith("/") or target == "" or "\0" in target or climb > depth or ".." in names[climb:]:
        raise refused(f"a link to {target[:256]!r} may lead outside")


def _in_folder(root: int, parts: tuple[str, ...], act: Any) -> None:
    """Calls `act` with the descriptor of the folder of a path, which is made where it is missing, and the last part."""
    here = os.dup(root)
    try:
        for part in parts[:-1]:
            _make_folder(here, part)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        act(here, parts[-1])
    finally:
        os.close(here)


def _make_folder(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise refused(f"{name[:256]!r} is there twice") from None


def _make_file(parent: int, name: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=parent), "wb") as out:
        source = tar.extractfile(member)
        assert source is not None
        left = member.size
        while left > 0:
            data = source.read(min(_PIECE, left))
            if not data:
                raise refused("it ends in the middle of a file")
            out.write(data)
            left -= len(data)
        out.flush()
        os.fchmod(out.fileno(), member.mode & 0o777)
