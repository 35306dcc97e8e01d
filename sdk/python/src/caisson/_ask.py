"""Requests as plain data, and their heads as bytes. Nothing that a caller passes can become a header or another path."""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union
from urllib.parse import quote

from ._where import Where
from .errors import invalid_option

_NAME = re.compile(rb"[A-Za-z0-9-]{1,64}")
_VALUE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,4094}[\x21-\x7e])?")
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")


@dataclass(frozen=True)
class Ask:
    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    """JSON body; None: none."""
    body: Any = None
    """Bytes, or something that bytes are read of."""
    repeatable: bool = False
    """Whether asking twice does what asking once does."""
    patient: bool = False
    """Whether it is repeated from the first failure on, also when nothing answers. Otherwise it is once it may have arrived."""
    step_s: float | None = None
    """How long one step of the exchange may take; None: as long as most."""


def at(*parts: str) -> str:
    """A path below /v1. Raises CaissonError OPTIONS_INVALID for a part that would be another path."""
    for part in parts:
        if not isinstance(part, str) or part in ("", ".", "..") or len(part) > 512 or "\0" in part:
            raise invalid_option(f"{str(part)[:64]!r} names nothing")
    return "/v1/" + "/".join(quote(part, safe="", errors="surrogateescape") for part in parts)


def new_key() -> str:
    return secrets.token_hex(16)


def keyed(key: str | None) -> dict[str, str]:
    """The header under which a repeated request gets the first answer; a fresh key by default."""
    key = new_key() if key is None else key
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise invalid_option("idempotency_key must be 1 to 128 printable ASCII characters")
    return {"Idempotency-Key": key}


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def named(path: Union[str, bytes], field: str = "path") -> dict[str, str]:
    """The field that names a path of a workspace; bytes go as they are, because a name need not be UTF-8."""
    return {f"{field}Base64": b64encode(path).decode()} if isinstance(path, bytes) else {field: path}


def query_text(query: Mapping[str, Any]) -> str:
    pairs: list[str] = []
    for name, value in query.items():
        values: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
        pairs += [f"{quote(name, safe='')}={quote(_text(one), safe='', errors='strict')}" for one in values if one is not None]
    return "&".join(pairs)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise invalid_option("a path or text that is not valid Unicode") from None
    return text


def body_of(ask: Ask) -> tuple[Any, str | None]:
    """The body and its type. Raises CaissonError OPTIONS_INVALID for what JSON cannot hold."""
    if ask.json is not None:
        try:
            return json.dumps(ask.json, allow_nan=False).encode("ascii"), "application/json"
        except (TypeError, ValueError, RecursionError) as error:
            raise invalid_option(f"the request cannot be written as JSON: {error}") from None
    if ask.body is None:
        return None, None
    return ask.body, "application/octet-stream"


def head_of(ask: Ask, where: Where) -> tuple[bytes, Any, bool]:
    """The head of the request, its body, and whether the body is sent in chunks."""
    body, kind = body_of(ask)
    text = query_text(ask.query)
    headers: dict[str, str] = {"Host": where.host_header, "Accept": "application/json", "User-Agent": "caisson-python"}
    if where.token is not None:
        headers["Authorization"] = f"Bearer {where.token}"
    if kind is not None:
        headers["Content-Type"] = kind
    chunked = body is not None and not isinstance(body, bytes)
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    elif body is not None or ask.method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = str(len(body or b""))
    headers.update(ask.headers)
    lines = [f"{ask.method} {ask.path}{'?' + text if text else ''} HTTP/1.1".encode("ascii")]
    for name, value in headers.items():
        raw_name, raw_value = name.encode("ascii", "replace"), value.encode("ascii", "replace")
        if not _NAME.fullmatch(raw_name) or not _VALUE.fullmatch(raw_value):
            raise invalid_option(f"the header {name[:64]!r} cannot be sent")
        lines.append(raw_name + b": " + raw_value)
    return b"\r\n".join(lines) + b"\r\n\r\n", body, chunked
