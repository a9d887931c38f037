"""HTTPS in an event loop, where TLS is done in memory: a server, and many connections to it at once.

    tls_loop.py [--uvloop] serve CERT,KEY                  prints its port, and serves until it is ended
    tls_loop.py [--uvloop] ask CERT PORT SETTLE TIMES CONNECTIONS EACH
                                                           waits so many seconds, and asks for so many paths on each of so many
                                                           connections, so many times
"""

import asyncio
import ssl
import sys


async def answer(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ", 2)[1]
            await asyncio.sleep(0.001)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


async def serve(both):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*both.split(","))
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def ask(context, port, connection, each):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    for request in range(each):
        path = b"/%b.%d" % (connection.encode(), request)
        writer.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(len(path))
        if not head.startswith(b"HTTP/1.1 200 ") or body != path:
            sys.exit(f"{path} is answered with {head + body}")
    writer.close()


async def main(act, *words):
    if act == "serve":
        return await serve(*words)
    certificate, *numbers = words
    port, settle, times, connections, each = map(int, numbers)
    await asyncio.sleep(settle)
    context = ssl.create_default_context(cafile=certificate)
    for time in range(times):
        await asyncio.gather(*(ask(context, port, f"{time}.{number}", each) for number in range(connections)))


words = sys.argv[1:]
if words[0] == "--uvloop":
    import uvloop

    uvloop.run(main(*words[1:]))
else:
    asyncio.run(main(*words))
