# Generated from _aio/secrets.py by `./dev generate`: change that file.
"""What a sandbox may use and never sees."""

from __future__ import annotations

from collections.abc import Sequence

from .._ask import Ask, at
from .._types import SandboxInfo
from .._values import SecretInfo
from .http import Http


class Secrets:
    """The secrets of one sandbox: `box.secrets`. Commands find a placeholder in their environment, which is replaced on its way to
    the hosts of the secret. Which there are is in the policy; which a sandbox has is said when it is made.
    """

    def __init__(self, http: Http, sandbox: str) -> None:
        self._http = http
        self._sandbox = sandbox

    def list(self) -> Sequence[SecretInfo]:
        """Those that it may use now, with how often each went with a request of it."""
        info = self._http.json(Ask("GET", at("sandboxes", self._sandbox), repeatable=True))
        if not info["secrets"]:
            return []  # it may have no network that could be asked for
        network = self._http.json(Ask("GET", at("sandboxes", self._sandbox, "network"), repeatable=True))
        used = {use["secret"]: use for use in network["secrets"]}
        return [used.get(secret, {"secret": secret, "uses": 0, "lastMs": None}) for secret in info["secrets"]]

    def revoke(self, secret: str) -> SandboxInfo:
        """Takes one from it. No request goes out with it any more when this returns: connections on which it did are cut. Raises
        CaissonError LEASE_NOT_FOUND for one that it has not, or not any more.
        """
        return self._http.json(Ask("DELETE", at("sandboxes", self._sandbox, "secrets", secret), repeatable=True))
