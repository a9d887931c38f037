"""One hop of a chain in asyncio: one thread, the standard library's streams, no tracing.

    hop_async.py [--loop asyncio] [--next URL] [--client pool] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]

Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes.
"""

import asyncio
from urllib.parse import urlsplit

import hops
import paths


async def read(reader):
    """One message; gives its first line and its body, or None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.split("\r\n")
    lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length:")]
    return first, (await reader.readexactly(int(lengths[0]))).decode() if lengths else ""


class Client:
    def __init__(self, base, keeps):
        self.base, self.parts, self.keeps, self.idle = base, urlsplit(base), keeps, []

    async def call(self, path):
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.parts.hostname, self.parts.port)
        writer.write(f"GET {self.parts.path}{path} HTTP/1.1\r\nHost: {self.parts.netloc}\r\n\r\n".encode())
        first, body = await read(reader)
        if self.keeps:
            self.idle.append((reader, writer))
        else:
            writer.close()
        if " 200 " not in first:
            raise RuntimeError(f"{first}: {body}")
        return paths.called(self.base, path, body)


async def serve(options):
    client = Client(options.next, options.client != "oneshot") if options.next else None
    work, work_late = hops.async_worker(options, client and client.call)

    async def answer(reader, writer):
        while request := await read(reader):
            path = request[0].split()[1]
            try:
                status, called = "200 OK", await work(path)
            except Exception as error:
                status, called = "502 Bad Gateway", [repr(error)]
            body = "".join(f"{path}\n" for path in called)
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            await work_late(path)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await hops.termination()


def main():
    options = hops.async_parser(__doc__).parse_args()
    hops.run(options, serve(options))


if __name__ == "__main__":
    main()
