"""One hop of a chain in grpcio, or a client that tries every kind of call, no tracing.

    hop_grpc.py [--next URL] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
    hop_grpc.py --ask URL [--methods Unary,…] [--total 20] [--in-flight 1] [--size 0] [--run r] [--truth FILE]

The server of `echoes.py`, or a client of it. A request `/job/ID` is answered as in
hop.py, whose options it takes; its calls share one connection, whatever --client says. Messages are bytes as they are.
"""

import collections
import json
import queue
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import grpc

import echoes
import hop
import hops
import paths

# More than there are in flight: some wait until their client has gone.
THREADS = 512


class Client:
    """The calls of a hop, as hop.worker makes them."""

    def __init__(self, base):
        self.base, self.channel = base, connect(base)

    def start(self, path):
        return self.channel.unary_unary(paths.prefix(self.base) + path).future(path.encode())

    def finish(self, answer):
        return answer.result().decode()


def connect(base):
    return grpc.insecure_channel(urlsplit(base).netloc)


class Handlers(grpc.GenericRpcHandler):
    def __init__(self, work):
        self.work = work

    def service(self, details):
        if details.method.startswith("/job/"):
            return grpc.unary_unary_rpc_method_handler(lambda *_: self.job(details.method))
        return METHODS.get(details.method)

    def job(self, path):
        return "".join(f"{path}\n" for path in self.work(path)).encode()


def send_id_back(context):
    given = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-echo-id", given["x-echo-id"]),))
    context.set_trailing_metadata((("x-echo-end", given["x-echo-id"]),))


def unary(message, context):
    send_id_back(context)
    return message


def server_stream(message, context):
    send_id_back(context)
    for _ in range(echoes.MESSAGES):
        yield message


def client_stream(messages, context):
    send_id_back(context)
    return b"".join(messages)


def bidi_stream(messages, context):
    send_id_back(context)
    yield from messages


def not_found(_, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "there is none")


def data_loss(message, context):
    yield message
    context.abort(grpc.StatusCode.DATA_LOSS, "the rest is lost")


def wait_for_end(context):
    ended = threading.Event()
    if context.add_callback(ended.set):
        ended.wait()


def deadline_exceeded(message, context):
    wait_for_end(context)
    return message


def cancelled(message, context):
    yield message
    wait_for_end(context)


METHODS = {
    "/chain.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
    "/chain.Echo/ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "/chain.Echo/ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "/chain.Echo/BidiStream": grpc.stream_stream_rpc_method_handler(bidi_stream),
    "/chain.Echo/NotFound": grpc.unary_unary_rpc_method_handler(not_found),
    "/chain.Echo/DataLoss": grpc.unary_stream_rpc_method_handler(data_loss),
    "/chain.Echo/DeadlineExceeded": grpc.unary_unary_rpc_method_handler(deadline_exceeded),
    "/chain.Echo/Cancelled": grpc.unary_stream_rpc_method_handler(cancelled),
}


def serve(options):
    work, _ = hop.worker(options, Client(options.next) if options.next else None)
    server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[Handlers(work)])
    port = server.add_insecure_port("127.0.0.1:0")
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server.start()
    print(port, flush=True)
    ended.wait()
    server.stop(None).wait()


class Asker:
    """Makes one call of a method, and gives the answer's messages."""

    def __init__(self, options):
        self.options, self.channel = options, connect(options.ask)

    def ask(self, method, message, metadata):
        path = f"/chain.Echo/{method}"
        match method:
            case "ServerStream" | "DataLoss":
                return list(self.channel.unary_stream(path)(message, metadata=metadata))
            case "ClientStream":
                return [self.channel.stream_unary(path)(iter([message] * echoes.MESSAGES), metadata=metadata)]
            case "BidiStream":
                return self.converse(path, message, metadata)
            case "DeadlineExceeded":
                seconds = self.options.deadline_ms / 1000
                return [self.channel.unary_unary(path)(message, metadata=metadata, timeout=seconds)]
            case "Cancelled":
                call = self.channel.unary_stream(path)(message, metadata=metadata)
                next(call)
                call.cancel()
                return list(call)
            case "Job":
                path = paths.prefix(self.options.ask) + paths.root_path(message.decode())
                return [self.channel.unary_unary(path)(message, metadata=metadata)]
        return [self.channel.unary_unary(path)(message, metadata=metadata)]

    def converse(self, path, message, metadata):
        """Says the next only when the last was answered."""
        said = queue.SimpleQueue()
        call = self.channel.stream_stream(path)(iter(said.get, None), metadata=metadata)
        answers = []
        for _ in range(echoes.MESSAGES):
            said.put(message)
            answers.append(next(call))
        said.put(None)
        return answers + list(call)


def ask(options):
    asker = Asker(options)
    work = iter([(method, number) for number in range(options.total) for method in options.methods.split(",")])
    counts, called = collections.defaultdict(collections.Counter), []
    lock = threading.Lock()

    def send():
        while True:
            with lock:
                method, number = next(work, (None, None))
            if method is None:
                return
            name = echoes.id_of(options.run, method, number)
            message = name.ljust(options.size, ".").encode() if method != "Job" else name.encode()
            try:
                answers = asker.ask(method, message, (("x-echo-id", name),))
                status = 0 if echoes.is_right(method, message, answers) else "wrong answer"
            except grpc.RpcError as error:
                status = error.code().value[0]
                if status not in echoes.METHODS[method]:
                    print(method, error, file=sys.stderr)
            with lock:
                counts[method][status] += 1
                if method == "Job" and status == 0:
                    called.extend(paths.called(options.ask, paths.root_path(name), answers[0].decode()))

    senders = [threading.Thread(target=send) for _ in range(options.in_flight)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    if options.truth:
        with open(options.truth, "w") as truth:
            truth.writelines(f"{path}\n" for path in called)
    print(json.dumps(counts), flush=True)


def main():
    parser = hops.parser(__doc__, "pool")
    parser.add_argument("--ask", metavar="URL", help="be a client of this server")
    echoes.add_options(parser)
    options = parser.parse_args()
    ask(options) if options.ask else serve(options)


if __name__ == "__main__":
    main()
