"""A whole workload: a chain of hops, nginx before each of them if asked for, and the load on its first.

    chain.py --truth FILE [--hops 3] [--total 1000] [--in-flight 8] [--client thread] [--via-nginx] …

Options that it does not know go to the hops. Everything it starts has ended when it ends, however it ends. Its exit
status is that of the load.
"""

import argparse
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import echoes
import paths

HERE = Path(__file__).resolve().parent
# What is installed and compiled once.
TARGET = HERE.parents[1] / "target"
PR_SET_PDEATHSIG = 1
# After the last answer, what is called late ends in these.
LATE_SECONDS = 1


def start(command, **options):
    def end_with_parent():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return subprocess.Popen(command, preexec_fn=end_with_parent, text=True, **options)


def python(script, *arguments):
    return [sys.executable, str(HERE / script), *map(str, arguments)]


HOPS = {
    "threads": python("hop.py"),
    "asyncio": python("hop_async.py"),
    "aiohttp": python("hop_aiohttp.py"),
    "uvicorn": python("hop_uvicorn.py"),
    "gunicorn": python("hop_gunicorn.py"),
    "node": ["node", str(HERE / "hop.js")],
    "puma": ["ruby", str(HERE / "hop.rb")],
}


def go(folder):
    """The hop in Go, compiled into the folder, unless HOP_GO says where it is."""
    built = os.environ.get("HOP_GO")
    if not built:
        built = Path(folder) / "hop"
        subprocess.run(["go", "build", "-o", built, HERE / "hop.go"], check=True)
    return [str(built)]


def java(folder):
    """The hop in Java, compiled into the folder."""
    subprocess.run(["javac", "-d", folder, HERE / "Hop.java"], check=True)
    return ["java", "-cp", folder, "Hop"]


def rust(name):
    """The hop in this crate, compiled under target/, where it stays: where nothing can be built it is used as it is."""
    target = TARGET / name
    hop = target / f"release/hop-{name}"
    if shutil.which("cargo") or not hop.exists():
        build = ["cargo", "build", "--quiet", "--release", "--locked", "--target-dir", target]
        subprocess.run([*build, "--manifest-path", HERE / name / "Cargo.toml"], check=True)
    return [str(hop)]


def grpc_go(_):
    """The hop in grpc-go, compiled under target/, where it stays, unless HOP_GRPC_GO says where it is."""
    built = os.environ.get("HOP_GRPC_GO")
    if not built:
        built = TARGET / "grpc-go/hop"
        subprocess.run(["go", "build", "-C", HERE / "grpc-go", "-o", built, "."], check=True)
    return [str(built)]


def grpc_js(_):
    """The hop in grpc-js, which is installed under target/."""
    os.environ["NODE_PATH"] = str(TARGET / "grpc-js/node_modules")
    return ["node", str(HERE / "grpc-js/hop.js")]


def grpc_java(folder):
    """The hop in grpc-java, which is installed under target/, compiled into the folder."""
    libraries = f"{TARGET}/grpc-java/*"
    sources = sorted((HERE / "grpc-java").glob("*.java"))
    subprocess.run(["javac", "-cp", libraries, "-d", folder, *sources], check=True)
    return ["java", "-cp", f"{folder}:{libraries}", "Hop"]


def tomcat(folder):
    """The hop in Tomcat, which is installed under target/, compiled into the folder."""
    libraries = f"{TARGET}/tomcat/*"
    sources = [HERE / "Hop.java", HERE / "tomcat/TomcatHop.java"]
    subprocess.run(["javac", "-cp", libraries, "-d", folder, *sources], check=True)
    return ["java", "-Djava.io.tmpdir=" + folder, "-cp", f"{folder}:{libraries}", "TomcatHop"]


def webflux(folder):
    """The hop in Spring WebFlux, which is installed under target/, compiled into the folder."""
    libraries = f"{TARGET}/webflux/*"
    sources = [HERE / "Hop.java", HERE / "webflux/FluxHop.java"]
    subprocess.run(["javac", "-cp", libraries, "-d", folder, *sources], check=True)
    return ["java", "-Djava.io.tmpdir=" + folder, "-cp", f"{folder}:{libraries}", "FluxHop"]


COMPILED = {"go": go, "java": java, "tomcat": tomcat, "webflux": webflux, "axum": lambda _: rust("axum")}
# Those that speak gRPC, also as a load.
GRPC = {
    "grpcio": lambda _: python("hop_grpc.py"),
    "grpc-go": grpc_go,
    "grpc-js": grpc_js,
    "grpc-java": grpc_java,
    "tonic": lambda _: rust("tonic"),
}


