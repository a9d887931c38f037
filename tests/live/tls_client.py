"""Asks over TLS on one connection that is kept.

    tls_client.py CERT URL PATH …           a GET of each path; after `-` it waits for a line of its input
    tls_client.py CERT URL --post N PATH …  a POST of N bytes of each path
"""

import http.client
import ssl
import sys
import urllib.parse

certificate, url, *paths = sys.argv[1:]
body = None
if paths[0] == "--post":
    body = b"x" * int(paths[1])
    paths = paths[2:]
address = urllib.parse.urlsplit(url)
context = ssl.create_default_context(cafile=certificate)
connection = http.client.HTTPSConnection(address.hostname, address.port, context=context)
for path in paths:
    if path == "-":
        print("waits", flush=True)
        sys.stdin.readline()
        continue
    connection.request("POST" if body else "GET", path, body=body)
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        sys.exit(f"{path} is answered with {response.status}")
