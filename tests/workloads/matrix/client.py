"""Clients of HTTPS in Python: requests, httpx and aiohttp, no tracing.

    client.py ask requests|httpx|aiohttp URL CERTIFICATE HTTP METHOD PATH …

As matrix.py says.
"""

import asyncio
import ssl
import sys

BODY = b"X" * 3000


def body(method):
    return BODY if method == "POST" else None


def by_requests(url, certificate, _, requests_to_make):
    import requests

    versions = {11: "1.1"}
    with requests.Session() as session:
        # Else what its environment says is trusted instead.
        session.trust_env = False
        session.verify = certificate
        for method, path in requests_to_make:
            answer = session.request(method, url + path, data=body(method))
            yield method, path, answer.status_code, versions[answer.raw.version]


def by_httpx(url, certificate, http, requests_to_make):
    import httpx

    trusting = ssl.create_default_context(cafile=certificate)
    with httpx.Client(verify=trusting, http1=http != "2", http2=http == "2", base_url=url) as client:
        for method, path in requests_to_make:
            answer = client.request(method, path, content=body(method))
            yield method, path, answer.status_code, answer.http_version.removeprefix("HTTP/")


def by_aiohttp(url, certificate, _, requests_to_make):
    import aiohttp

    trusting = ssl.create_default_context(cafile=certificate)

    async def ask():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            told = []
            for method, path in requests_to_make:
                async with session.request(method, url + path, data=body(method)) as answer:
                    await answer.read()
                    version = f"{answer.version.major}.{answer.version.minor}"
                    told.append((method, path, answer.status, version))
            return told

    return asyncio.run(ask())


BY = {"requests": by_requests, "httpx": by_httpx, "aiohttp": by_aiohttp}
_, name, url, certificate, http, *words = sys.argv[1:]
sys.stdin.readline()
for told in BY[name](url, certificate, http, list(zip(words[::2], words[1::2]))):
    print(*told, flush=True)
