"""Where a Caisson answers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import invalid_option

_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Where:
    """A place that requests go to; it holds nothing open. Made by `connection`."""

    name: str
    """For messages."""
    socket_path: str | None
    host: str
    port: int
    secure: bool
    host_header: str
    token: str | None = None
    reconnect_ms: int = 30_000
    """How long a lost connection is tried again without progress."""

    def __repr__(self) -> str:
        return f"Where({self.name!r})"


def connection(
    *,
    socket: str | None = None,
    url: str | None = None,
    token: str | None = None,
    reconnect_ms: int = 30_000,
    env: Mapping[str, str] | None = None,
    uid: int | None = None,
) -> Where:
    """The place that the arguments name; without any: CAISSON_API_SOCKET, or CAISSON_API_URL with CAISSON_API_TOKEN, or the
    instance of CAISSON_DIR, or that of the user.

    Raises CaissonError OPTIONS_INVALID.
    """
    env = os.environ if env is None else env
    if socket is not None and url is not None:
        raise invalid_option("connection: socket and url are both given")
    if reconnect_ms < 0:
        raise invalid_option("connection: reconnect_ms must be 0 or more")
    if url is not None:
        return _over_tcp(url, token, reconnect_ms)
    if socket is not None:
        return _over_socket(socket, reconnect_ms)
    if env.get("CAISSON_API_SOCKET"):
        return _over_socket(env["CAISSON_API_SOCKET"], reconnect_ms)
    if env.get("CAISSON_API_URL"):
        return _over_tcp(env["CAISSON_API_URL"], token if token is not None else env.get("CAISSON_API_TOKEN"), reconnect_ms)
    return _over_socket(instance_socket(env, os.getuid() if uid is None else uid), reconnect_ms)


def _over_socket(path: str, reconnect_ms: int) -> Where:
    if "\0" in path or path == "":
        raise invalid_option("connection: socket must be a path")
    return Where(path, path, "", 0, False, "localhost", None, reconnect_ms)


def _over_tcp(url: str, token: str | None, reconnect_ms: int) -> Where:
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise invalid_option("connection: url cannot be read") from None
    shown = f"{parts.scheme}://{host}"
    if parts.scheme not in ("http", "https"):
        raise invalid_option("connection: url must begin with http:// or https://")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None or not host:
        raise invalid_option(f"connection: {shown} must be a host and a port, nothing else")
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", host):
        raise invalid_option("connection: the host of url has characters that no host has")
    if token is None or not _TOKEN.fullmatch(token):
        raise invalid_option(f"connection: {shown} needs a token")
    secure = parts.scheme == "https"
    port = port or (443 if secure else 80)
    bracketed = f"[{host}]" if ":" in host else host
    return Where(f"{parts.scheme}://{bracketed}:{port}", None, host, port, secure, f"{bracketed}:{port}", token, reconnect_ms)


def instance_id(folder: str) -> str:
    """FNV-1a, 64 bits, of the state folder; as core/contract/src/state.ts has it."""
    value = 0xCBF29CE484222325
    for character in folder:
        value = ((value ^ ord(character)) * 0x100000001B3) & _MASK
    return f"{value:016x}"


def instance_socket(env: Mapping[str, str], uid: int) -> str:
    """The API socket of the instance that CAISSON_DIR names; by default that of the user."""
    home = env.get("HOME", "/")
    own = "/var/lib/caisson" if uid == 0 else f"{env.get('XDG_STATE_HOME') or f'{home}/.local/state'}/caisson"
    folder = os.path.abspath(env.get("CAISSON_DIR") or own)
    above = "/run" if uid == 0 else (env.get("XDG_RUNTIME_DIR") or f"/tmp/caisson-{uid}")
    return f"{above}/caisson/{instance_id(folder)}/control/api.sock"
