"""A server and a client that is connected to it already; on a line of input, three requests go over that connection."""

import http.client
import http.server
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


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()
connection = http.client.HTTPConnection("127.0.0.1", server.server_port)


def ask(path):
    connection.request("GET", path)
    assert connection.getresponse().read() == b"hello\n"


ask("/before")
print("connected", flush=True)
sys.stdin.readline()
for path in ["/a", "/b", "/c"]:
    ask(path)
