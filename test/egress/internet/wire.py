"""The edge of the fake Internet: what Node cannot open. Started in the namespace `internet` as

    wire.py LOG PORT PROGRAM ARG...

It logs every packet that comes in over a link, opens transparent TCP listeners that PROGRAM inherits, and passes each
UDP datagram to PROGRAM with the address it was meant for. PROGRAM gets `TCP4 TCP6 CHANNEL`, descriptors, as its last
arguments; on CHANNEL both sides speak JSON, one value per line. It ends when PROGRAM does.
"""

import errno
import ipaddress
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import time

SO_RCVBUFFORCE = 33
IP_TRANSPARENT, IP_RECVORIGDSTADDR = 19, 20
IPV6_RECVORIGDSTADDR, IPV6_TRANSPARENT = 74, 75
SOL_PACKET, PACKET_STATISTICS, PACKET_OUTGOING = 263, 6, 4
ARPHRD_LOOPBACK = 772
ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
SEEN_BYTES = 256
BUFFER_BYTES = 64 << 20
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
# Neighbours and multicast listeners of the link itself: hop limit and types as RFC 4861 and RFC 2710 want them.
NEIGHBOUR_TYPES, LISTENER_TYPES = range(133, 138), (130, 131, 132, 143)
LINK_ONLY = (ipaddress.ip_network("ff02::/16"), ipaddress.ip_network("fe80::/10"))


def transparent(kind, family):
    """A socket to which tproxy may hand what was meant for any other address and port."""
    opened = socket.socket(family, kind)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    return opened


def any_address(family):
    return "::" if family == socket.AF_INET6 else "0.0.0.0"


def listener(family, port):
    opened = transparent(socket.SOCK_STREAM, family)
    opened.bind((any_address(family), port))
    opened.listen(4096)
    return opened


def sink(family, port):
    opened = transparent(socket.SOCK_DGRAM, family)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    opened.bind((any_address(family), port))
    opened.setblocking(False)
    return opened


def capture():
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    opened.setblocking(False)
    return opened


def meant_for(ancillary):
    """The address and port that the sender wrote on the datagram."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_RECVORIGDSTADDR:
            return socket.inet_ntop(socket.AF_INET, data[4:8]), struct.unpack("!H", data[2:4])[0]
        if level == socket.IPPROTO_IPV6 and kind == IPV6_RECVORIGDSTADDR:
            return socket.inet_ntop(socket.AF_INET6, data[8:24]), struct.unpack("!H", data[2:4])[0]
    return "", 0


def reply(source, destination, payload):
    """Sends a datagram from an address that is nobody's. What cannot be sent is an answer that nobody gets."""
    address = ipaddress.ip_address(source[0])
    if address.is_multicast or source[0] == "255.255.255.255":
        return  # nobody in particular was asked
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    with transparent(socket.SOCK_DGRAM, family) as out:
        try:
            out.bind(source)
            out.sendto(payload, destination)
        except OSError:
            pass


def packet4(head):
    header = (head[0] & 15) * 4
    fragment = struct.unpack("!H", head[6:8])[0] & 0x1FFF
    return head[9], str(ipaddress.ip_address(head[12:16])), str(ipaddress.ip_address(head[16:20])), b"" if fragment else head[header:]


def packet6(head):
    """None for what only keeps the link alive."""
    protocol, hops, rest = head[6], head[7], head[40:]
    source, destination = ipaddress.ip_address(head[8:24]), ipaddress.ip_address(head[24:40])
    while protocol in (0, 43, 60) and len(rest) >= 8:
        protocol, rest = rest[0], rest[(rest[1] + 1) * 8:]
    on_link = any(destination in network for network in LINK_ONLY)
    kind = rest[0] if protocol == 58 and rest else None
    if on_link and ((hops == 255 and kind in NEIGHBOUR_TYPES) or (hops == 1 and kind in LISTENER_TYPES)):
        return None
    return protocol, str(source), str(destination), rest


