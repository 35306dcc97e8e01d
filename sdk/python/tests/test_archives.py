"""Archives of a sandbox: nothing that is in one makes anything outside the folder that it is unpacked to."""

from __future__ import annotations

import errno
import io
import os
import random
import resource
import shutil
import tarfile
import tempfile
import unittest

from caisson import CaissonError
from caisson._tarball import pack, unpack


def archive(*members: tuple[str, bytes, str]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, more in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.mode = 0o755
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname = more
            member.size = len(more) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(more.encode()))
    out.seek(0)
    return out


FILE, FOLDER, LINK, HARD, FIFO, DEVICE = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE


class Archives(unittest.TestCase):
    def setUp(self):
        self.above = tempfile.TemporaryDirectory()
        self.addCleanup(self.above.cleanup)
        self.inside = os.path.join(self.above.name, "inside")
        with open(os.path.join(self.above.name, "secret"), "w") as out:
            out.write("secret")

    def test_a_disk_that_refuses_is_not_told_as_an_archive_that_is_refused(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with self.assertRaises(OSError) as caught:
                unpack(archive(("large", FILE, "x" * 5000)), self.inside, 1 << 20, 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assertEqual(caught.exception.errno, errno.EFBIG)

    def outside(self):
        with open(os.path.join(self.above.name, "secret")) as kept:
            return sorted(os.listdir(self.above.name)), kept.read(), os.stat(os.path.join(self.above.name, "secret")).st_nlink

    def leads_out(self):
        """Whether anything below the folder resolves to a place outside it."""
        root = os.path.realpath(self.inside)
        names = [os.path.join(at, name) for at, folders, files in os.walk(root) for name in folders + files]
        return [name for name in names if not (self.resolved(name, root) + "/").startswith(root + "/")]

    def resolved(self, name, root):
        try:
            return os.path.realpath(name, strict=True)
        except OSError:
            return root  # it leads nowhere

    def refused(self, *members):
        with self.assertRaises(CaissonError, msg=members) as caught:
            unpack(archive(*members), self.inside, 10_000, 100)
        self.assertEqual(caught.exception.code, "ARCHIVE_REFUSED")
        self.assertEqual(self.outside(), (["inside", "secret"], "secret", 1))
        self.assertEqual(self.leads_out(), [])
        shutil.rmtree(self.inside)

    def test_attacks_are_refused(self):
        self.refused(("../x", FILE, "x"))
        self.refused(("/x", FILE, "x"))
        self.refused(("a/../../x", FILE, "x"))
        self.refused(("l", LINK, ".."), ("l/x", FILE, "x"))
        self.refused(("l", LINK, "/tmp"))
        self.refused(("l", LINK, "../secret"))
        self.refused(("d", FOLDER, ""), ("l", LINK, "d"), ("l/x", FILE, "x"))
        self.refused(("l", LINK, "secret"), ("l", FILE, "x"))
        self.refused(("h", HARD, "../secret"))
        self.refused(("p", FIFO, ""))
        self.refused(("c", DEVICE, ""))
        self.refused(("big", FILE, "x" * 10_001))
        self.refused(*[(str(number), FILE, "") for number in range(101)])
        self.refused(("e/f/g", LINK, "../.."), ("y", LINK, "e/f/g/../secret"))
        self.refused(("/".join("d" * 129), FOLDER, ""))
        self.refused(("f", FILE, "x"), ("f/x", FILE, "x"))

    def test_random_archives_never_lead_out(self):
        chance = random.Random(7)
        parts = ["a", "b", "..", ".", "", "secret"]
        for _ in range(1_500):
            members = []
            for _ in range(chance.randrange(1, 7)):
                name = "/".join(chance.choice(parts[:2] * 4 + parts) for _ in range(chance.randrange(1, 4)))
                members.append((name, chance.choice([FILE, FOLDER, LINK, LINK, HARD]), "/".join(chance.choice(parts) for _ in range(chance.randrange(1, 5)))))
            try:
                unpack(archive(*members), self.inside, 10_000, 100)
            except CaissonError as error:
                self.assertEqual(error.code, "ARCHIVE_REFUSED")
            self.assertEqual(self.outside(), (["inside", "secret"], "secret", 1), members)
            self.assertEqual(self.leads_out(), [], members)
            shutil.rmtree(self.inside)

    def test_noise_is_refused(self):
        chance = random.Random(8)
        whole = archive(("a/b", FILE, "x" * 600), ("l", LINK, "a/b")).getvalue()
        for _ in range(500):
            data = bytearray(whole[: chance.randrange(len(whole))])
            for _ in range(chance.randrange(20)):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                unpack(io.BytesIO(bytes(data)), self.inside, 10_000, 100)
            except CaissonError as error:
                self.assertEqual(error.code, "ARCHIVE_REFUSED")
            shutil.rmtree(self.inside)

    def test_what_is_packed_is_unpacked_and_nothing_is_written_over(self):
        source = os.path.join(self.above.name, "secret-source")
        os.makedirs(os.path.join(source, "a/é"))
        with open(os.path.join(source, "a/é/f"), "w") as out:
            out.write("text")
        os.chmod(os.path.join(source, "a/é/f"), 0o750)
        os.link(os.path.join(source, "a/é/f"), os.path.join(source, "second"))
        os.symlink("a/é/f", os.path.join(source, "link"))
        os.mkfifo(os.path.join(source, "fifo"))
        made = io.BytesIO()
        pack(source, made)
        self.assertEqual(unpack(made, self.inside, 10_000, 100), {"files": 3, "bytes": 8})
        self.assertEqual(os.readlink(os.path.join(self.inside, "link")), "a/é/f")
        self.assertEqual(os.stat(os.path.join(self.inside, "a/é/f")).st_mode & 0o777, 0o750)
        self.assertFalse(os.path.exists(os.path.join(self.inside, "fifo")))
        made.seek(0)
        with self.assertRaises(CaissonError) as caught:
            unpack(made, self.inside, 10_000, 100)
        self.assertEqual(caught.exception.code, "OPTIONS_INVALID")


if __name__ == "__main__":
    unittest.main()
