"""What the tests do from inside a sandbox, with nothing but the standard library: clients.py WHAT HOST PORT."""
import base64, hashlib, json, os, random, socket, sys, time

WHAT, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


def connect():
    connection = socket.create_connection((HOST, PORT), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_all(connection):
    return b''.join(iter(lambda: connection.recv(65536), b''))


def read_exactly(connection, count):
    data = b''
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if piece == b'':
            raise EOFError(f'ended after {len(data)} of {count} bytes')
        data += piece
    return data


def download():
    digest, count = hashlib.sha256(), 0
    with connect() as connection:
        for piece in iter(lambda: connection.recv(65536), b''):
            digest.update(piece)
            count += len(piece)
    return {'sha256': digest.hexdigest(), 'bytes': count}


def upload():
    """Ends its half and reads on: what the server says then is its digest of all."""
    digest, count, source = hashlib.sha256(), 0, random.Random(5)
    with connect() as connection:
        for _ in range(100):
            piece = source.randbytes(1_000_000)
            digest.update(piece)
            count += len(piece)
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        said = read_all(connection).decode()
    return {'sent': f'{digest.hexdigest()} {count}\n', 'said': said}


def half_close():
    with connect() as connection:
        connection.sendall(b'all that I say')
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection).decode()


def server_first():
    """The server ends its half; what is sent after that still arrives."""
    with connect() as connection:
        said = read_all(connection).decode()
        time.sleep(0.2)
        connection.sendall(b'after your end')
        connection.shutdown(socket.SHUT_WR)
    return said


def idle():
    with connect() as connection:
        connection.sendall(b'before')
        before = read_exactly(connection, 6)
        time.sleep(5)
        connection.sendall(b'after')
        return [before.decode(), read_exactly(connection, 5).decode()]


def many():
    """All are open before the first of them says anything, and each gets back its own."""
    connections = [connect() for _ in range(200)]
    for index, connection in enumerate(connections):
        connection.sendall(f'{index:06}'.encode())
    answers = [read_exactly(connection, 6).decode() for connection in connections]
    for connection in connections:
        connection.close()
    return answers


def web_socket():
    """RFC 6455: the handshake, one masked text frame, and one whose length takes two bytes."""
    with connect() as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall((f'GET /socket HTTP/1.1\r\nHost: {HOST}:{PORT}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                            f'Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n').encode())
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            head += read_exactly(connection, 1)
        accept = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest())
        got = []
        for text in (b'hello', b'x' * 50_000):
            mask = os.urandom(4)
            length = bytes([0x80 | len(text)]) if len(text) < 126 else b'\xfe' + len(text).to_bytes(2, 'big')
            connection.sendall(b'\x81' + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(text)))
            first, size = read_exactly(connection, 2)
            size = int.from_bytes(read_exactly(connection, 2), 'big') if size == 126 else size
            got.append([first, read_exactly(connection, size) == text])
    return {'status': head.split(b'\r\n')[0].decode(), 'accepted': accept in head, 'frames': got}


print(json.dumps({'download': download, 'upload': upload, 'half-close': half_close, 'server-first': server_first, 'idle': idle, 'many': many,
                  'web-socket': web_socket}[WHAT]()))
