"""What a sandbox may use: secrets that it never sees, and secrets that are files."""

from __future__ import annotations

from collections.abc import Sequence

from .._ask import Ask, at
from .._types import SandboxInfo, SecretInfo
from .http import AsyncHttp


class AsyncSecrets:
    """The secrets of one sandbox: `box.secrets`. For one that goes with requests commands find a placeholder in their environment,
    which is replaced on its way to the hosts of the secret; another is a file in `/run/secrets`. Which there are is in the policy;
    which a sandbox has is said when it is made.
    """

    def __init__(self, http: AsyncHttp, sandbox: str) -> None:
        self._http = http
        self._sandbox = sandbox

    async def list(self) -> Sequence[SecretInfo]:
        """Those that it may use now. `uses` counts the requests that it went with, or how often its file was written; `file` is the
        path of that, or None.
        """
        return (await self._http.json(Ask("GET", at("sandboxes", self._sandbox, "secrets"), repeatable=True)))["secrets"]

    async def revoke(self, secret: str) -> SandboxInfo:
        """Takes one from it. When this returns its file is gone, or no request goes out with it any more: connections on which it did
        are cut. Raises CaissonError LEASE_NOT_FOUND for one that it has not, or not any more.
        """
        return await self._http.json(Ask("DELETE", at("sandboxes", self._sandbox, "secrets", secret), repeatable=True))
