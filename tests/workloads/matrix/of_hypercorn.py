"""A server of HTTPS, or of WebSocket over TLS, in hypercorn, on asyncio, no tracing.

    of_hypercorn.py serve CERTIFICATE KEY TLS HTTP

As matrix.py says.
"""

import asyncio
import socket
import ssl
import sys
from pathlib import Path

import hypercorn.asyncio
import hypercorn.config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hops


class Config(hypercorn.config.Config):
    tls = None

    def create_ssl_context(self):
        context = super().create_ssl_context()
        context.minimum_version = context.maximum_version = self.tls
        return context


async def echo(receive, send):
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": event["text"]})


async def answer(scope, receive, send):
    if scope["type"] == "websocket":
        await echo(receive, send)
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    status = int(scope["path"].rpartition("/")[2])
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def serve(certificate, key, tls, http):
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = Config()
    # It closes what it is given.
    config.bind = [f"fd://{listener.detach()}"]
    config.certfile, config.keyfile = certificate, key
    config.tls = ssl.TLSVersion[f"TLSv{tls.replace('.', '_')}"]
    config.alpn_protocols = ["h2" if http == "2" else "http/1.1"]
    config.loglevel = "ERROR"
    await hypercorn.asyncio.serve(answer, config, shutdown_trigger=hops.termination)


asyncio.run(serve(*sys.argv[2:]))
