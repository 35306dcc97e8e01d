"""The asyncio side against a real Caisson: what differs from the blocking one, and that the rest is the same."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import tarfile
import tempfile
import unittest

import caisson
from caisson import AsyncSandbox, AsyncSnapshots, AsyncWorkspaces, CaissonError, PythonEnded

from given import CuttingProxy, needs_daemon


class Shapes(unittest.TestCase):
    def test_both_sides_have_the_same_methods_with_the_same_arguments(self):
        for name in ["Approvals", "Sandbox", "Process", "Files", "Network", "Ports", "Python", "Secrets", "Snapshots", "Workspaces"]:
            one, other = getattr(caisson, name), getattr(caisson, f"Async{name}")
            public = lambda kind: {key: str(inspect.signature(value).replace(return_annotation=None)) for key, value in inspect.getmembers(kind, callable) if not key.startswith("_")}
            self.assertEqual(public(one), {key: value.replace("Async", "") for key, value in public(other).items()})


@needs_daemon
class Live(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.box = await AsyncSandbox.create(limits={"wallMs": 600_000})
        self.addAsyncCleanup(self.box.close)

    async def test_a_wait_that_is_cancelled_kills_the_command_and_one_that_is_told_not_to_does_not(self):
        for kill in [True, False]:
            begun = asyncio.Event()
            task = asyncio.create_task(self.box.sh("echo begun; exec sleep 60", kill_on_cancel=kill, on_output=lambda _: begun.set()))
            await asyncio.wait_for(begun.wait(), 30)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            last = max(await self.box.execs(), key=lambda info: info["startedMs"])
            process = await self.box.attach(last["id"])
            if kill:
                self.assertEqual((await process.wait()).ending, {"kind": "signaled", "signal": 9})
            else:
                self.assertEqual((await process.info())["state"], "running")
                self.assertTrue(await process.kill("SIGKILL"))

    async def test_a_timeout_of_asyncio_ends_the_wait_before_the_command_is_known_to_have_started(self):
        with self.assertRaises(TimeoutError):
            async with asyncio.timeout(0.001):
                await self.box.sh("sleep 60")
        for info in await self.box.execs():
            self.assertNotEqual((await (await self.box.attach(info["id"])).wait()).ok, True)

    async def test_commands_run_side_by_side(self):
        results = await asyncio.gather(*(self.box.sh(f"sleep 0.2; echo {number}") for number in range(12)))
        self.assertEqual([result.stdout for result in results], [f"{number}\n" for number in range(12)])

    async def test_every_byte_is_seen_once_through_connections_that_break(self):
        with tempfile.TemporaryDirectory() as folder:
            proxy = CuttingProxy(f"{folder}/p.sock", seed=11, most=200_000, cuts=15)
            box = await AsyncSandbox.connect(self.box.id, connection=proxy.where())
            result = await box.sh("echo once >> runs; i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); done")
            self.assertEqual(result.stdout, "".join(f"line {number}\n" for number in range(4000)))
            async with await box.spawn(["cat"], stdin=True) as cat:
                data = os.urandom(600_000)
                await cat.write(data)
                await cat.end_stdin()
                self.assertEqual(b"".join([chunk.data async for chunk in cat]), data)
            self.assertEqual(await box.files.read_text("runs"), "once\n")
            self.assertGreater(proxy.cut, 3)
            await box.disconnect()
            proxy.close()

    async def test_files_ports_and_folders_work_as_on_the_other_side(self):
        async def numbers():
            for number in range(3):
                yield b"%d" % number

        await self.box.files.write("www/page", numbers(), parents=True)
        self.assertEqual([info["path"] async for info in self.box.files.list("www")], ["/workspace/www/page"])
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(await self.box.files.download("www", f"{folder}/down"), {"files": 1, "bytes": 3})
            await self.box.files.upload(f"{folder}/down", "again")
        self.assertEqual(await self.box.files.read_bytes("again/page"), b"012")
        async with await self.box.spawn(["python3", "-m", "http.server", "8124", "--bind", "127.0.0.1", "-d", "/workspace/www"]):
            for _ in range(100):
                try:
                    answer = await self.box.ports.fetch(8124, "/page")
                    break
                except CaissonError as error:
                    self.assertEqual(error.code, "PORT_REFUSED")
                    await asyncio.sleep(0.1)
            self.assertEqual(answer.body, b"012")
            async with await self.box.ports.forward(8124) as forward:
                reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
                writer.write(b"GET /page HTTP/1.0\r\n\r\n")
                self.assertTrue((await asyncio.wait_for(reader.read(), 30)).endswith(b"012"))
                writer.close()

    async def test_a_fork_starts_where_the_workspace_was(self):
        await self.box.files.write("f", "one")
        async with await self.box.fork() as other:
            self.assertEqual(await other.files.read_text("f"), "one")
        self.assertIn(self.box.id, [info["id"] async for info in AsyncSandbox.list(state="running")])

    async def test_workspaces_and_snapshots_are_listed_exported_and_taken_in_as_on_the_other_side(self):
        await self.box.files.write("f", "one")
        kept = await self.box.snapshot()
        self.assertIn(kept["id"], [info["id"] for info in await AsyncSnapshots.list()])
        made = await AsyncWorkspaces.import_(AsyncSnapshots.export(kept["id"]), name="taken-in-async")
        self.assertEqual((await AsyncWorkspaces.get("taken-in-async"))["id"], made["workspace"]["id"])
        archive = b"".join([piece async for piece in AsyncWorkspaces.export("taken-in-async")])
        self.assertEqual(tarfile.open(fileobj=io.BytesIO(archive)).extractfile("f").read(), b"one")
        given_up = AsyncWorkspaces.export("taken-in-async")
        await anext(given_up)
        await given_up.aclose()
        await AsyncWorkspaces.remove("taken-in-async")  # nothing uses it any more
        self.assertNotIn("taken-in-async", [info["name"] for info in await AsyncWorkspaces.list()])
        for snapshot in [kept, made["snapshot"]]:
            await AsyncSnapshots.remove(snapshot["id"])
        with self.assertRaises(CaissonError) as caught:
            await AsyncSnapshots.get(kept["id"])
        self.assertEqual(caught.exception.code, "SNAPSHOT_NOT_FOUND")

    async def test_rules_of_the_network_are_changed_as_on_the_other_side(self):
        with self.assertRaises(CaissonError) as caught:
            await self.box.network.get()
        self.assertEqual(caught.exception.code, "NETWORK_ABSENT")
        async with await AsyncSandbox.create(network=[]) as box:
            self.assertEqual((await box.network.allow("a.test"))["rules"], [{"host": "a.test"}])

    async def test_a_session_keeps_its_variables_and_a_cell_that_is_cancelled_is_interrupted(self):
        async with await self.box.python() as py:
            self.assertEqual((await py.run("x = 2\nprint('a')\nx * 21")).text, "42")
            task = asyncio.create_task(py.run("import time\ntime.sleep(60)"))
            await asyncio.sleep(0.5)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            after = await py.run("x")
            self.assertEqual((after.text, after.stdout), ("2", ""))
            for round in range(10):
                task = asyncio.create_task(py.run("time.sleep(60)"))
                await asyncio.sleep(0.002 * round)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                self.assertEqual((await py.run("x")).text, "2")
            for round in range(12):
                first = asyncio.create_task(py.run("time.sleep(60)", timeout_ms=1 + round))
                await asyncio.sleep(0.002 * round)
                first.cancel()
                second = asyncio.create_task(py.run("time.sleep(60)"))
                await asyncio.sleep(0.003 * round)
                second.cancel()
                await asyncio.gather(first, second, return_exceptions=True)
                self.assertEqual((await py.run("x")).text, "2")
            with self.assertRaises(PythonEnded):
                await py.run("import os; os._exit(0)")


if __name__ == "__main__":
    unittest.main()
