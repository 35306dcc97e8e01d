"""What sandboxes wait for somebody to decide."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Union

from .._ask import Ask, at
from .._types import HeldAttempt
from .._values import Decided
from .._where import Where, connection as default_connection
from . import io
from .http import AsyncHttp


class AsyncApprovals:
    """What sandboxes wait for because only rules with `hold` allow it. Over TCP it takes a token with the scope `approvals`, which
    no other scope holds: never give it to what runs in a sandbox.
    """

    @staticmethod
    async def list(*, sandbox: str | None = None, connection: Where | None = None) -> Sequence[HeldAttempt]:
        """What waits now, of each sandbox its oldest first; with `sandbox`, an id, of that one alone.

        Raises CaissonError SCOPE_MISSING.
        """
        async with AsyncHttp(connection or default_connection()) as http:
            answer = await http.json(Ask("GET", at("approvals"), repeatable=True))
            return [held for held in answer["approvals"] if sandbox is None or held["sandbox"] == sandbox]

    @staticmethod
    async def watch(*, sandbox: str | None = None, every_s: float = 0.5, connection: Where | None = None) -> AsyncIterator[HeldAttempt]:
        """What waits now and what comes to wait, each once, without an end; the list is asked for every `every_s` seconds."""
        seen: set[str] = set()
        while True:
            held = await AsyncApprovals.list(sandbox=sandbox, connection=connection)
            for attempt in held:
                if attempt["id"] not in seen:
                    yield attempt
            seen = {attempt["id"] for attempt in held}
            await io.pause(every_s)

    @staticmethod
    async def allow(approval: str, *, lasts: Union[Literal["once", "sandbox"], int] = "once", connection: Where | None = None) -> Decided:
        """Lets pass what waits under this id, and the same again for as long as `lasts` says: milliseconds, at most a day, or as long
        as the sandbox lives. By default nothing after it.

        Raises CaissonError APPROVAL_NOT_FOUND: nothing waits under this id, or not any more; SCOPE_MISSING; CONNECTION_LOST: whether
        it was decided is not known, and a list tells.
        """
        async with AsyncHttp(connection or default_connection()) as http:
            return await http.json(Ask("POST", at("approvals", approval), json={"decision": "allow", "for": lasts}))

    @staticmethod
    async def deny(approval: str, *, connection: Where | None = None) -> Decided:
        """Refuses what waits under this id, and the same again for a minute. Raises as `allow` does."""
        async with AsyncHttp(connection or default_connection()) as http:
            return await http.json(Ask("POST", at("approvals", approval), json={"decision": "deny"}))
