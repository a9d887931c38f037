"""A server of WebSocket over TLS in the package websockets, on asyncio, or a client in it, no tracing.

    of_websockets.py serve CERTIFICATE KEY TLS websocket
    of_websockets.py ask websockets URL CERTIFICATE websocket METHOD PATH …

As matrix.py says.
"""

import asyncio
import socket
import ssl
import sys
from pathlib import Path

import websockets

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hops
import matrix


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def serve(certificate, key, tls, _):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{tls.replace('.', '_')}"]
    listener = socket.create_server(("127.0.0.1", 0))
    async with websockets.serve(echo, sock=listener, ssl=context, compression=None):
        print(listener.getsockname()[1], flush=True)
        await hops.termination()


async def ask(_, url, certificate, __, *words):
    trusting = ssl.create_default_context(cafile=certificate)
    for method, path in zip(words[::2], words[1::2]):
        address = url.replace("https:", "wss:") + path
        async with websockets.connect(address, ssl=trusting, compression=None, proxy=None) as connection:
            for message in matrix.messages(path):
                await connection.send(message)
                assert await connection.recv() == message
        print(method, path, connection.response.status_code, "1.1", flush=True)


act, *words = sys.argv[1:]
if act == "ask":
    sys.stdin.readline()
asyncio.run(serve(*words) if act == "serve" else ask(*words))
