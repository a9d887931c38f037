"""A server of HTTPS, and clients of it one after another, each of a kind of its own, no tracing.

    matrix.py --server nginx --tls 1.3 --http 2 --clients curl,httpx [--rounds 3] [--told FILE]

Each client makes so many rounds of requests: `GET /CLIENT/ROUND/STATUS` with 200, 404 and 500, and
`POST /CLIENT/ROUND/201` with a body of 3,000 bytes. The server answers with the status that the path ends with; it
speaks this version of TLS alone, and of HTTP this alone (nginx and 2: also 1.1). Prints a line of JSON for each
client: what it was answered, `METHOD PATH STATUS VERSION` of each request, or what failed. Everything it starts has
ended when it ends. Programs that are compiled are in `target/matrix`: `cargo xtask matrix` does that.

With `--http websocket`, which servers and clients of their own speak, each round is `GET /CLIENT/ROUND/101` alone, which turns
the connection to WebSocket: the client sends each of `messages` there once the one before it has come back, and closes.

A server is started as `PROGRAM serve CERTIFICATE KEY TLS HTTP` and prints its port; a client as
`PROGRAM ask CLIENT URL CERTIFICATE HTTP METHOD PATH …`, and waits for a line of its input before the first request.
A program that has TLS inside is attached to when it is first run, and the kernel takes its time: with `--told`, where
the agent's own lines are, nothing is asked of it or by it before it is told there that it is.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[2] / "target"
PROGRAMS = TARGET / "matrix"
sys.path.insert(0, str(HERE.parent))

import chain

BODY_BYTES = 3000
SECONDS = 60
HAVE_TLS_INSIDE = ["node", "node-https", "node-http2", "node-fetch", "go", "ws", "gorilla", "coder"]


def node(script):
    return lambda _: ["node", str(HERE / script)]


def node_of_one_tls(script):
    return lambda options: [
        "node",
        f"--tls-min-v{options.tls}",
        f"--tls-max-v{options.tls}",
        str(HERE / script),
    ]


def compiled(name):
    return lambda _: [str(PROGRAMS / name)]


def java(_):
    return ["java", "-cp", str(PROGRAMS), "Matrix"]


def reqwest(_):
    return [str(PROGRAMS / "reqwest/release/matrix-reqwest")]


def python(name):
    return lambda _: [sys.executable, str(HERE / name)]


SERVERS = {
    "node": node_of_one_tls("matrix.js"),
    "go": compiled("go"),
    "python": python("server.py"),
    "hypercorn": python("of_hypercorn.py"),
    "java": java,
    "ws": node_of_one_tls("ws.js"),
    "websockets": python("of_websockets.py"),
    "aiohttp": python("of_aiohttp.py"),
    "gorilla": compiled("websocket"),
}
CLIENTS = {
    "requests": python("client.py"),
    "httpx": python("client.py"),
    "aiohttp": python("client.py"),
    "node-https": node("matrix.js"),
    "node-http2": node("matrix.js"),
    "node-fetch": node("matrix.js"),
    "go": compiled("go"),
    "java": java,
    "reqwest-native-tls": reqwest,
    "reqwest-rustls": reqwest,
}
CLIENTS_OF_WEBSOCKET = {
    "ws": node("ws.js"),
    "websockets": python("of_websockets.py"),
    "aiohttp": python("of_aiohttp.py"),
    "gorilla": compiled("websocket"),
    "coder": compiled("websocket"),
}


def start_nginx(processes, options, folder):
    port = chain.free_port()
    text = (HERE / "nginx.conf.in").read_text()
    values = {"LISTEN": f"127.0.0.1:{port} ssl" + (" http2" if options.http == "2" else ""), "TLS": options.tls}
    for name, value in (values | {"FOLDER": str(folder)}).items():
        text = text.replace(f"@{name}@", value)
    (folder / "nginx.conf").write_text(text)
    processes.append(chain.start(["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]))
    chain.wait_for(port)
    return port


def start_server(processes, options, folder):
    if options.server == "nginx":
        return start_nginx(processes, options, folder)
    words = ["serve", folder / "certificate.pem", folder / "key.pem", options.tls, options.http]
    url = chain.start_hop(processes, SERVERS[options.server](options), *words)
    wait_until_seen(options, options.server, processes[-1])
    return url.rpartition(":")[2]


def wait_until_seen(options, name, process):
    if not options.told or name not in HAVE_TLS_INSIDE:
        return
    said = f"what goes through {os.readlink(f'/proc/{process.pid}/exe')} is seen from now on"
    end = time.monotonic() + SECONDS
    while said not in options.told.read_text():
        if time.monotonic() > end:
            raise RuntimeError(f"{name} is not attached to")
        time.sleep(0.05)


def make_certificate(folder):
    """For loopback, trusted by itself; rustls takes none that may sign others."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    command += ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def plan(options, client):
    kinds = [("GET", 200), ("GET", 404), ("POST", 201), ("GET", 500)]
    if options.http == "websocket":
        kinds = [("GET", 101)]
    for number in range(options.rounds):
        for method, status in kinds:
            yield method, f"/{client}/{number}/{status}"


