"""Asks for a page of each name, and says what came: NAME, a tab, and the first line or `no …`.

    attack-names.py HOST:PORT/PATH...
"""

import socket
import ssl
import sys


def page(place):
    address, _, path = place.partition("/")
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), 8) as out:
        out.settimeout(8)
        if port == "443":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            out = context.wrap_socket(out, server_hostname=host)
        out.sendall(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        lines = out.recv(4096).decode("latin1").split("\r\n")
        return " ".join([lines[0], *(line for line in lines if line.lower().startswith("location:"))]) or "no answer"


for place in sys.argv[1:]:
    try:
        said = page(place)
    except (OSError, LookupError) as error:
        said = f"no {type(error).__name__} {error}"
    print(f"{place}\t{said}".replace("\n", " "), flush=True)
