"""What waits, and for how long: slow readers, slow lines, an API that is away, and callers that leave."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
import unittest
from unittest import mock

from caisson import AsyncSandbox, CaissonError, Sandbox, connection

from given import AwayProxy, SlowProxy, needs_daemon

_MIB = 1024 * 1024


@needs_daemon
class Waits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox.create(limits={"wallMs": 600_000}, labels={"of": "test-waits"})
        cls.addClassCleanup(cls.box.close)
        cls.above = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.above.cleanup)

    def last(self, of=None):
        info = max((of or self.box).execs(), key=lambda info: info["startedMs"])
        return self.box.attach(info["id"])

    def test_stdin_waits_for_a_command_that_reads_late(self):
        data = os.urandom(_MIB)
        with mock.patch("caisson._sync.http.STEP_S", 3.0):
            box = Sandbox.connect(self.box.id, connection=connection(socket=os.environ["CAISSON_API_SOCKET"], reconnect_ms=1000))
            self.addCleanup(box.disconnect)
            self.assertEqual(box.sh("sleep 8; sha256sum", stdin=data).stdout[:64], hashlib.sha256(data).hexdigest())

    def test_output_is_told_while_stdin_still_waits(self):
        def begun(chunk):
            self.box.files.write("go", "")

        # What it writes is more than is on its way at once: it reads nothing before somebody has read that.
        script = "rm -f go; head -c 3000000 /dev/zero; until test -e go; do sleep 0.05; done; wc -c >&2"
        result = self.box.sh(script, stdin=bytes(_MIB), on_output=begun, timeout_ms=20_000)
        self.assertEqual((len(result.stdout_bytes), result.stderr, result.ok), (3_000_000, f"{_MIB}\n", True))

    def test_a_command_that_reads_none_of_its_stdin_ends_as_it_does(self):
        for script, exit in [("exit 3", 3), ("sleep 0.5; exit 4", 4), ("head -c 1 >/dev/null; exit 5", 5)]:
            self.assertEqual(self.box.sh(script, stdin=bytes(8 * _MIB)).exit, exit)

    def test_a_body_that_trickles_arrives(self):
        data = os.urandom(4 * _MIB)
        proxy = SlowProxy(f"{self.above.name}/slow.sock", bytes_per_s=_MIB // 2)
        self.addCleanup(proxy.close)
        with mock.patch("caisson._sync.http.STEP_S", 3.0):
            box = Sandbox.connect(self.box.id, connection=proxy.where())
            self.addCleanup(box.disconnect)
            box.files.write("slow", data)
        self.assertEqual(hashlib.sha256(self.box.files.read_bytes("slow")).digest(), hashlib.sha256(data).digest())

    def test_stdin_outlives_an_api_that_is_away_for_three_seconds(self):
        proxy = AwayProxy(f"{self.above.name}/away.sock")
        self.addCleanup(proxy.close)
        box = Sandbox.connect(self.box.id, connection=proxy.where())
        self.addCleanup(box.disconnect)
        with box.spawn(["cat"], stdin=True) as cat:
            cat.write("one ")
            for away_s, act in [(3.0, lambda: cat.write("two")), (0.5, cat.info), (0.5, cat.end_stdin), (0.5, lambda: cat.kill(0))]:
                proxy.away(away_s)
                act()
            self.assertEqual(b"".join(chunk.data for chunk in cat), b"one two")

    def test_an_exception_of_on_output_kills_the_command_whatever_it_is(self):
        for reason in [ValueError("mine"), CaissonError("CONNECTION_LOST", "of another call"), CaissonError("FILE_NOT_FOUND", "of another call")]:
            for stdin in [None, bytes(_MIB)]:

                def stop(chunk):
                    raise reason

                with self.assertRaises(type(reason)) as caught:
                    self.box.sh("echo begun; sleep 100", stdin=stdin, on_output=stop)
                self.assertIs(caught.exception, reason)
                self.assertEqual(self.last().wait().ending, {"kind": "signaled", "signal": 9})

    def test_rules_that_are_added_to_a_sandbox_that_learns_leave_it_learning(self):
        with Sandbox.create(network={"rules": ["a.test"], "learn": True}) as box:
            box.network.allow("b.test")
            told = box.network.get()
            self.assertEqual((told["rules"], told.get("learn")), ([{"host": "a.test"}, {"host": "b.test"}], True))
            box.network.set(["c.test"])
            self.assertNotIn("learn", box.network.allow("d.test"))

    def test_a_table_of_long_texts_comes_whole_or_is_said_to_be_cut(self):
        with Sandbox.create(limits={"outputBytes": 256 * _MIB}) as box, box.python() as py:
            py.run(_TABLES)
            small = py.run("DataFrame(1000, 5, 'x' * 1000)")
            self.assertEqual((len(small.results[0]["rows"]), small.results[0]["truncated"], small.truncated), (1000, False, False))
            for code in ["DataFrame(1000, 10, 'x' * 1000)", "DataFrame(1000, 100, '\\0' * 1000)"]:
                made = py.run(code)
                self.assertEqual((len(made.results), made.results[0]["type"], made.results[0]["truncated"], made.truncated, made.error), (1, "text", True, True, None))
                self.assertEqual(made.results[0]["text"], made.text)
            page = py.run("class Page:\n    def _repr_html_(self): return '\\x01' * (1 << 20)\nPage()")
            self.assertEqual((page.results[0]["type"], page.truncated), ("text", True))
            self.assertEqual(py.run("1 + 1").text, "2")


_TABLES = """import sys, types
pandas = types.ModuleType("pandas")
class DataFrame:
    def __init__(self, rows, columns, text):
        self.shape, self.index, self.columns, self.text = (rows, columns), range(rows), range(columns), text
    iloc = property(lambda self: self)
    def __getitem__(self, at): return self
    def itertuples(self, **_): return [(self.text,) * self.shape[1]] * self.shape[0]
