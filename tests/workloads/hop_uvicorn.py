"""One hop of a chain in Starlette under uvicorn, its calls made by httpx, no tracing.

    hop_uvicorn.py [--loop asyncio] [--in coroutines] [--next URL] [--client pool] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]

Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes. What is no coroutine runs in threads of a pool,
and its calls are made by Python's own client.
"""

import socket

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import hop
import hops
import paths


def caller(options, client):
    async def call(path):
        answer = await client.get(options.next + path)
        answer.raise_for_status()
        return paths.called(options.next, path, answer.text)

    return call


async def serve(options):
    idle = 0 if options.client == "oneshot" else None
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=idle)
    async with httpx.AsyncClient(limits=limits, timeout=paths.TIMEOUT_SECONDS, trust_env=False) as client:
        work, work_late = hops.async_worker(options, options.next and caller(options, client))

        async def answer(request):
            path = request.url.path
            text = "".join(f"{called}\n" for called in await work(path))
            return PlainTextResponse(text, background=BackgroundTask(work_late, path))

        if options.runs_in == "threads":
            work, work_late = hop.worker(options, hop.client(options))

            def answer(request):
                path = request.url.path
                text = "".join(f"{called}\n" for called in work(path))
                return PlainTextResponse(text, background=BackgroundTask(work_late, path))

        application = Starlette(routes=[Route("/{path:path}", answer)])
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        # Head and body go out in two writes; asyncio sees to that itself only where it made the listener.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(application, log_level="error", timeout_keep_alive=60, timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listener])


def main():
    parser = hops.async_parser(__doc__)
    parser.add_argument("--in", dest="runs_in", choices=["coroutines", "threads"], default="coroutines", help="what answers")
    options = parser.parse_args()
    hops.run(options, serve(options))


if __name__ == "__main__":
    main()
