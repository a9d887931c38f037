"""Answers HTTP on a port of loopback, runs a client against it and ends with the client's exit status.

    answer.py [--protocol HTTP/1.0] [--port N] [--tls CERT,KEY] -- CLIENT ARGS      where {url} in ARGS is the server

/status/N is answered with status N, /bytes/N with N bytes by sendfile, /die by the end of this process, /via/PATH with
the answer to /PATH, everything else with 200.
"""

import argparse
import http.server
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"hello\n"
        parts = self.path.split("/")
        if parts[1] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if parts[1] == "via":
            host, port = self.server.server_address[:2]
            urllib.request.urlopen(f"http://{host}:{port}/{'/'.join(parts[2:])}").read()
        if parts[1] == "bytes":
            return self.send_file(int(parts[2]))
        self.send_response(int(parts[2]) if parts[1] == "status" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, size):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            self.connection.sendfile(file)

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left > 0 and (piece := self.rfile.read(min(left, 65536))):
            left -= len(piece)
        self.do_GET()

    do_PUT = do_POST

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", default="HTTP/1.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--tls", help="two files: answer over TLS")
    parser.add_argument("client", nargs="+")
    options = parser.parse_args()
    Answer.protocol_version = options.protocol
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Answer)
    scheme = "http"
    if options.tls:
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls.split(","))
        # The handshake in the thread that answers, so that a client which breaks it off ends nothing else.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    url = f"{scheme}://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.exit(subprocess.call([word.replace("{url}", url) for word in options.client]))


main()
