"""A server of the bench: far.py echo|stream|dns PORT [ADDRESS]. `stream` reads how many bytes are wanted, in 8 bytes, and sends them."""
import os, selectors, socket, sys, threading

KIND, PORT = sys.argv[1], int(sys.argv[2])
PIECE = 1 << 20



def listening():
    listener = socket.create_server(('0.0.0.0', PORT), backlog=4096)
    print('ready', flush=True)
    return listener


def dns():
    """Every name has one address, of IPv4 (RFC 1035 §4.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(('0.0.0.0', PORT))
        print('ready', flush=True)
        while True:
            query, client = server.recvfrom(4096)
            end = query.index(0, 12) + 5
            is_a = query[end - 4:end - 2] == b'\0\1'
            head = query[:2] + b'\x85\x80\0\1' + (b'\0\1' if is_a else b'\0\0') + b'\0\0\0\0'
            answer = b'\xc0\x0c\0\1\0\1' + (30).to_bytes(4, 'big') + b'\0\4' + socket.inet_aton(sys.argv[3])
            server.sendto(head + query[12:end] + (answer if is_a else b''), client)


def echo():
    """One thread for all: the fewer programs take turns, the steadier is what is measured."""
    ready, listener = selectors.DefaultSelector(), listening()
    listener.setblocking(False)
    ready.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(connection, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(65536)
            except ConnectionError:
                data = b''
            if data:
                key.fileobj.sendall(data)
            else:
                ready.unregister(key.fileobj)
                key.fileobj.close()


def send(connection, source):
    left = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), 'big')
    try:
        while left > 0:
            left -= os.sendfile(connection.fileno(), source, 0, min(left, PIECE))
    except ConnectionError:
        pass
    connection.close()


def stream():
    source = os.memfd_create('bench')
    os.write(source, os.urandom(PIECE))
    listener = listening()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=send, args=(connection, source), daemon=True).start()


{'echo': echo, 'stream': stream, 'dns': dns}[KIND]()
