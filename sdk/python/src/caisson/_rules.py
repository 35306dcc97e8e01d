"""Rules of the network, and their short form."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Union

from ._types import EgressRule, NetworkInfo, NetworkRequest
from .errors import invalid_option

Rule = Union[EgressRule, str]
"""A rule, or the short form of one: `HOST[:PORT][/tls|/http|/https|/tcp]`, such as `api.example.com` or `db.example.com:5432/tcp`. `https` means that requests are read."""
Rules = Union[NetworkRequest, NetworkInfo, Iterable[Rule]]

_SHORT = re.compile(r"([^:/\s]+)(?::([1-9][0-9]{0,4}))?(?:/(tls|https?|tcp))?")


def network_request(rules: Rules | None) -> Any:
    """What the API takes. None stays None. Raises CaissonError OPTIONS_INVALID for a text that is no rule."""
    if rules is None:
        return None
    if isinstance(rules, str):
        raise invalid_option("network is a list of rules")
    if not isinstance(rules, dict):
        return {"rules": [_rule(rule) for rule in rules]}
    learn = {"learn": True} if rules.get("learn") else {}
    return {"rules": [_rule(rule) for rule in rules["rules"]], **learn}


def _rule(rule: Rule) -> Any:
    if not isinstance(rule, str):
        return rule
    match = _SHORT.fullmatch(rule)
    if match is None:
        raise invalid_option(f"network: {rule[:300]!r} is not HOST[:PORT][/tls|/http|/https|/tcp], such as api.example.com:443")
    host, port, protocol = match.groups()
    return {"host": host, **({} if port is None else {"port": int(port)}), **({} if protocol is None else {"protocol": protocol})}