def hop_command(runtime, folder):
    """What starts a hop; what has to be compiled for it is, into the folder if it is not kept."""
    return HOPS.get(runtime) or (COMPILED | GRPC)[runtime](folder)


def start_hop(processes, command, *arguments, **options):
    hop = start([*command, *map(str, arguments)], stdout=subprocess.PIPE, **options)
    processes.append(hop)
    place = hop.stdout.readline().strip()
    if not place:
        raise RuntimeError(f"{command} does not start")
    return f"http://127.0.0.1:{place}" if place.isdigit() else f"unix:{place}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    """Until something listens there."""
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def start_nginx(processes, folder, upstream):
    """nginx before this upstream; gives the URL that leads through it."""
    port = free_port()
    folder = Path(folder) / str(port)
    folder.mkdir()
    values = {"PORT": str(port), "UPSTREAM": upstream.removeprefix("http://"), "FOLDER": str(folder)}
    text = (HERE / "nginx.conf.in").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    (folder / "nginx.conf").write_text(text)
    processes.append(start(["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]))
    wait_for(port)
    return f"http://127.0.0.1:{port}/via"


def jobs(processes, asking, total):
    """The load on a hop that speaks gRPC; gives its exit status."""
    processes.append(start([*map(str, asking)], stdout=subprocess.PIPE))
    told, _ = processes[-1].communicate()
    print(told.strip(), flush=True)
    return 1 if echoes.mistakes(told, "Job", total) else 0


def stop(processes):
    # From the first hop to the last, so that none finds the one it calls gone.
    for process in reversed(processes):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--truth", required=True, metavar="FILE")
    parser.add_argument("--hops", type=int, default=3)
    parser.add_argument("--total", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--client", choices=paths.CLIENTS, default="thread")
    parser.add_argument("--calls", type=int, default=1, help="calls that the second hop makes for each request")
    parser.add_argument("--late", type=int, default=0, help="calls that hops make after each answer")
    parser.add_argument("--order", choices=["sequential", "nested"], default="sequential")
    parser.add_argument("--think-ms", type=float, default=0)
    parser.add_argument("--jitter-ms", type=float, default=0)
    parser.add_argument("--settle-ms", type=float, default=0, help="time between the start of the hops and the first request")
    parser.add_argument("--via-nginx", action="store_true")
    parser.add_argument("--runtime", choices=[*HOPS, *COMPILED, *GRPC], default="threads", help="what the hops are written in")
    parser.add_argument("--request-ids", action="store_true", help="every call of a Python client has one of its own")
    parser.add_argument("--unix", action="store_true", help="the hops listen on Unix sockets")
    parser.add_argument("--run", default="r")
    options, of_hops = parser.parse_known_args()
    if options.runtime in GRPC and (options.late or options.unix):
        parser.error(f"--runtime {options.runtime} takes neither --late nor --unix")
    if options.request_ids:
        os.environ["REQUEST_IDS"] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    processes = []
    with tempfile.TemporaryDirectory(prefix="workload-") as folder:
        try:
            url, command = None, hop_command(options.runtime, folder)
            for hop in reversed(range(options.hops)):
                arguments = ["--client", options.client, "--order", options.order]
                arguments += ["--think-ms", options.think_ms, "--jitter-ms", options.jitter_ms]
                arguments += ["--calls", options.calls if hop == 1 else 1, "--late", options.late, *of_hops]
                if options.unix:
                    arguments += ["--unix", Path(folder) / f"{hop}.sock"]
                url = start_hop(processes, command, *arguments, *(["--next", url] if url else []))
                if options.via_nginx:
                    url = start_nginx(processes, folder, url)
            time.sleep(options.settle_ms / 1000)
            load = ["--total", options.total, "--in-flight", options.in_flight, "--client", options.client]
            load += ["--truth", options.truth, "--run", options.run]
            if options.runtime in GRPC:
                status = jobs(processes, [*command, "--ask", url, "--methods", "Job", *load], options.total)
            else:
                processes.append(start(python("load.py", url, *load)))
                status = processes[-1].wait()
            if options.late:
                time.sleep(LATE_SECONDS)
        finally:
            stop(processes)
    sys.exit(status)


if __name__ == "__main__":
    main()