pandas.DataFrame = DataFrame
sys.modules["pandas"] = pandas"""


@needs_daemon
class AsyncWaits(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.box = await AsyncSandbox.create(limits={"wallMs": 600_000})
        self.addAsyncCleanup(self.box.close)

    async def until_running(self, most):
        until = time.monotonic() + 10
        while len((await self.box.info())["running"]) > most:
            self.assertLess(time.monotonic(), until, "one runs on")
            await asyncio.sleep(0.02)

    async def test_stdin_and_output_go_side_by_side(self):
        data = os.urandom(_MIB)
        with mock.patch("caisson._aio.http.STEP_S", 1.0):
            result = await self.box.sh("head -c 3000000 /dev/zero; sleep 3; sha256sum >&2", stdin=data, timeout_ms=30_000)
        self.assertEqual((len(result.stdout_bytes), result.stderr[:64]), (3_000_000, hashlib.sha256(data).hexdigest()))
        self.assertEqual((await self.box.sh("exit 3", stdin=bytes(8 * _MIB))).exit, 3)

    async def test_a_wait_that_is_cancelled_while_stdin_waits_kills_the_command(self):
        begun = asyncio.Event()
        task = asyncio.create_task(self.box.sh("echo begun; sleep 100", stdin=bytes(_MIB), on_output=lambda _: begun.set()))
        await asyncio.wait_for(begun.wait(), 30)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        (last,) = await self.box.execs()
        self.assertEqual((await (await self.box.attach(last["id"])).wait()).ending, {"kind": "signaled", "signal": 9})

    async def test_a_session_that_is_closed_while_it_restarts_leaves_no_interpreter_running(self):
        py = await self.box.python()
        await asyncio.gather(py.restart(), py.restart())
        self.assertEqual((await py.run("1 + 1")).text, "2")
        await self.until_running(1)
        restarting = asyncio.create_task(py.restart())
        await asyncio.sleep(0)
        await asyncio.gather(restarting, py.close(), return_exceptions=True)
        await self.until_running(0)


if __name__ == "__main__":
    unittest.main()
