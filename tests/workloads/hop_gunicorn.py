"""One hop of a chain in gunicorn: a WSGI application, calls by Python's own client, no tracing.

    hop_gunicorn.py [--workers gthread] [--next URL] [--client pool] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]

Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes. Workers of kind gthread
are one process with many threads, those of kind sync are processes that serve one request a connection.
"""

from gunicorn.app.base import BaseApplication

import hop
import hops

WORKERS = {"gthread": {"workers": 1, "threads": 64, "keepalive": 60}, "sync": {"workers": 4}}


class Body(list):
    """An answer, and what is done after it."""

    def __init__(self, parts, close):
        super().__init__(parts)
        self.close = close


class Hop(BaseApplication):
    def __init__(self, options):
        self.options = options
        super().__init__()

    def load_config(self):
        settings = {
            "bind": "127.0.0.1:0",
            "worker_class": self.options.workers,
            "worker_tmp_dir": "/dev/shm",
            "loglevel": "error",
            "graceful_timeout": 1,
            "when_ready": lambda arbiter: print(arbiter.LISTENERS[0].sock.getsockname()[1], flush=True),
        }
        for name, value in (settings | WORKERS[self.options.workers]).items():
            self.cfg.set(name, value)

    def load(self):
        work, work_late = hop.worker(self.options, hop.client(self.options))

        def answer(environ, start_response):
            path = environ["PATH_INFO"]
            try:
                status, called = "200 OK", work(path)
            except Exception as error:
                status, called = "502 Bad Gateway", [repr(error)]
            body = "".join(f"{path}\n" for path in called).encode()
            start_response(status, [("Content-Length", str(len(body)))])
            return Body([body], lambda: work_late(path))

        return answer


def main():
    parser = hops.parser(__doc__, "pool")
    parser.add_argument("--workers", choices=WORKERS, default="gthread")
    Hop(parser.parse_args()).run()


if __name__ == "__main__":
    main()
