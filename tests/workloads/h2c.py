"""A server of cleartext HTTP/2 and a client of it, each of a kind of its own, no tracing.

    h2c.py --server nginx --client curl [--total 20] [--in-flight 1] [--header-bytes 0] [--body-bytes 1000]

The client makes so many requests of each kind: `GET /bytes/N`, whose answer has so many bytes, `POST /up`, which has as
many, and `GET /missing`; each carries a field `x-fill` of so many bytes. All share one connection, but for nghttp and
h2load, which have one for each kind, and curl, which has one for each request. Prints one line of JSON, how many requests
ended with which status; fails if it is not that of each kind. Everything it starts has ended when it ends.

Clients begin in HTTP/2, but for java and those that are called upgrade, which ask for it in HTTP/1.1. nghttpx is a proxy
before nghttpd.
"""

import argparse
import collections
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import chain

# Clients that begin in HTTP/1.1, and the servers that upgrade for them. To hypercorn java's first request has a body, if none
# of any length.
UPGRADES = {
    "curl-upgrade": ["hypercorn", "nghttpx"],
    "nghttp-upgrade": ["hypercorn", "nghttpx"],
    "java": ["nghttpx"],
}


def add_options(parser):
    """What a client takes."""
    parser.add_argument("--total", type=int, default=20, help="requests of each kind")
    parser.add_argument("--in-flight", type=int, default=1, help="requests at once")
    parser.add_argument("--header-bytes", type=int, default=0, help="of one field of each request")
    parser.add_argument("--body-bytes", type=int, default=1000, help="of each body, up and down, at least 1")


def go(folder):
    """It is compiled into the folder, unless H2C_GO says where it is."""
    built = os.environ.get("H2C_GO")
    if not built:
        built = Path(folder) / "h2c"
        subprocess.run(["go", "build", "-o", built, chain.HERE / "h2c.go"], check=True)
    return [str(built)]


def java(folder):
    subprocess.run(["javac", "-d", folder, chain.HERE / "H2c.java"], check=True)
    return ["java", "-cp", folder, "H2c"]


PROGRAMS = {
    "go": go,
    "node": lambda _: ["node", str(chain.HERE / "h2c.js")],
    "hypercorn": lambda _: chain.python("h2c_hypercorn.py"),
    "httpx": lambda _: chain.python("h2c_hypercorn.py"),
    "java": java,
}


