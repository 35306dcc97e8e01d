"""Tries to reach an address in every way a program can, and says what came back.

    contact.py '{"kind": "tcp", "address": "10.0.0.1", "port": 80, "hex": "00"}'...

One JSON value per contact on stdout: {"hex": …} of the answer, {"hex": ""} where none came, or {"error": NAME}.
"""

import errno
import json
import socket
import struct
import sys

WAIT_S = 2.0


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def tcp(address, port, payload, **_):
    with socket.create_connection((address, port), WAIT_S) as out:
        out.sendall(payload)
        return out.recv(65_535)


def udp(address, port, payload, **_):
    with socket.socket(family(address), socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        out.settimeout(WAIT_S)
        out.connect((address, port))
        out.send(payload)
        return out.recv(65_535)


def icmp(address, **_):
    """An echo request; answered by an echo reply."""
    is6 = family(address) == socket.AF_INET6
    head = struct.pack("!BBHHH", 128 if is6 else 8, 0, 0, 7, 1)
    body = head if is6 else head[:2] + struct.pack("!H", checksum(head)) + head[4:]
    with socket.socket(family(address), socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if is6 else socket.IPPROTO_ICMP) as out:
        out.settimeout(WAIT_S)
        out.connect((address, 0))
        out.send(body)
        return out.recv(65_535)[0 if is6 else 20:]


def raw(address, protocol, payload, **_):
    """Any protocol of IP, with the hop limit of neighbour discovery. Nothing answers."""
    with socket.socket(family(address), socket.SOCK_RAW, protocol) as out:
        if family(address) == socket.AF_INET6:
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        out.sendto(payload, (address, 0))
    return b""


def frame(address, protocol, payload, **_):
    """A frame that is no IP at all, to an interface (`address`)."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol)) as out:
        out.sendto(payload, (address, protocol, 0, 0, b"\xff" * 6))
    return b""


def name_of(error):
    return "TIMEOUT" if isinstance(error, TimeoutError) else errno.errorcode.get(error.errno or 0, type(error).__name__)


KINDS = {"tcp": tcp, "udp": udp, "icmp": icmp, "raw": raw, "frame": frame}
for text in sys.argv[1:]:
    contact = json.loads(text)
    payload = bytes.fromhex(contact.pop("hex", ""))
    try:
        print(json.dumps({"hex": KINDS[contact.pop("kind")](payload=payload, **contact).hex()}), flush=True)
    except OSError as error:
        print(json.dumps({"error": name_of(error)}), flush=True)
