"""Sends a server what nobody should send it, then ends: noise.py HOST PORT

Every kind goes over a connection of its own, which the server may close at any moment.
"""

import socket
import sys

MEBIBYTE = 1 << 20
KINDS = {
    "garbage": bytes(range(256)) * 4096,
    "NUL bytes": b"\0" * MEBIBYTE,
    "NUL bytes in a head": b"GET /\0\0 HTTP/1.1\r\nHost: a\0b\r\n\0: \0\r\n\r\n",
    "an endless line": b"GET /" + b"x" * (4 * MEBIBYTE),
    "an endless head": b"GET /endless HTTP/1.1\r\n" + b"X-More: and more\r\n" * (MEBIBYTE // 4),
    "100,000 headers": b"GET /many HTTP/1.1\r\n" + b"A: b\r\n" * 100_000 + b"\r\n",
    "a chunk without end": b"POST /chunk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"ffffffffffffffff\r\n"
    + b"x" * MEBIBYTE,
    "a length without end": b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\nxx",
    "two lengths": b"POST /lengths HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a response": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
}


def send(address, what):
    with socket.create_connection(address, timeout=10) as connection:
        try:
            connection.sendall(what)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            # The server has had enough.
            pass


for what in KINDS.values():
    send((sys.argv[1], int(sys.argv[2])), what)
