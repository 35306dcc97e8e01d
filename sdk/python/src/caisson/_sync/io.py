"""What differs between asyncio and blocking code: sockets, time and cancellation. Its twin is _aio/io.py."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from .._where import Where
from ..errors import CaissonError, lost, unreachable

__all__ = ["CANCELLED", "Beside", "Gate", "Link", "clock_s", "closing", "connect", "offload", "pause", "serve", "stream_of"]

#: What a caller ends a wait with.
CANCELLED: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit, GeneratorExit)
Gate = threading.Lock
Stream = socket.socket

clock_s = time.monotonic
pause = time.sleep
_CHUNK = 65_536


class Link:
    """One connection. Every failure of it is CONNECTION_LOST."""

    def __init__(self, name: str, sock: socket.socket) -> None:
        self._name = name
        self._sock = sock

    def send(self, data: bytes, timeout_s: float) -> None:
        try:
            self._sock.settimeout(timeout_s)
            self._sock.sendall(data)
        except (OSError, ValueError) as error:
            raise lost(self._name, error) from error

    def receive(self, timeout_s: float) -> bytes:
        """Bytes; none at the end. Raises TimeoutError when none came in time; nothing is lost then."""
        try:
            self._sock.settimeout(max(0.001, timeout_s))
            return self._sock.recv(_CHUNK)
        except TimeoutError:
            raise
        except (OSError, ValueError) as error:
            raise lost(self._name, error) from error

    def usable(self) -> bool:
        """Whether it can take another request: the other side neither closed it nor said anything unasked."""
        if self._sock.fileno() < 0 or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0):
            return False
        poller = select.poll()
        poller.register(self._sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poller.poll(0)

    def abort(self) -> None:
        self._sock.close()

    def wake(self) -> None:
        """Ends what waits for it in another thread; the connection is still that thread's to close."""
        try:
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # beneath TLS, whose state is the other thread's
        except OSError:
            pass

    def give(self) -> socket.socket:
        """The connection itself; this object is no longer of use."""
        self._sock.settimeout(None)
        return self._sock

    def receive_head(self, timeout_s: float) -> bytes:
        """The bytes up to the first empty line, and none after it: what follows is read from the connection itself."""
        head = bytearray()
        self._sock.settimeout(timeout_s)
        try:
            while not head.endswith(b"\r\n\r\n"):
                byte = self._sock.recv(1)
                if not byte or len(head) > _CHUNK:
                    raise lost(self._name, "it ended before the answer did")
                head += byte
        except (OSError, ValueError) as error:
            raise lost(self._name, error) from error
        return bytes(head)


def connect(where: Where, timeout_s: float) -> Link:
    """Raises CaissonError DAEMON_UNREACHABLE."""
    sock: socket.socket | None = None
    try:
        if where.socket_path is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout_s)
            sock.connect(where.socket_path)
        else:
            sock = socket.create_connection((where.host, where.port), timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if where.secure:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=where.host)
    except (OSError, ValueError) as error:
        if sock is not None:
            sock.close()
        raise unreachable(where.name) from error
    return Link(where.name, sock)


def stream_of(stream: socket.socket, name: str) -> Link:
    return Link(name, stream)


class Beside:
    """Something that goes on beside its caller, in a thread, until it is done or `end` ends it."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self.error: BaseException | None = None
        """What it failed with; None while it goes on, and when it went well."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:
            self.error = error

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def end(self, cut: Callable[[], None]) -> None:
        """`cut` makes what it waits for fail."""
        cut()
        self._thread.join()


def offload(act: Callable[..., Any], *args: Any) -> Any:
    return act(*args)


def serve(local_port: int, dial: Callable[[], socket.socket]) -> "Forward":
    """Listens on 127.0.0.1; each connection is joined with one that `dial` makes."""
    return Forward(local_port, dial)


class Forward:
    """A local port that is one of a sandbox. `with` closes it."""

    def __init__(self, local_port: int, dial: Callable[[], socket.socket]) -> None:
        self._dial = dial
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", local_port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._joined, args=(near,), daemon=True).start()

    def _joined(self, near: socket.socket) -> None:
        far: socket.socket | None = None
        try:
            far = self._dial()
            with self._lock:
                if self._closed:
                    return
                self._open |= {near, far}
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            _copy(near, far)
            back.join()
        except (OSError, CaissonError):
            pass  # there is nobody to tell but the two ends, which see it
        finally:
            with self._lock:
                self._open -= {near, far} if far is not None else {near}
            near.close()
            if far is not None:
                far.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            ends = list(self._open)
        for end in [self._listener, *ends]:
            try:
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            except OSError:
                pass
        self._listener.close()

    def __enter__(self) -> "Forward":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