def nginx(processes, folder, port):
    values = {"PORT": str(port), "FOLDER": str(folder)}
    text = (chain.HERE / "h2c.conf.in").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    (folder / "nginx.conf").write_text(text)
    processes.append(chain.start(["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]))


def nghttpd(processes, folder, port):
    # Where a file is asked for with a body, it is that body which is sent back.
    command = ["nghttpd", "--no-tls", "--address=127.0.0.1", "--htdocs", f"{folder}/files", "--echo-upload", str(port)]
    processes.append(chain.start(command))


def nghttpx(processes, folder, port):
    behind = chain.free_port()
    nghttpd(processes, folder, behind)
    chain.wait_for(behind)
    command = ["nghttpx", f"--frontend=127.0.0.1,{port};no-tls", f"--backend=127.0.0.1,{behind};;proto=h2"]
    command += ["--workers=1", "--single-process", "--no-ocsp", "--log-level=ERROR", "--accesslog-file=/dev/null"]
    command += ["--conf=/dev/null", "--request-header-field-buffer=262144"]
    processes.append(chain.start(command))


BY_PORT = {"nginx": nginx, "nghttpd": nghttpd, "nghttpx": nghttpx}


def start_server(processes, name, folder):
    if name in PROGRAMS:
        return chain.start_hop(processes, PROGRAMS[name](folder))
    port = chain.free_port()
    BY_PORT[name](processes, folder, port)
    chain.wait_for(port)
    return f"http://127.0.0.1:{port}"


def curl(url, options, folder):
    """One a request, since curl 7.88 fails at the second request of a connection that it begins in HTTP/2."""
    counts = collections.Counter()
    for method, path, data in kinds(options, folder) * options.total:
        told = yield ["curl", "--http2-prior-knowledge", *WRITE, *headers(options), *upload(data), url + path]
        counts.update(re.findall(ENDED, told, re.MULTILINE))
    return counts


def curl_upgrade(url, options, folder):
    """One curl, which begins each connection in HTTP/1.1 and keeps it."""
    requests = []
    for method, path, data in kinds(options, folder) * options.total:
        # What has a body does not upgrade: it finds a connection that has.
        requests += ["--next", "--http2", *WRITE, *headers(options), *upload(data), url + path]
    parallel = ["--parallel", "--parallel-max", str(options.in_flight)] if options.in_flight > 1 else []
    told = yield ["curl", *parallel, *requests[1:]]
    return collections.Counter(re.findall(ENDED, told, re.MULTILINE))


WRITE = ["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{method} %{http_code} %{http_version}\\n"]
# In HTTP/2.
ENDED = r"^(\w+ \d+) 2$"


def upload(data):
    return ["--data-binary", f"@{data}", "--header", "expect:"] if data else []


def headers(options):
    return ["--header", f"x-fill: {'X' * options.header_bytes}"] if options.header_bytes else []


def nghttp(url, options, folder, *how):
    """One nghttp a kind, which makes all its requests at once."""
    counts = collections.Counter()
    for method, path, data in kinds(options, folder):
        asked = ["--null-out", "--stat", f"--multiply={options.total}", *how, *headers(options), *body(data)]
        told = yield ["nghttp", *asked, url + path]
        statuses = re.findall(r"^ *\d+ .* (\d{3}) +\S+ /\S*$", told, re.MULTILINE)
        counts.update(f"{method} {status}" for status in statuses)
    return counts


def nghttp_upgrade(url, options, folder):
    return nghttp(url, options, folder, "--upgrade")


def h2load(url, options, folder):
    """One h2load a kind, which tells no more of a status than its first digit."""
    counts = collections.Counter()
    for method, path, data in kinds(options, folder):
        load = [f"--requests={options.total}", "--clients=1", f"--max-concurrent-streams={options.in_flight}"]
        told = yield ["h2load", *load, *headers(options), *body(data), url + path]
        for count, status in re.findall(r"(\d+) (\d)xx", told):
            if int(count):
                counts[f"{method} {'404' if status == '4' else status + '00'}"] += int(count)
    return counts


def kinds(options, folder):
    """Method, path, and what is sent."""
    return [
        ("GET", f"/bytes/{options.body_bytes}", None),
        ("POST", "/up", folder / "upload"),
        ("GET", "/missing", None),
    ]


def body(data):
    return [f"--data={data}"] if data else []


# Generators: of commands, each of which is answered with what it wrote, and at last of the counts.
COMMANDS = {
    "curl": curl,
    "curl-upgrade": curl_upgrade,
    "nghttp": nghttp,
    "nghttp-upgrade": nghttp_upgrade,
    "h2load": h2load,
}


def output(processes, command):
    processes.append(chain.start(command, stdout=subprocess.PIPE))
    told, _ = processes[-1].communicate()
    return told


def ask(processes, name, url, options, folder):
    """How many requests ended with which method and status."""
    if name in PROGRAMS:
        asked = ["--total", options.total, "--in-flight", options.in_flight]
        asked += ["--header-bytes", options.header_bytes, "--body-bytes", options.body_bytes]
        told = output(processes, [*PROGRAMS[name](folder), "--ask", url, *map(str, asked)])
        return json.loads(told or "{}")
    commands = COMMANDS[name](url, options, folder)
    told = None
    while True:
        try:
            told = output(processes, commands.send(told))
        except StopIteration as end:
            return dict(end.value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=[*BY_PORT, "node", "go", "hypercorn"], default="nginx")
    parser.add_argument("--client", choices=[*COMMANDS, "node", "go", "httpx", "java"], default="curl")
    add_options(parser)
    options = parser.parse_args()
    if options.server not in UPGRADES.get(options.client, [options.server]):
        parser.error(f"{options.server} does not upgrade, as {options.client} asks it to")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    processes = []
    with tempfile.TemporaryDirectory(prefix="workload-") as folder:
        folder = Path(folder)
        # Processes that have given up root's rights read it.
        folder.chmod(0o755)
        (folder / "files/bytes").mkdir(parents=True)
        for file in ("files/up", f"files/bytes/{options.body_bytes}", "upload"):
            (folder / file).write_bytes(b"X" * options.body_bytes)
        try:
            url = start_server(processes, options.server, folder)
            counts = ask(processes, options.client, url, options, folder)
        finally:
            chain.stop(processes)
    print(json.dumps(counts), flush=True)
    sys.exit(0 if counts == {kind: options.total for kind in ("GET 200", "POST 200", "GET 404")} else 1)


if __name__ == "__main__":
    main()
