"""The client of the bench, the same through the gate and without it: near.py WHAT HOST PORT COUNT. Prints JSON."""
import json, socket, sys, threading, time

WHAT, HOST, PORT, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
GIGABYTE = 1_000_000_000
HOLD_S = 10
# Between connections: by then the end of the last one is on record, and the next is measured on its own.
PAUSE_S = 0.005


def once(host):
    """A connection that is of use: named, opened, and one byte there and back. In milliseconds."""
    time.sleep(PAUSE_S)
    start = time.perf_counter()
    with socket.create_connection((host, PORT), timeout=30) as connection:
        connection.sendall(b'x')
        if connection.recv(1) != b'x':
            raise EOFError('no echo')
        return (time.perf_counter() - start) * 1000


def latency():
    for _ in range(20):
        once(HOST)
    by_name = [once(HOST) for _ in range(COUNT)]
    address = socket.gethostbyname(HOST)
    return {'byName': by_name, 'byAddress': [once(address) for _ in range(COUNT)]}


def read(size):
    buffer, got = bytearray(1 << 20), 0
    with socket.create_connection((HOST, PORT), timeout=60) as connection:
        connection.sendall(size.to_bytes(8, 'big'))
        while count := connection.recv_into(buffer):
            got += count
    if got != size:
        raise EOFError(f'{got} of {size} bytes')


def stream():
    """Megabytes per second of one connection, over its whole life."""
    rates = []
    for _ in range(COUNT):
        start = time.perf_counter()
        read(GIGABYTE)
        rates.append(GIGABYTE / 1_000_000 / (time.perf_counter() - start))
    return rates


def saturate():
    """COUNT connections that take all they get, until somebody ends it."""
    threads = [threading.Thread(target=lambda: [read(GIGABYTE) for _ in range(1_000)], daemon=True) for _ in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def hold():
    """How many of COUNT connections that were opened at once still echo after a while of silence."""
    connections = [socket.create_connection((HOST, PORT), timeout=30) for _ in range(COUNT)]

    def holding(connection):
        try:
            connection.sendall(b'x')
            return connection.recv(1) == b'x'
        except OSError:
            return False

    first = sum([holding(connection) for connection in connections])
    time.sleep(HOLD_S)
    return min(first, sum([holding(connection) for connection in connections]))


print(json.dumps({'latency': latency, 'stream': stream, 'saturate': saturate, 'hold': hold}[WHAT]()))