def messages(path):
    """Two of them look like what the connection spoke before; what a server sends back is on the wire as it is."""
    request = f"GET {path}/within HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return ["hello", request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "X" * 100_000]


def curl(options, url, folder, requests):
    (folder / "upload").write_bytes(b"X" * BODY_BYTES)
    command = ["curl"]
    for method, path in requests:
        command += ["--next", "--silent", "--show-error", "--output", "/dev/null", f"--http{options.http}"]
        command += ["--cacert", str(folder / "certificate.pem")]
        command += ["--write-out", f"%{{method}} {path} %{{http_code}} %{{http_version}}\\n"]
        command += ["--data-binary", f"@{folder}/upload"] if method == "POST" else []
        command += [url + path]
    command.remove("--next")
    return command


def ask(processes, options, client, url, folder):
    requests = list(plan(options, client))
    if client == "curl":
        command = curl(options, url, folder, requests)
    else:
        name = client.removeprefix("reqwest-")
        clients = CLIENTS_OF_WEBSOCKET if options.http == "websocket" else CLIENTS
        command = [*clients[client](options), "ask", name, url, str(folder / "certificate.pem"), options.http]
        command += [word for request in requests for word in request]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes.append(chain.start(command, **pipes))
    wait_until_seen(options, client, processes[-1])
    try:
        told, errors = processes[-1].communicate("\n", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in {SECONDS} s"}
    version = "1.1" if options.http == "websocket" else options.http
    expected = [f"{method} {path} {path.rpartition('/')[2]} {version}" for method, path in requests]
    if processes[-1].returncode != 0 or told.splitlines() != expected:
        return {"failed": f"ended with {processes[-1].returncode}: {told}{errors}"}
    return {"answered": expected}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=["nginx", *SERVERS], required=True)
    parser.add_argument("--clients", required=True, help="curl, " + ", ".join(CLIENTS | CLIENTS_OF_WEBSOCKET))
    parser.add_argument("--tls", choices=["1.2", "1.3"], required=True)
    parser.add_argument("--http", choices=["1.1", "2", "websocket"], required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--told", type=Path, metavar="FILE", help="what the agent says")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    processes = []
    with tempfile.TemporaryDirectory(prefix="workload-") as folder:
        folder = Path(folder)
        # Processes that have given up root's rights read it.
        folder.chmod(0o755)
        make_certificate(folder)
        try:
            # What fetch trusts.
            os.environ["NODE_EXTRA_CA_CERTS"] = str(folder / "certificate.pem")
            os.environ["NODE_PATH"] = str(TARGET / "matrix-ws/node_modules")
            url = f"https://127.0.0.1:{start_server(processes, options, folder)}"
            for client in options.clients.split(","):
                print(json.dumps({"client": client} | ask(processes, options, client, url, folder)), flush=True)
        finally:
            chain.stop(processes)


if __name__ == "__main__":
    main()
