"""The blocking side against a real Caisson."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import pickle
import tarfile
import tempfile
import threading
import time
import unittest
import urllib.request

from caisson import CaissonError, ExecError, PythonEnded, Sandbox, Snapshots, Workspaces, connection

from given import CuttingProxy, needs_daemon


def code_of(act, *args, **options) -> str:
    try:
        act(*args, **options)
    except CaissonError as error:
        return error.code
    return "nothing was raised"


def page_of(archive) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
        return tar.extractfile("page").read()


@needs_daemon
class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox.create(limits={"wallMs": 600_000}, labels={"of": "test-live"})
        cls.addClassCleanup(cls.box.close)

    def test_a_command_is_told_as_it_ended(self):
        result = self.box.exec(["sh", "-c", "printf out; printf err >&2; exit 7"])
        self.assertEqual((result.stdout, result.stderr, result.exit, result.ok), ("out", "err", 7, False))
        self.assertIsNotNone(result.evidence["outcome"])
        with self.assertRaises(ExecError) as caught:
            self.box.sh("echo why >&2; exit 3", check=True)
        self.assertEqual((caught.exception.result.exit, "why" in str(caught.exception)), (3, True))
        self.assertEqual(self.box.exec(["no-such-program"]).exit, 127)
        self.assertEqual(self.box.exec(["sleep", "30"], timeout_ms=200).ending["kind"], "timed-out")
        self.assertEqual(code_of(self.box.exec, "ls -l"), "OPTIONS_INVALID")
        self.assertEqual(code_of(self.box.exec, ["ls"], cwd="relative"), "REQUEST_INVALID")

    def test_stdin_of_a_command_arrives_whole(self):
        data = os.urandom(700_000)
        self.assertEqual(self.box.exec(["sha256sum"], stdin=data).stdout[:64], hashlib.sha256(data).hexdigest())
        self.assertTrue(self.box.exec(["true"], stdin=data).ok)

    def test_output_beyond_the_buffer_is_dropped_and_said(self):
        result = self.box.sh("head -c 100000 /dev/zero", max_buffer_bytes=1000)
        self.assertEqual((len(result.stdout_bytes), result.truncated, result.ok), (1000, True, True))

    def test_a_process_is_written_to_read_and_killed(self):
        with self.box.spawn(["cat"], stdin=True) as cat:
            cat.write("one\n")
            cat.write("two\nthree")
            cat.end_stdin()
            self.assertEqual(list(cat.lines()), ["one", "two", "three"])
            self.assertEqual(b"".join(chunk.data for chunk in self.box.attach(cat.id).output(offset=4)), b"two\nthree")
            self.assertTrue(cat.wait().ok)
        with self.box.spawn(["sleep", "100"]) as sleeper:
            self.assertTrue(sleeper.kill("SIGTERM"))
            self.assertEqual(sleeper.wait().ending, {"kind": "signaled", "signal": 15})
            self.assertFalse(sleeper.kill())

    def test_a_terminal_has_the_size_that_it_is_given(self):
        process = self.box.spawn(["sh", "-c", "stty size; read x; stty size"], tty=(100, 30))
        process.resize(120, 40)
        process.write("\n")
        self.assertEqual(process.wait().exit, 0)
        self.assertIn("40 120", "".join(chunk.text for chunk in process))

    def test_every_byte_is_seen_once_through_connections_that_break(self):
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(6):
                proxy = CuttingProxy(f"{folder}/{seed}.sock", seed=seed, most=60_000, cuts=12)
                try:
                    box = Sandbox.connect(self.box.id, connection=proxy.where())
                    result = box.sh("echo once >> runs; i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); done; echo done >&2")
                    self.assertEqual(result.stdout, "".join(f"line {number}\n" for number in range(4000)))
                    self.assertEqual((result.stderr, result.ok), ("done\n", True))
                    with box.spawn(["cat"], stdin=True) as cat:
                        data = os.urandom(600_000)
                        cat.write(data)
                        cat.end_stdin()
                        self.assertEqual(b"".join(chunk.data for chunk in cat), data)
                    self.assertGreater(proxy.cut, 3)
                    box.disconnect()
                finally:
                    proxy.close()
            self.assertEqual(self.box.files.read_text("runs"), "once\n" * 6)

    def test_a_create_through_a_connection_that_breaks_makes_one_sandbox(self):
        with tempfile.TemporaryDirectory() as folder:
            proxy = CuttingProxy(f"{folder}/p.sock", seed=1, most=300, cuts=3)
            labels = {"of": os.urandom(8).hex()}
            with Sandbox.create(labels=labels, connection=proxy.where()):
                self.assertEqual(len(list(Sandbox.list(labels=labels, state="running"))), 1)
            self.assertGreater(proxy.cut, 0)
            proxy.close()

    def test_a_name_that_is_not_utf8_is_used_as_bytes(self):
        files = self.box.files
        self.box.sh("mkdir odd; printf one > \"$(printf 'odd/bad\\377')\"", check=True)
        (info,) = files.list("odd")
        path = base64.b64decode(info["pathBase64"])
        self.assertEqual(path, b"/workspace/odd/bad\xff")
        files.append(path, b" two")
        files.write(b"odd/next\xfe", files.read_bytes(path), exclusive=True)
        files.move(path, b"odd/\xfd", replace=False)
        files.chmod(b"odd/\xfd", 0o600)
        self.assertEqual((files.exists(path), files.stat(b"odd/\xfd")["mode"], files.read_text(b"odd/next\xfe")), (False, 0o600, "one two"))
        self.assertEqual(base64.b64decode(files.search("odd", content="two")["matches"][0]["pathBase64"])[:15], b"/workspace/odd/")
        files.remove(b"odd/\xfd")
        files.mkdir(b"odd/\xfc")
        self.assertEqual(len(list(files.list(b"odd"))), 2)

    def test_files_are_written_whole_and_read_in_parts(self):
        files = self.box.files
        info = files.write("a/b.txt", "hello", parents=True, mode=0o640)
        self.assertEqual((info["sizeBytes"], files.stat("a/b.txt")["mode"]), (5, 0o640))
        self.assertEqual((files.read_bytes("a/b.txt", offset=1, length=3), files.read_bytes("a/b.txt", offset=9)), (b"ell", b""))
        self.box.sh("ln -s b.txt a/l; ln -s ./././b.txt a/longer; ln -s /etc/passwd a/out", check=True)
        self.assertEqual((files.read_bytes("a/l", offset=3), files.read_bytes("a/longer", offset=6), code_of(files.read_text, "a/out")), (b"lo", b"", "FILE_OUTSIDE"))
        files.write("a/empty", "")
        self.assertEqual((files.read_bytes("a/empty", length=9), code_of(files.read_bytes, "a/b.txt", offset=9, length=-1)), (b"", "RANGE_INVALID"))
        self.box.sh("rm a/empty a/l a/longer a/out", check=True)
        files.write("a/c", (b"%d," % number for number in range(5)))
        self.assertEqual(files.append("a/c", "end")["sizeBytes"], 13)
        self.assertEqual(b"".join(files.read_stream("a/c")), b"0,1,2,3,4,end")
        self.assertEqual(code_of(files.write, "a/c", "x", exclusive=True), "FILE_EXISTS")
        self.assertEqual(code_of(files.write, "a/b.txt", "x", expected=files.stat("a/c")), "FILE_CHANGED")
        files.write("a/b.txt", "hello", expected=files.stat("a/b.txt"))
        self.assertEqual(sorted(entry["path"] for entry in files.list("a")), ["/workspace/a/b.txt", "/workspace/a/c"])
        self.assertEqual(files.search("a", content="hel")["matches"][0]["line"], 1)
        files.patch("--- a/a/b.txt\n+++ b/a/b.txt\n@@ -1 +1 @@\n-hello\n\\ No newline at end of file\n+bye\n\\ No newline at end of file\n")
        self.assertEqual(files.read_text("a/b.txt"), "bye")
        files.move("a/c", "a/d")
        files.chmod("a/d", 0o700)
        self.assertEqual((files.exists("a/c"), files.stat("a/d")["mode"]), (False, 0o700))
        files.mkdir("a/e/f", parents=True)
        files.remove("a", recursive=True)
        self.assertFalse(files.exists("a"))
        self.assertEqual(code_of(files.read_text, "a"), "FILE_NOT_FOUND")
        self.assertEqual(code_of(files.read_text, "../../etc/passwd"), code_of(files.stat, "/etc/passwd"))
        self.assertIn(code_of(files.stat, "/etc/passwd"), ("FILE_OUTSIDE", "REQUEST_INVALID"))

    def test_folders_go_up_and_come_down(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(f"{folder}/up/x")
            with open(f"{folder}/up/x/data", "wb") as out:
                out.write(os.urandom(300_000))
            os.symlink("x/data", f"{folder}/up/link")
            self.box.files.upload(f"{folder}/up", "moved")
            self.assertEqual(self.box.files.download("moved", f"{folder}/down"), {"files": 2, "bytes": 300_000})
            with open(f"{folder}/up/x/data", "rb") as one, open(f"{folder}/down/link", "rb") as other:
                self.assertEqual(one.read(), other.read())
            self.box.sh("ln -s /etc/passwd moved/evil", check=True)
            self.assertEqual(code_of(self.box.files.download, "moved", f"{folder}/evil"), "ARCHIVE_REFUSED")

    def test_changes_of_files_are_watched(self):
        seen = []
        self.box.files.mkdir("watched", parents=True)
        watching = self.box.files.watch("watched", recursive=True)
        thread = threading.Thread(target=lambda: seen.append(next(change for change in watching if change["path"].endswith("/new"))))
        thread.start()
        until = time.monotonic() + 20
        while not seen and time.monotonic() < until:
            self.box.files.write("watched/new", "x")
            thread.join(0.2)
        self.assertEqual([change["path"] for change in seen], ["/workspace/watched/new"])
        watching.close()

    def test_a_fork_and_a_restore_start_where_the_workspace_was(self):
        with Sandbox.create() as box:
            box.files.write("f", "one")
            kept = box.snapshot(label="first")
            box.files.write("f", "two")
            with box.fork() as other:
                self.assertEqual(other.files.read_text("f"), "two")
            self.assertEqual([change["path"] for change in box.changes(from_snapshot=kept["id"])["changes"]], ["f"])
            box.restore(kept)
            box.files.write("f", "three")
            box.restore(kept["id"])
            self.assertEqual(box.files.read_text("f"), "one")
            self.assertEqual(box.pause()["state"], "paused")
            self.assertEqual((box.files.read_text("f"), code_of(box.exec, ["true"])), ("one", "SANDBOX_STATE"))
            self.assertEqual(box.resume()["state"], "running")
            self.assertGreater(box.usage()["memoryBytes"], 0)
            self.assertTrue(box.renew(keep_alive=True)["idleMs"] is None or box.info())
        self.assertEqual(box.last_info["state"], "closed")
        self.assertEqual(box.close()["state"], "closed")
        self.assertEqual(code_of(box.exec, ["true"]), "SANDBOX_STATE")

    def test_a_fork_is_as_the_one_before_it_but_for_what_is_asked(self):
        with Sandbox.create(level="container", image="host", terminals=False) as box:
            with box.fork() as same, box.fork(level="container", image="host", terminals=True) as other:
                told = [(info["level"]["requested"], info["image"], info["terminals"]) for info in (same.info(), other.info())]
                self.assertEqual(told, [("container", "host", False), ("container", "host", True)])
            self.assertEqual(code_of(box.fork, memory=True), "CHECKPOINT_UNAVAILABLE")
            self.assertEqual(code_of(box.fork, level="nothing"), "REQUEST_INVALID")
            kept = box.snapshot()
            self.assertFalse(kept["memory"])
            self.assertEqual(code_of(Sandbox.create, from_snapshot=kept["id"], memory=True), "CHECKPOINT_UNAVAILABLE")
            Snapshots.remove(kept["id"])

    def test_processes_go_on_in_a_fork_and_from_a_snapshot_with_memory(self):
        try:
            box = Sandbox.create(level="gvisor")
        except CaissonError as error:
            self.assertEqual(error.code, "LEVEL_UNAVAILABLE")
            self.skipTest("level gvisor is not delivered here")
        with box:
            box.spawn(["sh", "-c", "i=0; while sleep 0.1; do i=$((i+1)); echo $i >count; done"])
            count = lambda of: int(of.files.read_text("count") or 0) if of.files.exists("count") else 0
            until = time.monotonic() + 30
            while count(box) < 3 and time.monotonic() < until:
                time.sleep(0.1)
            kept = box.snapshot(memory=True)
            self.assertTrue(kept["memory"])
            with box.fork(memory=True) as fork, Sandbox.create(level="gvisor", from_snapshot=kept["id"], memory=True) as again:
                for other in [fork, again]:
                    begun = count(other)
                    while count(other) <= begun and time.monotonic() < until:
                        time.sleep(0.1)
                    self.assertGreater(count(other), begun)
            Snapshots.remove(kept["id"])

    def test_snapshots_are_listed_told_exported_and_removed(self):
        with Sandbox.create() as box:
            box.files.write("page", "text")
            kept = box.snapshot(label="nightly")
        self.assertIn(kept["id"], [info["id"] for info in Snapshots.list()])
        self.assertEqual(Snapshots.get(kept["id"])["label"], "nightly")
        self.assertEqual(page_of(Snapshots.export(kept["id"])), b"text")
        with Sandbox.create(from_snapshot=kept["id"]) as other:
            Snapshots.remove(kept["id"])
            self.assertEqual(other.files.read_text("page"), "text")
        for act in [Snapshots.get, Snapshots.remove, lambda id: next(Snapshots.export(id))]:
            self.assertEqual(code_of(act, kept["id"]), "SNAPSHOT_NOT_FOUND")

    def test_workspaces_are_listed_told_exported_taken_in_and_removed(self):
        with Sandbox.create(workspace="of-live") as box:
            box.files.write("page", "text")
            self.assertEqual(Workspaces.get("of-live")["attachedTo"], box.id)
            archive = b"".join(Workspaces.export("of-live"))  # of one that a sandbox uses
            self.assertEqual(code_of(Workspaces.remove, "of-live"), "WORKSPACE_ATTACHED")
        self.assertIn("of-live", [info["name"] for info in Workspaces.list()])
        for content in [archive, io.BytesIO(archive), (archive[at : at + 700] for at in range(0, len(archive), 700)), Workspaces.export("of-live")]:
            made = Workspaces.import_(content, name="of-live-2")
            self.assertEqual(Workspaces.get(made["workspace"]["id"])["name"], "of-live-2")
            self.assertEqual(page_of(Workspaces.export("of-live-2")), b"text")
            Workspaces.remove("of-live-2")
            Snapshots.remove(made["snapshot"]["id"])
        given_up = Workspaces.export("of-live")
        next(given_up)
        self.assertNotEqual(Workspaces.get("of-live")["attachedTo"], None)
        given_up.close()
        Workspaces.remove("of-live")  # nothing uses it any more
        for act in [Workspaces.get, Workspaces.remove, lambda name: next(Workspaces.export(name))]:
            self.assertEqual(code_of(act, "of-live"), "WORKSPACE_NOT_FOUND")
        self.assertEqual(code_of(Workspaces.import_, b"no archive"), "ARCHIVE_INVALID")

    def test_rules_of_the_network_are_told_replaced_and_added_to(self):
        rule = {"host": "api.test", "port": 80, "protocol": "http", "http": {"methods": ["GET"]}}
        with Sandbox.create(network=["a.test", rule]) as box:
            box.sh("getent hosts b.test")
            told = box.network.get()
            self.assertEqual((told["rules"], told["connections"]), ([{"host": "a.test"}, rule], []))
            self.assertEqual([(one["to"], one["wouldAllow"]) for one in told["refused"]], [("b.test", "--allow b.test")])
            self.assertEqual(box.network.set(["b.test:22/tcp"])["rules"], [{"host": "b.test", "port": 22, "protocol": "tcp"}])
            self.assertEqual([one["host"] for one in box.network.allow("*.c.test", "d.test")["rules"]], ["b.test", "*.c.test", "d.test"])
            with box.fork() as fork:
                self.assertEqual(fork.network.get()["rules"], box.network.get()["rules"])
            self.assertEqual(box.network.set(told)["rules"], told["rules"])
            for text in ["https://a.test", "a.test:0", "a.test/udp", "", "a b"]:
                self.assertEqual(code_of(box.network.allow, text), "OPTIONS_INVALID", text)
            self.assertEqual(code_of(box.network.allow, "10.0.0.1"), "REQUEST_INVALID")
        self.assertEqual(code_of(self.box.network.get), "NETWORK_ABSENT")
        self.assertEqual(code_of(self.box.network.set, []), "NETWORK_ABSENT")

    def test_ports_are_reached_from_here(self):
        self.box.files.write("www/page", "hello", parents=True)
        with self.box.spawn(["python3", "-m", "http.server", "8123", "--bind", "127.0.0.1", "-d", "/workspace/www"]):
            until = time.monotonic() + 30
            while code_of(self.box.ports.fetch, 8123, "/") == "PORT_REFUSED" and time.monotonic() < until:
                time.sleep(0.1)
            answer = self.box.ports.fetch(8123, "/page")
            self.assertEqual((answer.status, answer.text), (200, "hello"))
            with self.box.ports.forward(8123) as forward:
                with urllib.request.urlopen(f"http://127.0.0.1:{forward.port}/page", timeout=20) as page:
                    self.assertEqual(page.read(), b"hello")
            with self.box.ports.connect(8123) as raw:
                raw.sendall(b"GET /page HTTP/1.0\r\n\r\n")
                raw.settimeout(20)
                self.assertIn(b"200", raw.recv(4096))
        self.assertEqual(code_of(self.box.ports.fetch, 9, "/"), "PORT_REFUSED")
        self.assertEqual(code_of(self.box.ports.fetch, 9, "/x\r\nA: b"), "OPTIONS_INVALID")

    def test_errors_have_codes_and_hints(self):
        self.assertEqual(code_of(Sandbox.connect, "nobody"), "SANDBOX_NOT_FOUND")
        self.assertEqual(code_of(Sandbox.connect, ".."), "OPTIONS_INVALID")
        with self.assertRaises(CaissonError) as caught:
            Sandbox.create(connection=connection(socket="/nowhere/api.sock"))
        self.assertEqual((caught.exception.code, "caisson up" in caught.exception.hint), ("DAEMON_UNREACHABLE", True))
        self.assertEqual(pickle.loads(pickle.dumps(caught.exception)).code, "DAEMON_UNREACHABLE")
        with self.assertRaises(CaissonError) as caught:
            Sandbox.create(name="Not A Name")
        self.assertEqual((caught.exception.code, caught.exception.status, "name" in caught.exception.message), ("REQUEST_INVALID", 400, True))
        self.assertEqual(code_of(Sandbox.create, from_snapshot="lay-0000000000000000"), "SNAPSHOT_NOT_FOUND")
        self.assertEqual(code_of(self.box.exec, ["true"], idempotency_key="a\r\nX: y"), "OPTIONS_INVALID")
        self.box.exec(["true"], idempotency_key="the-same")
        self.assertEqual(code_of(self.box.exec, ["false"], idempotency_key="the-same"), "IDEMPOTENCY_MISMATCH")

    def test_an_exception_that_ends_the_wait_kills_the_command(self):
        def stop(chunk):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            self.box.sh("echo begun; sleep 100", on_output=stop)
        last = max(self.box.execs(), key=lambda info: info["startedMs"])
        self.assertEqual(self.box.attach(last["id"]).wait().ending, {"kind": "signaled", "signal": 9})


@needs_daemon
class PythonSessions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox.create(limits={"wallMs": 600_000})
        cls.addClassCleanup(cls.box.close)

    def setUp(self):
        self.py = self.box.python()
        self.addCleanup(self.py.close)

    def test_variables_stay_and_the_last_value_is_shown(self):
        told = []
        first = self.py.run("x = 41\nprint('hi')", on_stdout=told.append)
        self.assertEqual((first.text, first.stdout, first.error, "".join(told)), (None, "hi\n", None, "hi\n"))
        self.assertEqual(self.py.run("x + 1").results, [{"type": "text", "text": "42", "truncated": False}])
        self.assertEqual(self.py.run("{'a': [1, None]}").results[0], {"type": "json", "value": {"a": [1, None]}})
        self.assertEqual(self.py.run("(1, 'a')").results[0], {"type": "json", "value": [1, "a"]})
        self.assertEqual(self.py.run("display(1, 2); 3;").results.__len__(), 2)
        self.assertEqual(self.py.run("import asyncio\nawait asyncio.sleep(0, 'woke')").text, "'woke'")
        html = self.py.run("class H:\n    def _repr_html_(self): return '<b>'\nH()").results[0]
        self.assertEqual(html, {"type": "html", "html": "<b>", "truncated": False})
        png = self.py.run("class P:\n    def _repr_png_(self): return b'\\x89PNG'\nP()").results[0]
        self.assertEqual((png["type"], png["mime"], png["data"]), ("image", "image/png", "iVBORw=="))
        big = self.py.run("'x' * 1_000_000")
        self.assertEqual((len(big.text), len(big.results[0]["text"]), big.results[0]["truncated"]), (65_536, 65_536, True))
        error = self.py.run("raise ValueError('x' * 100_000 + 'end')").error
        self.assertEqual((len(error.value), len(error.traceback), error.traceback[-4:]), (65_536, 65_536, "end\n"))

    def test_a_table_is_told_as_columns_and_bounded_rows(self):
        # The image host has no pandas; the driver asks for no more than this of one.
        made = self.py.run(
            "import sys, types\npandas = types.ModuleType('pandas')\n"
            "class DataFrame:\n    shape = (5000, 2)\n    columns = ['a', 'b']\n    index = range(1000)\n"
            "    iloc = property(lambda self: self)\n    def __getitem__(self, at): return self\n"
            "    def itertuples(self, **_): return [(1, float('nan'))] * 1000\n"
            "pandas.DataFrame = DataFrame\nsys.modules['pandas'] = pandas\nDataFrame()"
        )
        table = made.results[0]
        self.assertEqual((table["index"][-1], table["totalColumns"]), ("999", 2))
        self.assertEqual((table["columns"], len(table["rows"]), table["rows"][0], table["truncated"], table["totalRows"]), (["a", "b"], 1000, [1, None], True, 5000))

    def test_an_exception_ends_the_cell_and_not_the_session(self):
        error = self.py.run("def f():\n    return 1 / 0\nf()").error
        self.assertEqual((error.name, error.value), ("ZeroDivisionError", "division by zero"))
        self.assertIn("return 1 / 0", error.traceback)
        self.assertNotIn("<string>", error.traceback)
        self.assertEqual(self.py.run("this is no python").error.name, "SyntaxError")
        self.assertEqual(self.py.run("raise SystemExit(3)").error.name, "SystemExit")
        self.assertEqual(self.py.run("class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E").error.name, "E")
        self.assertEqual(self.py.run("1 + 1").text, "2")

    def test_prints_of_children_are_the_cells_and_forge_nothing(self):
        result = self.py.run("import subprocess\nsubprocess.run(['sh', '-c', 'echo out; echo err >&2; cat'])\nprint('\\x1e' + '0' * 32 + '.0002{}')")
        self.assertEqual((result.stdout, result.stderr, result.error), ("out\n\x1e" + "0" * 32 + ".0002{}\n", "err\n", None))
        long = self.py.run("print('z' * 3_000_000)")
        self.assertEqual((len(long.stdout), long.truncated), (1_048_576, True))
        whole = self.py.run("print('z' * 3_000_000)", max_chars=3_000_001)
        self.assertEqual((len(whole.stdout), whole.truncated), (3_000_001, False))
        forked = self.py.run("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\npid > 0")
        self.assertEqual((forked.text, self.py.run("7").text), ("True", "7"))

    def test_a_cell_that_takes_too_long_is_interrupted_and_the_session_goes_on(self):
        result = self.py.run("kept = 1\nimport time\ntime.sleep(60)", timeout_ms=300)
        self.assertEqual((result.error.name, result.timed_out, self.py.run("kept").text), ("KeyboardInterrupt", True, "1"))
        threading.Timer(0.3, self.py.interrupt).start()
        result = self.py.run("time.sleep(60)", timeout_ms=60_000)
        self.assertEqual((result.error.name, result.timed_out), ("KeyboardInterrupt", False))
        handled = self.py.run("try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('handled')", timeout_ms=300)
        self.assertEqual((handled.stdout, handled.error, handled.timed_out), ("handled\n", None, True))
        self.assertEqual(self.py.run("kept").text, "1")

    def test_an_interrupt_that_comes_before_the_cell_has_begun_ends_it_and_the_session_goes_on(self):
        self.py.run("import time\nkept = 1")
        for _ in range(20):
            result = self.py.run("time.sleep(60)", timeout_ms=1)
            self.assertEqual((result.error.name, result.timed_out, self.py.run("kept").text), ("KeyboardInterrupt", True, "1"))

    def test_a_character_is_told_whole_wherever_its_bytes_were_cut(self):
        told = []
        result = self.py.run("import sys\nprint('x' + 'é' * 300_000)\nsys.stdout.buffer.write(b'\\xc3')\nsys.stdout.flush()", on_stdout=told.append)
        self.assertEqual((result.error, result.stdout == "x" + "é" * 300_000 + "\n\ufffd", "".join(told) == result.stdout), (None, True, True))

    def test_a_cell_that_a_caller_leaves_is_interrupted_and_its_prints_are_not_the_next_ones(self):
        def leave(text):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            self.py.run("import time\nprint('old', flush=True)\ntry:\n    time.sleep(60)\nfinally:\n    print('late')", on_stdout=leave)
        self.assertEqual((self.py.run("print('new')").stdout), "new\n")

    def test_a_session_that_dies_is_never_a_success(self):
        with self.assertRaises(PythonEnded) as caught:
            self.py.run("import os\nprint('last')\nos._exit(0)")
        self.assertEqual((caught.exception.code, caught.exception.result.stdout, caught.exception.result.ok), ("PYTHON_ENDED", "last\n", False))
        self.assertEqual(code_of(self.py.run, "1"), "PYTHON_ENDED")
        self.py.restart()
        self.assertEqual(self.py.run("'os' in globals()").text, "False")

    def test_a_cell_that_ignores_its_interrupt_is_killed_and_said(self):
        with self.assertRaises(PythonEnded) as caught:
            self.py.run("import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass", timeout_ms=200)
        self.assertIn("did not end within 3 s when it was interrupted", str(caught.exception))
        self.assertEqual((caught.exception.result.timed_out, caught.exception.result.ok), (True, False))

    def test_a_session_that_writes_more_than_the_sandbox_keeps_is_ended_and_said(self):
        with Sandbox.create(limits={"outputBytes": 100_000}) as box, box.python() as py:
            with self.assertRaises(PythonEnded) as caught:
                py.run("print('x' * 200_000)")
            self.assertIn("limit", str(caught.exception))

    def test_cells_run_once_through_connections_that_break(self):
        with tempfile.TemporaryDirectory() as folder:
            proxy = CuttingProxy(f"{folder}/p.sock", seed=3, most=40_000, cuts=20)
            box = Sandbox.connect(self.box.id, connection=proxy.where())
            self.addCleanup(box.disconnect)
            with box.python() as py:
                py.run("count = 0")
                for number in range(1, 21):
                    result = py.run("count += 1\nprint('x' * 20_000)\ncount")
                    self.assertEqual((result.text, len(result.stdout)), (str(number), 20_001))
            self.assertGreater(proxy.cut, 5)
            proxy.close()


if __name__ == "__main__":
    unittest.main()
