"""Speaks TLS to a name in ways that a gate must read right. One line per try: NAME, a tab, what the server said, or `no …`.

    attack-tls.py HOST AUTHORITY_HOST

HOST is allowed with protocol tls at port 443 and port 8443; AUTHORITY_HOST is another name, which no rule allows.
"""

import socket
import ssl
import sys
import time

HOST, EVIL = sys.argv[1], sys.argv[2]
WAIT_S = 4


def context():
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def hello(name, alpn=()):
    """The bytes of a ClientHello for this server name; None: without one."""
    out, made = ssl.MemoryBIO(), context()
    if alpn:
        made.set_alpn_protocols(alpn)
    sealed = made.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        sealed.do_handshake()
    except ssl.SSLWantReadError:
        return out.read()


def renamed(name):
    """A hello whose server name is these bytes, of the length of a name that ssl accepts."""
    stand_in = b"q" * len(name)
    return hello(stand_in.decode()).replace(stand_in, name)


def records(message, size):
    """The same handshake message in records of `size` bytes."""
    body = message[5:]
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return [b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces]


def sent(*pieces, pause=0.0, port=443, host=None):
    """What comes back on a new connection for these bytes: the type of the first record."""
    with socket.create_connection((host or HOST, port), WAIT_S) as out:
        out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            out.sendall(piece)
            if pause:
                time.sleep(pause)
        said = out.recv(4096)
        return {b"": "closed", b"\x16": "handshake", b"\x15": "alert"}.get(said[:1], repr(said[:32]))


def by_connect(named, message, first=b""):
    with socket.create_connection(("198.18.0.1", 3128), WAIT_S) as out:
        out.sendall(f"CONNECT {named}:443 HTTP/1.1\r\nHost: {named}:443\r\n\r\n".encode() + first)
        said = out.recv(4096)
        if b" 200 " not in said[:40]:
            return said[:40].decode("latin1")
        out.sendall(message)
        said = out.recv(4096)
        return {b"": "closed", b"\x16": "handshake", b"\x15": "alert"}.get(said[:1], repr(said[:32]))


def by_socks(named, message):
    with socket.create_connection(("198.18.0.1", 1080), WAIT_S) as out:
        out.sendall(b"\5\1\0" + b"\5\1\0\3" + bytes([len(named)]) + named.encode() + (443).to_bytes(2, "big"))
        said = b""
        while len(said) < 12:
            piece = out.recv(12 - len(said))
            if not piece:
                return "closed"
            said += piece
        if said[3] != 0:
            return f"socks {said[3]}"
        out.sendall(message)
        said = out.recv(4096)
        return {b"": "closed", b"\x16": "handshake", b"\x15": "alert"}.get(said[:1], repr(said[:32]))


def fetched(name):
    with socket.create_connection((HOST, 443), WAIT_S) as out, context().wrap_socket(out, server_hostname=name) as sealed:
        sealed.sendall(f"GET /whole HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return sealed.recv(64).split(b"\r\n")[0].decode()


good = hello(HOST)
padded = hello(HOST, ["h2", *("x" * 250 for _ in range(60))])
TRIES = {
    # what must pass
    "pass whole": lambda: fetched(HOST),
    "pass case": lambda: sent(renamed(HOST.upper().encode())),
    "pass records of 16 bytes": lambda: sent(b"".join(records(good, 16))),
    "records of 1 byte": lambda: sent(b"".join(records(good, 1))),
    "pass one byte at a time": lambda: sent(*[good[at:at + 1] for at in range(len(good))], pause=0.001),
    "pass a hello of 15 KiB": lambda: sent(padded),
    "pass by connect": lambda: by_connect(HOST, good),
    "pass by connect, case and dot": lambda: by_connect(HOST.upper() + ".", good),
    "pass by connect, hello with the request": lambda: by_connect(HOST, b"", good),
    "pass by socks": lambda: by_socks(HOST, good),
    # what must not
    "fronting": lambda: sent(hello(EVIL)),
    "fronting by connect": lambda: by_connect(HOST, hello(EVIL)),
    "fronting by socks": lambda: by_socks(HOST, hello(EVIL)),
    "fronting in records of 16 bytes": lambda: sent(b"".join(records(hello(EVIL), 16))),
    "fronting below": lambda: sent(hello("a." + HOST)),
    "fronting above": lambda: sent(hello(HOST.split(".", 1)[1])),
    "fronting by NUL": lambda: sent(renamed(HOST.encode() + b"\0." + EVIL.encode())),
    "fronting by a port": lambda: sent(renamed(HOST.encode() + b":443")),
    "fronting by @": lambda: sent(renamed(EVIL.encode() + b"@" + HOST.encode())),
    "fronting by a comma": lambda: sent(renamed(HOST.encode() + b"," + EVIL.encode())),
    "fronting by two names": lambda: sent(twice(EVIL)),
    "two hellos, the first good in one record": lambda: sent(joined(good, hello(EVIL))),
    "no name": lambda: sent(hello(None)),
    "an address for a name": lambda: sent(renamed(b"93.184.216.34")),
    "http on the tls port": lambda: sent(b"GET / HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\n\r\n"),
    "ssh on the tls port": lambda: sent(b"SSH-2.0-x\r\n"),
    "sslv2": lambda: sent(b"\x80\x2e\x01\0\2\0\x15\0\0\0\x10" + b"x" * 60),
    "an alert first": lambda: sent(b"\x15\3\1\0\2\1\0" + good),
    "an empty record first": lambda: sent(b"\x16\3\1\0\0" + good),
    "application data first": lambda: sent(b"\x17\3\3\0\5hello" + good),
    "a hello of 1 MiB": lambda: sent(b"".join(records(b"\x16\3\1\0\0" + b"\1\x10\0\0" + b"x" * (1 << 20), 16_384))),
    "a hello that is none": lambda: sent(b"\x16\3\1\x40\0" + b"\1\0\x3f\xfc" + b"\xff" * 16_380),
    "another port": lambda: sent(good, port=8444),
    "another name by connect": lambda: by_connect(EVIL, good),
    "another name by socks": lambda: by_socks(EVIL, good),
}


def twice(name):
    """A hello with a second entry in its list of server names."""
    first, second = HOST.encode(), name.encode()
    entry = lambda each: b"\0" + len(each).to_bytes(2, "big") + each
    stand_in = b"q" * (len(first) + 3 + len(second))
    message = hello(stand_in.decode())
    at = message.index(stand_in) - 3
    return message[:at] + entry(first) + entry(second) + message[at + 3 + len(stand_in):]


def joined(one, other):
    """Two handshake messages in one record."""
    body = one[5:] + other[5:]
    return b"\x16\3\1" + len(body).to_bytes(2, "big") + body


for name, function in TRIES.items():
    try:
        said = function()
    except (OSError, LookupError, UnicodeError, ValueError) as error:
        said = f"no {type(error).__name__} {error}"
    print(f"{name}\t{said}".replace("\n", " "), flush=True)
