"""A service that answers gRPC-Web and a client of it, with a proxy between them that calls by gRPC or not, no tracing.

    grpc_web.py [--proxy] [--http 1.1] [--total 20] [--in-flight 1]

The client makes so many calls of each method, by gRPC-Web in HTTP/1.1 or in cleartext HTTP/2. Prints one line of JSON, how many calls of
each method ended with which status; fails if one did not end as echoes.py says. Everything it starts has ended when it ends.

The program in `grpc-web/` is compiled for it, unless GRPC_WEB says where it is.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import chain
import echoes

METHODS = "Unary,NotFound,DataLoss,Unimplemented"


def program(folder):
    built = os.environ.get("GRPC_WEB")
    if not built:
        built = Path(folder) / "grpc-web"
        subprocess.run(["go", "build", "-o", built, "."], check=True, cwd=chain.HERE / "grpc-web")
    return str(built)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", action="store_true")
    parser.add_argument("--http", choices=["1.1", "2"], default="1.1")
    parser.add_argument("--total", type=int, default=20, help="calls of each method")
    parser.add_argument("--in-flight", type=int, default=1, help="calls at once")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    processes = []
    with tempfile.TemporaryDirectory(prefix="workload-") as folder:
        try:
            command = program(folder)
            url = chain.start_hop(processes, [command])
            if options.proxy:
                url = chain.start_hop(processes, [command, "--before", url])
            asked = ["--ask", url, "--http", options.http, "--methods", METHODS]
            asked += ["--total", str(options.total), "--in-flight", str(options.in_flight)]
            processes.append(chain.start([command, *asked], stdout=subprocess.PIPE))
            told, _ = processes[-1].communicate()
        finally:
            chain.stop(processes)
    print(told.strip(), flush=True)
    mistakes = echoes.mistakes(told, METHODS, options.total)
    for mistake in mistakes:
        print(f"not as it must be: {mistake}", file=sys.stderr)
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
