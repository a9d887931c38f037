"""Serves one client in a way that few programs do, and ends with the client's exit status.

    sockets.py [PLACE] WAY CLIENT ARGS      where {url} in ARGS is the server

PLACE is where it listens: a port, --unix a path, --abstract a name; then {socket} in ARGS is that.

plain    reads a byte at a time

peek     looks at each request with MSG_PEEK, twice, before it reads it
splice   moves bodies between socket and pipe, never through its memory
pass     answers the first request of a connection and hands the connection to a process that was there before it
fork     answers the first request of a connection and leaves the rest to a child that it makes then
"""

import os
import re
import socket
import subprocess
import sys
import tempfile


def head(connection, peek=False):
    """The next request's head, empty at the end of the connection."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        if peek and not (connection.recv(4096, socket.MSG_PEEK) and connection.recv(10, socket.MSG_PEEK)):
            return b""
        byte = connection.recv(1 if not peek else 4096)
        if not byte:
            return b""
        seen += byte
    return seen


def answer(connection, body=b"hello\n"):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def peek(connection):
    while head(connection, peek=True):
        answer(connection)


def splice(connection):
    read_end, write_end = os.pipe()
    while request := head(connection):
        length = int(re.search(rb"(?i)content-length: (\d+)", request)[1])
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        while length:
            moved = os.splice(connection.fileno(), write_end, length)
            length -= moved
            while moved:
                moved -= os.splice(read_end, connection.fileno(), moved)


def hand_over(connection):
    head(connection)
    answer(connection)
    socket.send_fds(to_worker, [b"take"], [connection.fileno()])
    connection.close()


def serve(connection):
    while head(connection):
        answer(connection)


def fork(connection):
    head(connection)
    answer(connection)
    child = os.fork()
    if child == 0:
        serve(connection)
        os._exit(0)
    connection.close()
    os.waitpid(child, 0)


def worker(channel):
    _, descriptors, _, _ = socket.recv_fds(channel, 16, 1)
    serve(socket.socket(fileno=descriptors[0]))
    os._exit(0)


def listen(place):
    """A listener, and what stands for {url} and {socket}."""
    if place == "--port":
        listener = socket.create_server(("127.0.0.1", 0))
        return listener, "http://127.0.0.1:%d" % listener.getsockname()[1], ""
    name = os.path.join(folder.name, "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + name if place == "--abstract" else name)
    listener.listen()
    return listener, "http://localhost", name


words = sys.argv[1:]
place = words.pop(0) if words[0].startswith("--") else "--port"
way, client = words[0], words[1:]
folder = tempfile.TemporaryDirectory(prefix="sockets-")
if way == "pass":
    to_worker, from_parent = socket.socketpair()
    if os.fork() == 0:
        worker(from_parent)
listener, url, name = listen(place)
running = subprocess.Popen([word.replace("{url}", url).replace("{socket}", name) for word in client])
connection, _ = listener.accept()
{"plain": serve, "peek": peek, "splice": splice, "pass": hand_over, "fork": fork}[way](connection)
sys.exit(running.wait())
