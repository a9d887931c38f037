"""A workload of services of several kinds, one behind the other, and the load on the first.

    mixed.py --truth FILE --services uvicorn+sdk,passing,nginx,node+sdk,go,node --otlp URL [--protocol grpc]
        [--total 100] [--in-flight 8] [--calls 1] [--warm-up 0]

`threads`, `go`, `node` and `uvicorn` are hops that know nothing of tracing, `passing` is one of `threads` that passes on the
trace context that comes, `nginx` passes on all headers. `node+sdk` and `uvicorn+sdk` are instrumented by OpenTelemetry's
own SDK, and send their spans to the URL. The first service makes so many calls for each request, the others one. With
--warm-up so many requests are sent before those that count (`/job/warm0`, `/job/warm1` …), and what they caused is exported.
Options that it does not know go to the load.

Everything it starts has ended when it ends, however it ends. Its exit status is that of the load.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import chain

# An SDK sends what it has as often as this.
EXPORT_MS = 100
KINDS = ["threads", "passing", "go", "node", "uvicorn", "nginx", "node+sdk", "uvicorn+sdk"]


def by_sdk(name, options):
    """What an SDK is told."""
    return {
        "OTEL_SERVICE_NAME": name,
        "OTEL_EXPORTER_OTLP_ENDPOINT": options.otlp,
        "OTEL_EXPORTER_OTLP_PROTOCOL": options.protocol,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": str(EXPORT_MS),
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
        "NODE_PATH": str(chain.TARGET / "otel-js/node_modules"),
    }


def start_service(processes, folder, kind, url, number, options):
    """Starts one that calls this URL; gives its own."""
    if kind == "nginx":
        return chain.start_nginx(processes, folder, url)
    runtime = {"passing": "threads"}.get(kind, kind.removesuffix("+sdk"))
    command = chain.hop_command(runtime, folder)
    if kind == "uvicorn+sdk":
        command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), *command]
    elif kind == "node+sdk":
        command = [command[0], "--require", str(chain.HERE / "otel-js/sdk.js"), *command[1:]]
    arguments = ["--client", "pool", "--calls", options.calls if number == 0 else 1]
    arguments += ["--next", url] if url else []
    arguments += ["--pass-context"] if kind == "passing" else []
    environment = os.environ | (by_sdk(f"{kind}-{number}", options) if kind.endswith("+sdk") else {})
    return chain.start_hop(processes, command, *arguments, env=environment)


def load(processes, url, *options):
    """The load, to its end; gives its exit status."""
    processes.append(chain.start(chain.python("load.py", url, "--client", "pool", *options)))
    return processes[-1].wait()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--services", required=True, metavar="KIND,…", help=", ".join(KINDS))
    parser.add_argument("--truth", required=True, metavar="FILE")
    parser.add_argument("--otlp", required=True, metavar="URL", help="who takes the spans of the SDKs")
    parser.add_argument("--protocol", choices=["grpc", "http/protobuf"], default="http/protobuf")
    parser.add_argument("--total", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=0)
    parser.add_argument("--settle-ms", type=float, default=0, help="time between the start of the services and the first request")
    parser.add_argument("--export-ms", type=float, default=2000, help="time after the last answer, for the SDKs to send what they have")
    options, of_load = parser.parse_known_args()
    services = options.services.split(",")
    if not set(services) <= set(KINDS):
        parser.error(f"--services: each is one of {', '.join(KINDS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    processes = []
    with tempfile.TemporaryDirectory(prefix="workload-") as folder:
        try:
            url = None
            for number, kind in reversed(list(enumerate(services))):
                url = start_service(processes, folder, kind, url, number, options)
            time.sleep(options.settle_ms / 1000)
            status = 0
            if options.warm_up:
                status = load(processes, url, "--total", options.warm_up, "--run", "warm")
                time.sleep(options.export_ms / 1000)
            counted = ["--total", options.total, "--in-flight", options.in_flight, "--truth", options.truth]
            status = status or load(processes, url, *counted, *of_load)
            time.sleep(options.export_ms / 1000)
        finally:
            chain.stop(processes)
    sys.exit(status)


if __name__ == "__main__":
    main()
