"""What hops of every kind have in common: their options, and the calls that a request causes."""

import argparse
import asyncio
import random
import signal

import paths


def parser(description, client):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--next", metavar="URL", help="the hop it calls; without it, it is the last")
    parser.add_argument("--client", choices=paths.CLIENTS, default=client)
    parser.add_argument("--calls", type=int, default=1, help="calls for each request")
    parser.add_argument("--skip", type=float, default=0, help="how likely each of them is not made")
    parser.add_argument("--late", type=int, default=0, help="calls after the answer to each request")
    parser.add_argument("--order", choices=["sequential", "nested"], default="sequential")
    parser.add_argument("--think-ms", type=float, default=0)
    parser.add_argument("--jitter-ms", type=float, default=0, help="at most this is added to each think time")
    return parser


def async_parser(description):
    options = parser(description, "pool")
    options.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio", help="what runs its coroutines")
    return options


def children(options, path):
    """The calls to make before the answer."""
    if not options.next or paths.is_late(path):
        return []
    return [paths.child_path(path, number) for number in range(options.calls) if random.random() >= options.skip]


def late_children(options, path):
    """The calls to make after the answer."""
    if not options.next or paths.is_late(path):
        return []
    return [paths.late_path(path, number) for number in range(options.late)]


def announced(options, path):
    """What the calls after the answer will have called."""
    return [called for child in late_children(options, path) for called in paths.called(options.next, child, child)]


def think_seconds(options):
    return (options.think_ms + random.uniform(0, options.jitter_ms)) / 1000


def async_worker(options, call):
    """What a request causes in coroutines, before its answer and after it; `call` makes one call and gives the paths
    that were called for it.
    """

    async def think():
        seconds = think_seconds(options)
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def work(path):
        called = [path]
        if options.order == "nested":
            await think()
            for answer in await asyncio.gather(*map(call, children(options, path))):
                called += answer
        else:
            for child in children(options, path):
                await think()
                called += await call(child)
        await think()
        return called + announced(options, path)

    async def work_late(path):
        for child in late_children(options, path):
            await call(child)

    return work, work_late


def run(options, main):
    if options.loop == "uvloop":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


async def termination():
    """Returns when it comes."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
