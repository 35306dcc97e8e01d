"""What the tests share: a connection to the Caisson that the environment names, and a proxy that breaks connections."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import unittest

from caisson import Where, connection

NEEDS_DAEMON = "needs a Caisson: CAISSON_API_SOCKET names none"


def needs_daemon(test):
    return unittest.skipUnless(os.environ.get("CAISSON_API_SOCKET"), NEEDS_DAEMON)(test)


def pieces(data: bytes, random_: random.Random) -> list[bytes]:
    """The bytes cut anywhere."""
    cuts = sorted(random_.randrange(len(data) + 1) for _ in range(random_.randrange(12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)])]


class CuttingProxy:
    """A Unix socket before the API that cuts each connection after a random number of bytes from the API, or lets it be."""

    def __init__(self, path: str, *, seed: int, most: int, cuts: int, upstream: str | None = None) -> None:
        self.path = path
        self._upstream = upstream or os.environ["CAISSON_API_SOCKET"]
        self._random = random.Random(seed)
        self._most = most
        self.left = cuts
        self.cut = 0
        self._lock = threading.Lock()
        self._listen()

    def _listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def where(self) -> Where:
        return connection(socket=self.path, reconnect_ms=10_000)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                budget = self._random.randrange(self._most) if self.left > 0 else None
                self.left -= 1
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._upstream)
            threading.Thread(target=self._join, args=(near, far, budget), daemon=True).start()

    def _join(self, near: socket.socket, far: socket.socket, budget: int | None) -> None:
        back = threading.Thread(target=self._copy, args=(near, far, None), daemon=True)
        back.start()
        self._copy(far, near, budget)
        back.join()
        near.close()
        far.close()

    def _passed(self, source: socket.socket, sink: socket.socket) -> None:
        """Called after each piece that was passed on."""

    def _copy(self, source: socket.socket, sink: socket.socket, budget: int | None) -> None:
        try:
            while data := source.recv(65_536):
                if budget is not None and len(data) >= budget:
                    sink.sendall(data[:budget])
                    self.cut += 1
                    break
                budget = None if budget is None else budget - len(data)
                sink.sendall(data)
                self._passed(source, sink)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class SlowProxy(CuttingProxy):
    """One that passes on no more than so many bytes each second to the API."""

    def __init__(self, path: str, *, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        super().__init__(path, seed=0, most=1, cuts=0)

    def _passed(self, source: socket.socket, sink: socket.socket) -> None:
        if source.getsockname() == self.path:
            time.sleep(65_536 / self._bytes_per_s)


class AwayProxy(CuttingProxy):
    """One that can be away: it breaks every connection, and nothing listens at its path for so long."""

    def __init__(self, path: str) -> None:
        self._open: list[socket.socket] = []
        super().__init__(path, seed=0, most=1, cuts=0)

    def away(self, for_s: float) -> None:
        self.close()
        os.unlink(self.path)
        ends, self._open = self._open, []
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        threading.Timer(for_s, self._listen).start()

    def _join(self, near: socket.socket, far: socket.socket, budget: int | None) -> None:
        self._open += [near, far]
        super()._join(near, far, budget)