def described(ethertype, head, size):
    """What the log says of a packet; None for noise of the link."""
    line = {"atMs": int(time.time() * 1000), "bytes": size}
    if ethertype == ETH_P_ARP:
        return None
    complete = len(head) >= (20 if ethertype == ETH_P_IP else 40)
    if ethertype not in (ETH_P_IP, ETH_P_IPV6) or not complete:
        return {**line, "protocol": f"ethertype 0x{ethertype:04x}", "source": "", "destination": ""}
    parsed = packet4(head) if ethertype == ETH_P_IP else packet6(head)
    if parsed is None:
        return None
    protocol, source, destination, rest = parsed
    line |= {"protocol": PROTOCOLS.get(protocol, f"ip {protocol}"), "source": source, "destination": destination}
    if protocol in (6, 17, 132, 136) and len(rest) >= 4:
        line["sourcePort"], line["destinationPort"] = struct.unpack("!HH", rest[:4])
    return line


class Edge:
    def __init__(self, log, port, program):
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.packets = capture()
        self.sinks = [sink(family, port) for family in (socket.AF_INET, socket.AF_INET6)]
        listeners = [listener(family, port) for family in (socket.AF_INET, socket.AF_INET6)]
        self.channel, other = socket.socketpair()
        self.read = b""
        descriptors = [opened.fileno() for opened in (*listeners, other)]
        self.program = subprocess.Popen([*program, *map(str, descriptors)], pass_fds=descriptors)
        for opened in (*listeners, other):
            opened.close()

    def write(self, line):
        os.write(self.log, json.dumps(line).encode() + b"\n")

    def take_packets(self):
        head = bytearray(SEEN_BYTES)
        while True:
            try:
                size, (_, ethertype, direction, hardware, _) = self.packets.recvfrom_into(head, SEEN_BYTES, socket.MSG_TRUNC)
            except BlockingIOError:
                return
            if direction == PACKET_OUTGOING or hardware == ARPHRD_LOOPBACK:
                continue
            line = described(ethertype, bytes(head[:min(size, SEEN_BYTES)]), size)
            if line is not None:
                self.write({"kind": "packet", "packet": line})

    def take_datagrams(self, opened):
        while True:
            try:
                payload, ancillary, _, source = opened.recvmsg(65_535, 256)
            except BlockingIOError:
                return
            destination, port = meant_for(ancillary)
            self.say({"source": source[0], "sourcePort": source[1], "destination": destination, "destinationPort": port, "hex": payload.hex()})

    def say(self, value):
        self.channel.sendall(json.dumps(value).encode() + b"\n")

    def obey(self):
        """Sends the answers of the program, and tells it when all that came in is in the log."""
        read = self.channel.recv(1 << 16)
        if read == b"":
            return False
        *lines, self.read = (self.read + read).split(b"\n")
        for line in map(json.loads, lines):
            if "flush" in line:
                self.flush(line["flush"])
            else:
                reply((line["source"], line["sourcePort"]), (line["destination"], line["destinationPort"]), bytes.fromhex(line["hex"]))
        return True

    def flush(self, number):
        self.take_packets()
        for opened in self.sinks:
            self.take_datagrams(opened)
        lost = struct.unpack("II", self.packets.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        if lost > 0:
            self.write({"kind": "lost", "packets": lost})
        self.say({"flushed": number})

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.packets, selectors.EVENT_READ, self.take_packets)
        selector.register(self.channel, selectors.EVENT_READ, self.obey)
        for opened in self.sinks:
            selector.register(opened, selectors.EVENT_READ, lambda opened=opened: self.take_datagrams(opened))
        while True:
            for key, _ in selector.select():
                try:
                    if key.data() is False:
                        return self.program.wait()
                except OSError as error:  # the program is gone, or a packet socket's interface is
                    if error.errno not in (errno.ENETDOWN, errno.ENETUNREACH):
                        return self.program.wait()


sys.exit(Edge(sys.argv[1], int(sys.argv[2]), sys.argv[3:]).run())
