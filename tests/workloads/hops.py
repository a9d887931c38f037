"""What hops of every kind have in common: their options, and the calls that a request causes."""

import argparse
import random

import paths


def parser(description, client):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--next", metavar="URL", help="the hop it calls; without it, it is the last")
    parser.add_argument("--client", choices=paths.CLIENTS, default=client)
    parser.add_argument("--calls", type=int, default=1, help="calls for each request")
    parser.add_argument("--order", choices=["sequential", "nested"], default="sequential")
    parser.add_argument("--think-ms", type=float, default=0)
    parser.add_argument("--jitter-ms", type=float, default=0, help="at most this is added to each think time")
    return parser


def children(options, path):
    return [paths.child_path(path, number) for number in range(options.calls if options.next else 0)]


def think_seconds(options):
    return (options.think_ms + random.uniform(0, options.jitter_ms)) / 1000
