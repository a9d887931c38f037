"""Requests with a secret in every place that one can be in, over HTTP/1, HTTP/2 and gRPC, in cleartext and in TLS.

    canary.py PLACES CERTIFICATE,KEY [ANYTHING…]

PLACES is a file of JSON: the secret for each place, by its name. A name that is asked for and not in it is an error, and so is one in
it that nothing asks for. CERTIFICATE names the files of a certificate and of its key. Both ends of each conversation are in this process.
"""

import json
import socket
import ssl
import sys
import threading

import h2.config
import h2.connection
import h2.events

with open(sys.argv[1]) as file:
    PLACES = json.load(file)
CERTIFICATE, KEY = sys.argv[2].split(",")
ASKED = set()
CRLF = "\r\n"


def s(place):
    ASKED.add(place)
    return PLACES[place]


def message(*lines, body=""):
    return (CRLF.join([*lines, "", ""]) + body).encode()


def conversations():
    """What is asked and what is answered, in turns."""
    path = (
        f"/items/{s('plain id')}/reset/{s('path hex')}/{s('path base64')}/{s('path jwt')}/{s('path issued')}"
        f"/{s('path mail')}/{s('path mail encoded')}/{s('path mail twice encoded')}/{s('path card')}"
        f"/user={s('path value')};jsessionid={s('path parameter')};{s('path bare parameter')}"
    )
    query = f"plainkey={s('query value')}&{s('query bare')}&a={s('query more')}&{s('query key')}=1"
    headers = [
        "Host: shop.example",
        f"Authorization: Bearer {s('authorization')}",
        f"Proxy-Authorization: Basic {s('proxy authorization')}",
        f"Cookie: sid={s('cookie')}; theme={s('cookie more')}",
        f"X-Api-Key: {s('api key')}",
        f"X-Own: {s('own header')}",
        f"X-{s('header name')}: 1",
        f"Referer: https://me:{s('referer password')}@shop.example/r/{s('referer path')}?k={s('referer query')}#{s('referer fragment')}",
        f"X-Folded: a{CRLF} {s('folded header')}",
    ]
    answered = [
        f"Set-Cookie: sid={s('set-cookie')}; Path=/{s('cookie path')}",
        f"Location: /next/{s('location path')}?t={s('location query')}",
        f"X-Answer: {s('answer header')}",
        f'WWW-Authenticate: Basic realm="{s("realm")}"',
    ]
    asked_body, answer_body = f"password={s('body')}", json.dumps({"token": s("answer body")})
    yield (
        message(
            f"POST {path}?{query}#{s('fragment')} HTTP/1.1",
            *headers,
            f"Content-Length: {len(asked_body)}",
            body=asked_body,
        ),
        message(
            f"HTTP/1.1 200 {s('reason')}",
            *answered,
            f"Content-Length: {len(answer_body)}",
            body=answer_body,
        ),
        message(
            f"GET http://{s('user')}:{s('password')}@shop.example/items/1/{s('absolute path')}?{s('absolute query')} HTTP/1.1",
            "Host: shop.example",
        ),
        message("HTTP/1.1 404 Not Found", "Content-Length: 0"),
        message(
            "PUT /items/2 HTTP/1.1",
            "Host: shop.example",
            "Transfer-Encoding: chunked",
            body=f"5;x={s('chunk extension')}{CRLF}hello{CRLF}20{CRLF}{s('chunk')}{CRLF}0{CRLF}X-Trailer: {s('trailer')}{CRLF}{CRLF}",
        ),
        message(
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: chunked",
            body=f"20;y={s('answer chunk extension')}{CRLF}{s('answer chunk')}{CRLF}0{CRLF}X-Trailer: {s('answer trailer')}{CRLF}{CRLF}",
        ),
    )
    yield (
        message(
            f"GET /ws/{s('upgrade path')} HTTP/1.1",
            "Host: shop.example",
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Key: {s('websocket key')}",
            f"Sec-WebSocket-Protocol: token, {s('websocket protocol')}",
        ),
        message("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"),
        s("upgraded payload").encode(),
        s("upgraded answer").encode(),
    )
    yield (
        message(f"CONNECT me:{s('connect password')}@shop.example:443 HTTP/1.1", "Host: shop.example"),
        message("HTTP/1.1 200 OK"),
        s("tunnel payload").encode(),
        s("tunnel answer").encode(),
    )
    yield (
        message(f"GET /broken {s('start line')} HTTP/1.1", "Host: shop.example", s("line")),
        message("HTTP/1.1 400 Bad Request", "Content-Length: 0", s("answer line")),
    )


