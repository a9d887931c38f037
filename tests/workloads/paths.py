"""Work that can be told apart by its path, and the clients that send it.

The path of a request is `/job/ID`. The id of a root is any word, those of the requests made for `ID` are
`ID.0`, `ID.1` and so on: the true tree stands in the paths. A request that goes through a proxy is called
with one more segment in front (`/via/job/ID`), which the proxy takes off.

An answer names every path that was called for it, one a line. So whoever called the root has the truth about
the requests that were made, not about those that should have been. One that is made after the answer (`ID.late0`) is
named in advance, which may be since none is made for it in turn.
"""

import http.client
import os
import queue
import socket
import threading
import uuid
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60


def root_path(root):
    return f"/job/{root}"


def child_path(path, number):
    return f"{path}.{number}"


def late_path(path, number):
    return f"{path}.late{number}"


def is_late(path):
    return ".late" in path


# What each thread passes on of the request that it works on.
PASSED = threading.local()


def pass_on(came):
    """Calls of this thread carry the context that came with these headers, unchanged."""
    PASSED.headers = {name: came[name] for name in ("traceparent", "tracestate") if name in came}


def headers():
    """What a call carries: what is passed on, and an id of its own, where REQUEST_IDS asks for ids."""
    own = {"X-Request-Id": str(uuid.uuid4())} if os.environ.get("REQUEST_IDS") else {}
    return getattr(PASSED, "headers", {}) | own


class OneShot:
    """A connection a call, closed after it. Sends and reads in one go, so there is nothing to nest."""

    def __init__(self, base):
        self.base = base

    def start(self, path):
        return prefix(self.base) + path

    def finish(self, path):
        connection = connect(self.base)
        try:
            connection.request("GET", path, headers={"Connection": "close"} | headers())
            return read(connection)
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """To a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def connect(base):
    """A connection to `http://HOST:PORT` or `unix:PATH`."""
    if base.startswith("unix:"):
        return _UnixConnection(base.removeprefix("unix:"))
    parts = urlsplit(base)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)


def read(connection):
    answer = connection.getresponse()
    body = answer.read().decode()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} from {connection.host}:{connection.port}: {body}")
    return body


class _KeepAlive:
    """Connections that stay open; what differs is who may take one that is idle."""

    def __init__(self, base):
        self.base, self.prefix = base, prefix(base)

    def start(self, path):
        connection = self._take()
        connection.request("GET", self.prefix + path, headers=headers())
        return connection

    def finish(self, connection):
        body = read(connection)
        self._idle().put(connection)
        return body

    def _take(self):
        try:
            return self._idle().get_nowait()
        except queue.Empty:
            return connect(self.base)


class PerThread(_KeepAlive):
    """Every thread has connections of its own."""

    def __init__(self, base):
        super().__init__(base)
        self.local = threading.local()

    def _idle(self):
        if not hasattr(self.local, "idle"):
            self.local.idle = queue.LifoQueue()
        return self.local.idle


class Pool(_KeepAlive):
    """Any thread takes any idle connection, the one that was used last first."""

    def __init__(self, base):
        super().__init__(base)
        self.idle = queue.LifoQueue()

    def _idle(self):
        return self.idle


CLIENTS = {"oneshot": OneShot, "thread": PerThread, "pool": Pool}


def call(client, path):
    """Makes one call; gives the paths that were called for it, its own first."""
    return called(client.base, path, client.finish(client.start(path)))


def call_nested(client, paths):
    """Sends all requests before it reads an answer, then reads the last one's first."""
    started = [(path, client.start(path)) for path in paths]
    answers = [called(client.base, path, client.finish(request)) for path, request in reversed(started)]
    return [path for answer in answers for path in answer]


def called(base, path, answer):
    """The paths that were called for one that was sent there, its own first."""
    segment = prefix(base)
    return ([segment + path] if segment else []) + answer.split()


def prefix(base):
    """The segment of a proxy."""
    return "" if base.startswith("unix:") else urlsplit(base).path
