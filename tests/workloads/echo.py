"""An echo service over gRPC and a client of it, each in a runtime of its own, no tracing.

    echo.py --server grpc-go --client grpcio [--total 20] [--in-flight 1] [--methods Unary,…] [--size 0] …

The methods are described in `echoes.py`. Prints one line of JSON, how many calls of each method ended with which status;
fails if one did not end as it must. All calls share one connection. Everything it starts has ended when it ends.
"""

import argparse
import signal
import subprocess
import sys
import tempfile

import chain
import echoes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=chain.GRPC, default="grpcio")
    parser.add_argument("--client", choices=chain.GRPC, default="grpcio")
    echoes.add_options(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    asked = ["--methods", options.methods, "--total", options.total, "--in-flight", options.in_flight]
    asked += ["--size", options.size, "--deadline-ms", options.deadline_ms, "--run", options.run]
    if options.truth:
        asked += ["--truth", options.truth]
    processes = []
    with tempfile.TemporaryDirectory(prefix="workload-") as folder:
        try:
            server, client = (chain.hop_command(runtime, folder) for runtime in (options.server, options.client))
            url = chain.start_hop(processes, server)
            processes.append(chain.start([*client, "--ask", url, *map(str, asked)], stdout=subprocess.PIPE))
            told, _ = processes[-1].communicate()
        finally:
            chain.stop(processes)
    print(told.strip(), flush=True)
    mistakes = echoes.mistakes(told, options.methods, options.total)
    for mistake in mistakes:
        print(f"not as it must be: {mistake}", file=sys.stderr)
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
