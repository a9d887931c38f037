"""A server of cleartext HTTP/2 in hypercorn, or a client of one in httpx, no tracing.

    h2c_hypercorn.py
    h2c_hypercorn.py --ask URL [--total 20] [--in-flight 1] [--header-bytes 0] [--body-bytes 1000]

As h2c.py says.
"""

import argparse
import asyncio
import collections
import json
import socket
import sys

import httpx
import hypercorn.asyncio
import hypercorn.config

import h2c
import hops


async def answer(scope, receive, send):
    while scope["type"] == "http" and (await receive()).get("more_body"):
        pass
    path, status, body = scope["path"], 200, b""
    if path.startswith("/bytes/"):
        body = b"X" * int(path.removeprefix("/bytes/"))
    elif path != "/up":
        status = 404
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def application(scope, receive, send):
    if scope["type"] == "http":
        await answer(scope, receive, send)


async def serve():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = hypercorn.config.Config()
    # It closes what it is given.
    config.bind = [f"fd://{listener.detach()}"]
    config.h2_max_header_list_size = 1 << 18
    config.loglevel = "ERROR"
    await hypercorn.asyncio.serve(application, config, shutdown_trigger=hops.termination)


async def ask(options):
    body, headers = b"X" * options.body_bytes, {"x-fill": "X" * options.header_bytes} if options.header_bytes else {}
    kinds = [("GET", f"/bytes/{options.body_bytes}", None), ("POST", "/up", body), ("GET", "/missing", None)]
    work, counts = iter(kinds * options.total), collections.Counter()
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(http1=False, http2=True, base_url=options.ask, limits=limits, timeout=60) as client:

        async def send():
            for method, path, body in work:
                try:
                    status = (await client.request(method, path, content=body, headers=headers)).status_code
                    counts[f"{method} {status}"] += 1
                except httpx.HTTPError as error:
                    print(repr(error), file=sys.stderr)
                    counts["failed"] += 1

        await asyncio.gather(*(send() for _ in range(options.in_flight)))
    print(json.dumps(counts), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ask", metavar="URL", help="be a client of this server")
    h2c.add_options(parser)
    options = parser.parse_args()
    asyncio.run(ask(options) if options.ask else serve())


if __name__ == "__main__":
    main()
