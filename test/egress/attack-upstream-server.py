"""A server whose TLS is wrong in one way for each name that it is asked by: attack-upstream-server.py FOLDER

It listens on 443 and prints one line of JSON for each connection: the name, how the handshake went, what came after it.
FOLDER holds NAME.pem for each name of BAD, with its key and chain, and good.pem.
"""

import json
import socket
import ssl
import sys
import threading
import warnings

warnings.simplefilter("ignore", DeprecationWarning)
FOLDER = sys.argv[1]
WAIT_S = 5


def context(name, ciphers="DEFAULT:@SECLEVEL=0", most=None, least=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_ciphers(ciphers)
    made.load_cert_chain(f"{FOLDER}/{name}.pem")
    if most is not None:
        made.minimum_version = least or ssl.TLSVersion.TLSv1
        made.maximum_version = most
    return made


good = context("good")
asks = context("good")
asks.verify_mode = ssl.CERT_OPTIONAL
asks.load_verify_locations(f"{FOLDER}/ca.crt")
CONTEXTS = {
    "good": good,
    "asks": asks,
    "tls11": context("good", "ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_1),
    "anonymous": context("good", "aNULL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_2),
    "null": context("good", "eNULL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_2),
    **{name: context(name) for name in ("expired", "early", "client", "leaf", "constrained", "weak")},
}
listener = socket.create_server(("0.0.0.0", 443), backlog=64)


def hello_name(plain):
    """The first label of the name in a ClientHello, which is looked at and left where it is: a version is chosen before a name is told."""
    plain.settimeout(WAIT_S)
    seen = plain.recv(4096, socket.MSG_PEEK)
    return next((name for name in sorted(CONTEXTS, key=len, reverse=True) if f"{name}.upstream.test".encode() in seen), "good")


def serve(plain):
    said = {"name": "", "handshake": False, "got": "", "certificate": None}
    try:
        said["name"] = hello_name(plain)
        with CONTEXTS[said["name"]].wrap_socket(plain, server_side=True) as secure:
            said["handshake"], said["certificate"] = True, secure.getpeercert()
            secure.settimeout(WAIT_S)
            said["got"] = secure.recv(65_536).decode("latin1")
            if said["got"]:
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere")
    except (OSError, ValueError) as error:
        said["error"] = str(error)
    finally:
        plain.close()
        print(json.dumps(said), flush=True)


print(json.dumps({"name": "ready"}), flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
