"""One hop of a chain: a thread a connection, Python's own server, no tracing.

    hop.py [--unix PATH] [--next URL] [--client thread] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]

Prints where it listens, a port or the path it was given, and serves until it is terminated. For each request it calls
the next hop as often as it was told, thinks before each call and after the last, and answers with the paths that were
called. With --skip some of the calls are not made, with --late as many are made after the answer. With --pass-context
its calls carry the trace context that its request came with, unchanged.
"""

import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn, UnixStreamServer

import hops
import paths


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


class UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 1024


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        # Head and body go out in two writes; without this the second waits for the first one's acknowledgement.
        self.disable_nagle_algorithm = not isinstance(self.server, UnixServer)
        super().setup()

    def do_GET(self):
        if self.server.passes_context:
            paths.pass_on(self.headers)
        try:
            status, called = 200, self.server.work(self.path)
        except Exception as error:
            status, called = 502, [repr(error)]
        body = "".join(f"{path}\n" for path in called).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.work_late(self.path)

    def log_message(self, *_):
        pass


def client(options):
    return paths.CLIENTS[options.client](options.next) if options.next else None


def worker(options, client):
    """What a request causes in its thread, before its answer and after it."""

    def think():
        seconds = hops.think_seconds(options)
        if seconds > 0:
            time.sleep(seconds)

    def work(path):
        called = [path]
        children = hops.children(options, path)
        if options.order == "nested":
            think()
            called += paths.call_nested(client, children) if client else []
        else:
            for child in children:
                think()
                called += paths.call(client, child)
        think()
        return called + hops.announced(options, path)

    def work_late(path):
        for child in hops.late_children(options, path):
            paths.call(client, child)

    return work, work_late


def main():
    parser = hops.parser(__doc__, "thread")
    parser.add_argument("--unix", metavar="PATH", help="listen there, on a Unix socket")
    parser.add_argument("--pass-context", action="store_true", help="calls carry the trace context that came")
    options = parser.parse_args()

    if options.unix:
        server = UnixServer(options.unix, Handler)
    else:
        server = Server(("127.0.0.1", 0), Handler)
    server.passes_context = options.pass_context
    server.work, server.work_late = worker(options, client(options))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(options.unix or server.server_port, flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()


if __name__ == "__main__":
    main()
