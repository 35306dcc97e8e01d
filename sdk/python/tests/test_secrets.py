"""Secrets by name, blocking and for asyncio, against an API that has some: the one of the tests, which runs nothing."""

from __future__ import annotations

import os
import unittest

from caisson import AsyncSandbox, CaissonError, Sandbox

NEEDS_SECRETS = "needs an API whose policy has secrets: CAISSON_TEST_SECRETS names none"
OPENAI = {"secret": "openai", "file": None, "uses": 3, "lastMs": 1, "expiresMs": None}
GITHUB = {"secret": "github", "file": None, "uses": 0, "lastMs": None, "expiresMs": None}


@unittest.skipUnless(os.environ.get("CAISSON_TEST_SECRETS"), NEEDS_SECRETS)
class Blocking(unittest.TestCase):
    def test_secrets_are_asked_for_by_name_listed_and_taken(self):
        with Sandbox.create(secrets=["openai", "github"], network=["api.test/https"]) as box:
            self.assertEqual(box.network.get()["rules"], [{"host": "api.test", "protocol": "https"}])
            self.assertEqual(box.secrets.list(), [OPENAI, GITHUB])
            self.assertEqual(box.secrets.revoke("openai")["secrets"], ["github"])
            self.assertEqual(box.secrets.list(), [GITHUB])
            for name, code in [("openai", "LEASE_NOT_FOUND"), ("../../tokens", "REQUEST_INVALID"), ("", "OPTIONS_INVALID")]:
                with self.assertRaises(CaissonError) as caught:
                    box.secrets.revoke(name)
                self.assertEqual(caught.exception.code, code)
            with box.fork(secrets=["openai"]) as fork:
                self.assertEqual(fork.secrets.list(), [OPENAI])

    def test_a_sandbox_without_secrets_has_none_with_a_network_or_without(self):
        for network in [None, ["a.test"]]:
            with Sandbox.create(network=network) as box:
                self.assertEqual(box.secrets.list(), [])

    def test_a_text_is_no_list_of_names(self):
        with self.assertRaises(CaissonError) as caught:
            Sandbox.create(secrets="openai")
        self.assertEqual(caught.exception.code, "REQUEST_INVALID")


@unittest.skipUnless(os.environ.get("CAISSON_TEST_SECRETS"), NEEDS_SECRETS)
class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def test_secrets_are_asked_for_by_name_listed_and_taken(self):
        async with await AsyncSandbox.create(secrets=["openai", "github"]) as box:
            self.assertEqual(await box.secrets.list(), [OPENAI, GITHUB])
            self.assertEqual((await box.secrets.revoke("openai"))["secrets"], ["github"])
            self.assertEqual(await box.secrets.list(), [GITHUB])
            async with await box.fork(secrets=["openai"]) as fork:
                self.assertEqual(await fork.secrets.list(), [OPENAI])


if __name__ == "__main__":
    unittest.main()
