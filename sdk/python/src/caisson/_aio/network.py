"""What a sandbox may reach."""

from __future__ import annotations

from .._ask import Ask, at
from .._rules import Rule, Rules, network_request
from .._types import NetworkInfo
from .http import AsyncHttp


class AsyncNetwork:
    """The network of one sandbox: `box.network`. It can be changed while the sandbox lives, if it was made with one, of no rules
    perhaps; otherwise every method raises CaissonError NETWORK_ABSENT.
    """

    def __init__(self, http: AsyncHttp, sandbox: str) -> None:
        self._http = http
        self._path = at("sandboxes", sandbox, "network")

    async def get(self) -> NetworkInfo:
        """The rules, the connections that are open, what has passed and what was refused."""
        return await self._http.json(Ask("GET", self._path, repeatable=True))

    async def set(self, rules: Rules) -> NetworkInfo:
        """Puts these rules in the place of those that there are. Connections that they do not allow are cut when this returns.
        Raises CaissonError EGRESS_EXCEEDS_POLICY, and OPTIONS_INVALID for a text that is no rule.
        """
        return await self._http.json(Ask("PUT", self._path, json=network_request(rules), repeatable=True))

    async def allow(self, *rules: Rule) -> NetworkInfo:
        """Adds rules to those that there are; one that learns goes on with it. Whoever changes them at the same time may be overwritten."""
        added = network_request(rules)["rules"]
        now = await self.get()
        learn = {"learn": True} if now.get("learn") else {}
        return await self.set({"rules": [*now["rules"], *added], **learn})