def read(sock, count):
    while count > 0:
        count -= len(sock.recv(count))


def connect(covered):
    """Both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    if not covered:
        return client, accepted
    ends = []
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(CERTIFICATE, KEY)
    thread = threading.Thread(target=lambda: ends.append(of_server.wrap_socket(accepted, server_side=True)))
    thread.start()
    of_client = ssl.create_default_context()
    of_client.check_hostname, of_client.verify_mode = False, ssl.CERT_NONE
    client = of_client.wrap_socket(client)
    thread.join()
    return client, ends[0]


def converse(covered, turns):
    client, server = connect(covered)
    ends = [(client, server), (server, client)]
    for turn, text in enumerate(turns):
        sender, receiver = ends[turn % 2]
        thread = threading.Thread(target=read, args=(receiver, len(text)))
        thread.start()
        sender.sendall(text)
        thread.join()
    client.close()
    server.close()


def deliver(sender, receiver, of_sender, of_receiver):
    data = of_sender.data_to_send()
    thread = threading.Thread(target=read, args=(receiver, len(data)))
    thread.start()
    sender.sendall(data)
    thread.join()
    return of_receiver.receive_data(data)


def converse_in_http2(covered, streams):
    client, server = connect(covered)
    asker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, validate_outbound_headers=False))
    answerer = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, validate_inbound_headers=False, validate_outbound_headers=False)
    )
    asker.initiate_connection()
    answerer.initiate_connection()
    deliver(client, server, asker, answerer)
    deliver(server, client, answerer, asker)
    for headers, body, trailers, answer, answer_body, answer_trailers in streams:
        stream = asker.get_next_available_stream_id()
        asker.send_headers(stream, headers)
        asker.send_data(stream, body, end_stream=not trailers)
        if trailers:
            asker.send_headers(stream, trailers, end_stream=True)
        deliver(client, server, asker, answerer)
        answerer.send_headers(stream, answer)
        answerer.send_data(stream, answer_body, end_stream=not answer_trailers)
        if answer_trailers:
            answerer.send_headers(stream, answer_trailers, end_stream=True)
        deliver(server, client, answerer, asker)
    client.close()
    server.close()


def streams():
    answer = [(":status", "200"), ("set-cookie", f"sid={s('h2 set-cookie')}"), ("x-answer", s("h2 answer header"))]
    yield (
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "shop.example"),
            (
                ":path",
                f"/items/{s('plain id')}/{s('h2 path hex')}/{s('h2 path mail')}/{s('h2 path card')}/k={s('h2 path value')}"
                f"?plainkey={s('h2 query value')}&{s('h2 query bare')}",
            ),
            ("authorization", f"Bearer {s('h2 authorization')}"),
            ("cookie", f"sid={s('h2 cookie')}"),
            ("x-own", s("h2 own header")),
            (f"x-{s('h2 header name')}", "1"),
            ("referer", f"/r/{s('h2 referer path')}"),
        ],
        s("h2 body").encode(),
        [("x-trailer", s("h2 trailer"))],
        answer,
        s("h2 answer body").encode(),
        [("x-trailer", s("h2 answer trailer"))],
    )
    yield (
        [(":method", "GET"), (":scheme", "http"), (":authority", f"me:{s('h2 userinfo')}@shop.example"), (":path", "/items/3")],
        b"",
        [],
        [(":status", "200")],
        b"",
        [],
    )


def calls():
    for path in [f"/shop.Cart/Add", f"/reset/{s('grpc path')}"]:
        yield (
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "shop.example"),
                (":path", path),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
                ("authorization", s("grpc authorization")),
                ("x-own", s("grpc metadata")),
                ("x-own-bin", s("grpc metadata in base64")),
            ],
            b"\0\0\0\0\x20" + s("grpc message").encode(),
            [],
            [(":status", "200"), ("content-type", "application/grpc"), ("x-answer", s("grpc initial metadata"))],
            b"\0\0\0\0\x20" + s("grpc answer").encode(),
            [("grpc-status", "3"), ("grpc-message", s("grpc status message")), ("x-own", s("grpc trailing metadata"))],
        )


for covered in [False, True]:
    for turns in conversations():
        converse(covered, turns)
    converse_in_http2(covered, streams())
    converse_in_http2(covered, calls())
left = set(PLACES) - ASKED - set(PLACES["of the process"].split(",")) - {"of the process"}
assert not left, left
