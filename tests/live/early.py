"""A server and a client that is connected to it already; on a line of input, three requests go over that connection.

    early.py [PATH]     where PATH is a Unix socket that it listens on
"""

import http.client
import http.server
import socket
import socketserver
import sys
import threading


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if sys.argv[1:]:
    server = UnixServer(sys.argv[1], Answer)
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(sys.argv[1])
else:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
threading.Thread(target=server.serve_forever, daemon=True).start()


def ask(path):
    connection.request("GET", path)
    assert connection.getresponse().read() == b"hello\n"


ask("/before")
print("connected", flush=True)
sys.stdin.readline()
for path in ["/a", "/b", "/c"]:
    ask(path)
