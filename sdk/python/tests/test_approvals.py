"""Approvals, blocking and for asyncio, against an API in which one attempt waits: the one of the tests, which runs nothing."""

from __future__ import annotations

import asyncio
import os
import unittest

from caisson import Approvals, AsyncApprovals, CaissonError, connection

NEEDS_HELD = "needs an API in which something waits: CAISSON_TEST_APPROVAL names nothing"
ID = os.environ.get("CAISSON_TEST_APPROVAL", "")
URL = os.environ.get("CAISSON_TEST_URL", "")


@unittest.skipUnless(ID, NEEDS_HELD)
class Blocking(unittest.TestCase):
    def refused(self, code, call, *args, **options):
        with self.assertRaises(CaissonError) as caught:
            call(*args, **options)
        self.assertEqual(caught.exception.code, code)

    def test_what_waits_is_listed_watched_allowed_and_denied(self):
        [held] = Approvals.list()
        self.assertEqual((held["id"], held["host"], held["port"]), (ID, "held.test", 443))
        self.assertEqual(len(Approvals.list(sandbox=held["sandbox"])), 1)
        self.assertEqual(Approvals.list(sandbox="sbx-ffffffffffffffff"), [])
        watching = Approvals.watch(every_s=0.01)
        self.assertEqual(next(watching)["id"], ID)
        watching.close()
        for lasts in ["once", 60_000, "sandbox"]:
            self.assertEqual(Approvals.allow(ID, lasts=lasts)["decision"], "allow")
        self.assertEqual(Approvals.deny(ID)["decision"], "deny")

    def test_what_does_not_wait_or_is_no_decision_is_refused(self):
        self.refused("APPROVAL_NOT_FOUND", Approvals.allow, "apr-ffffffffffffffff")
        self.refused("APPROVAL_NOT_FOUND", Approvals.deny, "../tokens")
        self.refused("OPTIONS_INVALID", Approvals.deny, "")
        for lasts in [0, -1, 1.5, 10**12, "ever"]:
            self.refused("REQUEST_INVALID", Approvals.allow, ID, lasts=lasts)

    def test_a_token_without_the_scope_neither_lists_nor_decides(self):
        agent = connection(url=URL, token=os.environ["CAISSON_TEST_AGENT"])
        person = connection(url=URL, token=os.environ["CAISSON_TEST_PERSON"])
        self.refused("SCOPE_MISSING", Approvals.list, connection=agent)
        self.refused("SCOPE_MISSING", Approvals.allow, ID, connection=agent)
        self.refused("SCOPE_MISSING", Approvals.deny, ID, connection=agent)
        self.assertEqual(len(Approvals.list(connection=person)), 1)
        self.assertEqual(Approvals.deny(ID, connection=person)["decision"], "deny")


@unittest.skipUnless(ID, NEEDS_HELD)
class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def test_what_waits_is_listed_watched_once_and_decided(self):
        self.assertEqual([held["id"] for held in await AsyncApprovals.list()], [ID])
        self.assertEqual((await AsyncApprovals.allow(ID, lasts=1_000))["decision"], "allow")
        self.assertEqual((await AsyncApprovals.deny(ID))["decision"], "deny")
        seen = []
        async def watch():
            async for held in AsyncApprovals.watch(every_s=0.01):
                seen.append(held["id"])
        with self.assertRaises(TimeoutError):
            await asyncio.wait_for(watch(), 0.5)
        self.assertEqual(seen, [ID])


if __name__ == "__main__":
    unittest.main()
