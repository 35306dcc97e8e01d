"""Sends, as root in the network namespace of a sandbox, what the kernel of a sandbox that is broken into could send.

    attack-link.py OWN OTHER COUNT
"""

import socket
import struct
import sys

OWN, OTHER, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
GATE, PUBLIC = "198.18.0.1", "93.184.216.34"
NEAR, FAR = b"\x02\xca\x15\x50\x00\x02", b"\x02\xca\x15\x50\x00\x01"
four, six = (lambda text: socket.inet_pton(socket.AF_INET, text)), (lambda text: socket.inet_pton(socket.AF_INET6, text))


def plan6(address):
    return "fd00:ca15:50::" + four(address)[:2].hex() + ":" + four(address)[2:].hex()


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data + b"\0" * (len(data) % 2))) if len(data) % 2 == 0 else 0
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ip4(source, to, protocol, payload, options=b"", fragment=0):
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 7, fragment, 64, protocol, 0) + four(source) + four(to) + options
    return b"\x08\x00", head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(source, to, protocol, payload):
    return b"\x86\xdd", struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + six(source) + six(to) + payload


def syn(source, to, port, flags=2):
    head = struct.pack("!HHIIBBHHH", 40_000, port, 1, 0, 0x50, flags, 1024, 0, 0)
    return head[:16] + struct.pack("!H", checksum(four(source) + four(to) + struct.pack("!BBH", 0, 6, len(head)) + head)) + head[18:]


def udp(port, payload=b"hello!"):
    return struct.pack("!HHHH", 40_000, port, 8 + len(payload), 0) + payload


def arp(code, sender, target):
    return b"\x08\x06", struct.pack("!HHBBH", 1, 0x0800, 6, 4, code) + NEAR + four(sender) + FAR + four(target)


QUERY = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\7example\4test\0" + struct.pack("!HH", 1, 1)
frames = []
for source in (OTHER, GATE, "127.0.0.1", PUBLIC, "255.255.255.255", "0.0.0.0", "224.0.0.1", "198.18.1.0"):
    for to, port in ((GATE, 3128), (GATE, 1080), (GATE, 53), (PUBLIC, 80), (OTHER, 80), ("198.18.1.0", 80), ("127.0.0.1", 15001)):
        frames += [ip4(source, to, 6, syn(source, to, port)), ip4(source, to, 6, syn(source, to, port, 0x10)), ip4(source, to, 17, udp(port))]
    frames.append(ip4(source, GATE, 17, udp(53, QUERY)))
for to in ("127.0.0.1", OTHER, PUBLIC, "169.254.169.254", "224.0.0.1", "255.255.255.255"):
    frames += [ip4(OWN, to, 6, syn(OWN, to, 15001)), ip4(OWN, to, 17, udp(15001)), ip4(OWN, to, 253, b"hello!"), ip4(OWN, to, 1, b"\x08\0\xf7\xfd\0\0\0\2")]
for options in (b"\x83\x07\x04" + four(PUBLIC) + b"\0", b"\x89\x07\x04" + four(OTHER) + b"\0"):
    frames.append(ip4(OWN, GATE, 6, syn(OWN, GATE, 3128), options=options))
    frames.append(ip4(OWN, PUBLIC, 17, udp(4444), options=options))
for fragment in (0x2000, 0x0001, 0x2001, 0x1FFF):
    frames += [ip4(OWN, GATE, 6, syn(OWN, GATE, 3128), fragment=fragment), ip4(OWN, PUBLIC, 17, udp(4444), fragment=fragment), ip4(OWN, "198.18.1.0", 6, syn(OWN, "198.18.1.0", 80), fragment=fragment)]
for protocol in (4, 41, 47, 50, 89, 132):
    inner = ip4(OTHER, PUBLIC, 17, udp(4444))[1]
    frames += [ip4(OWN, GATE, protocol, inner), ip4(OWN, PUBLIC, protocol, inner)]
for source in (plan6(OWN), plan6(OTHER), "::1", "::ffff:198.18.0.1", "fe80::1", "2600:1f18::34"):
    for to in ("fe80::1", plan6(OTHER), "::1", "::ffff:127.0.0.1", "2600:1f18::34", "ff02::1", "ff02::2"):
        frames += [ip6(source, to, 6, syn(OWN, GATE, 15001)), ip6(source, to, 17, udp(15001)), ip6(source, to, 58, b"\x88\0\0\0\x60\0\0\0" + six("fe80::1") + b"\2\1" + NEAR), ip6(source, to, 58, b"\x86\0\0\0\x40\0\xff\xff" + b"\0" * 8)]
frames += [arp(code, sender, target) for code in (1, 2) for sender in (GATE, OTHER, OWN) for target in (GATE, OTHER, "0.0.0.0")]
inner = ip4(OWN, PUBLIC, 17, udp(4444))[1]
frames += [(b"\x81\x00", b"\0\1\x08\0" + inner), (b"\x88\xa8", b"\0\1\x81\0\0\1\x08\0" + inner), (b"\x88\xb5", b"hello" * 10), (b"\0\x26", b"\x42\x42\3" + b"\0" * 35), (b"\x88\x47", b"\0\0\x11\x40" + inner), (b"\x88\x64", b"\x11\0\0\1" + inner), (b"\x88\xcc", b"\2\7\4" + NEAR)]

with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
    out.bind(("eth0", 0))
    for _ in range(COUNT):
        for kind, payload in frames:
            for to in (FAR, b"\xff" * 6):
                out.send(to + NEAR + kind + payload)
print(len(frames) * 2 * COUNT)
