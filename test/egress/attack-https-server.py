"""A server that says back what it is told, as debug pages, stores and chats do: attack-https-server.py CERTIFICATE KEY

It listens for TLS on 443 and prints one line of JSON with all that a connection has sent, when that is over.
"""

import base64
import hashlib
import json
import socket
import ssl
import sys
import threading
import time
import zlib

WAIT_S = 1.5
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
stored = {"authorization": ""}


def reply(body, extra=""):
    return f"HTTP/1.1 200 OK\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def frames(secure, read, compressed):
    """Says each frame of a WebSocket back (RFC 6455 §5.2), short ones."""
    while True:
        while len(read) < 2 or len(read) < 6 + (read[1] & 127):
            piece = secure.recv(4096)
            if not piece:
                return
            read += piece
        length = read[1] & 127
        mask, payload = read[2:6], read[6:6 + length]
        text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        read = read[6 + length:]
        if text == b"who":
            text = stored["authorization"].encode()
        opcode = 0x81
        if compressed:
            packer = zlib.compressobj(wbits=-15)
            text, opcode = (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4], 0xC1
        secure.sendall(bytes([opcode, len(text)]) + text)


def serve(plain):
    seen = b""
    try:
        with context.wrap_socket(plain, server_side=True) as secure:
            while b"\r\n\r\n" not in seen:
                piece = secure.recv(65_536)
                if not piece:
                    return
                seen += piece
            head, _, rest = seen.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin1").split("\r\n")
            path = first.split(" ")[1]
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            authorization = fields.get("authorization", "")
            token = authorization.split(" ")[-1]
            if path == "/raw":
                secure.settimeout(WAIT_S)
                try:
                    while piece := secure.recv(65_536):
                        seen += piece
                except TimeoutError:
                    pass
                secure.sendall(reply(b"ok"))
            elif path == "/keep":
                stored["authorization"] = token
                secure.sendall(reply(b"kept"))
            elif path == "/kept":
                secure.sendall(reply(stored["authorization"].encode()))
            elif path == "/page":
                body = f"you are {authorization}\n".encode()
                if "range" in fields:
                    begin, end = (int(each) for each in fields["range"].removeprefix("bytes=").split("-"))
                    secure.sendall(f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {begin}-{end}/{len(body)}\r\nContent-Length: {end + 1 - begin}\r\n\r\n".encode() + body[begin:end + 1])
                else:
                    secure.sendall(reply(body))
            elif path == "/escaped/json":
                secure.sendall(reply(json.dumps({"you": token}).replace("/", "\\/").encode()))
            elif path == "/escaped/url":
                secure.sendall(reply("".join(f"%{ord(each):02x}" if each in "+/=" else each for each in token).encode()))
            elif path == "/escaped/base64":
                secure.sendall(reply(base64.b64encode(f"x:{token}".encode())))
            elif path.startswith("/say/"):
                text = path.removeprefix("/say/").encode()
                secure.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text) + 1}\r\n\r\n".encode() + text)
                time.sleep(WAIT_S)
                secure.sendall(b"\n")
            elif path == "/socket":
                stored["authorization"] = token
                compressed = "permessage-deflate" in fields.get("sec-websocket-extensions", "")
                accept = base64.b64encode(hashlib.sha1((fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
                extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if compressed else ""
                secure.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{extension}\r\n".encode())
                frames(secure, rest, compressed)
            elif path == "/much":
                secure.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"x" * 0x8000 + b"\r\n" + b"0\r\n\r\n")
            else:
                secure.sendall(reply(b"?"))
    except (OSError, ValueError):
        pass
    finally:
        print(json.dumps(seen.decode("latin1")), flush=True)


listener = socket.create_server(("0.0.0.0", 443), backlog=64)
print(json.dumps("ready"), flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
