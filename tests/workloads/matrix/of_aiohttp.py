"""A server of WebSocket over TLS in aiohttp, or a client in it, no tracing.

    of_aiohttp.py serve CERTIFICATE KEY TLS websocket
    of_aiohttp.py ask aiohttp URL CERTIFICATE websocket METHOD PATH …

As matrix.py says.
"""

import asyncio
import socket
import ssl
import sys
from pathlib import Path

import aiohttp
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hops
import matrix


async def echo(request):
    connection = web.WebSocketResponse(compress=False)
    await connection.prepare(request)
    async for message in connection:
        await connection.send_str(message.data)
    return connection


async def serve(certificate, key, tls, _):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{tls.replace('.', '_')}"]
    listener = socket.create_server(("127.0.0.1", 0))
    application = web.Application()
    application.router.add_get("/{path:.*}", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=context).start()
    print(listener.getsockname()[1], flush=True)
    await hops.termination()
    await runner.cleanup()


async def ask(_, url, certificate, __, *words):
    trusting = ssl.create_default_context(cafile=certificate)
    statuses = []

    async def note(_session, _context, told):
        statuses.append(told.response.status)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_end.append(note)
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[tracing]) as session:
        for method, path in zip(words[::2], words[1::2]):
            async with session.ws_connect(url + path) as connection:
                for message in matrix.messages(path):
                    await connection.send_str(message)
                    assert await connection.receive_str() == message
            print(method, path, statuses.pop(), "1.1", flush=True)


act, *words = sys.argv[1:]
if act == "ask":
    sys.stdin.readline()
asyncio.run(serve(*words) if act == "serve" else ask(*words))
