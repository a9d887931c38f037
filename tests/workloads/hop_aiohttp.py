"""One hop of a chain in aiohttp, its server and its client, no tracing.

    hop_aiohttp.py [--loop asyncio] [--next URL] [--client pool] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]

Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes.
"""

import aiohttp
from aiohttp import web

import hops
import paths


def caller(options, session):
    async def call(path):
        async with session.get(options.next + path) as answer:
            body = await answer.text()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body}")
        return paths.called(options.next, path, body)

    return call


async def serve(options):
    connector = aiohttp.TCPConnector(limit=0, force_close=options.client == "oneshot")
    async with aiohttp.ClientSession(connector=connector) as session:
        work, work_late = hops.async_worker(options, options.next and caller(options, session))

        async def answer(request):
            response = web.Response(text="".join(f"{path}\n" for path in await work(request.path)))
            await response.prepare(request)
            await response.write_eof()
            await work_late(request.path)
            return response

        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print(runner.addresses[0][1], flush=True)
        await hops.termination()
        await runner.cleanup()


def main():
    options = hops.async_parser(__doc__).parse_args()
    hops.run(options, serve(options))


if __name__ == "__main__":
    main()
