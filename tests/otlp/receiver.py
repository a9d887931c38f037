"""An OTLP receiver that nobody here wrote the messages of: gRPC and HTTP/protobuf, gzip or not.

Prints `grpc PORT http PORT` when it listens, then one line of JSON a request: how it came, and the
message as the official protobuf package prints it. Ends with its standard input.
"""

import base64
import gzip
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

OUTPUT = threading.Lock()


def report(way, request):
    message = json_format.MessageToDict(request, use_integers_for_enums=True)
    # proto3's own JSON mapping has ids in base64, OTLP/JSON in hex.
    for group in message.get("resourceSpans", []):
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                for part in [span, *span.get("links", [])]:
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in part:
                            part[key] = base64.b64decode(part[key]).hex()
    with OUTPUT:
        print(json.dumps({"way": way, "request": message}), flush=True)


class Grpc(service.TraceServiceServicer):
    def Export(self, request, context):
        report("grpc", request)
        return messages.ExportTraceServiceResponse()


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.body()
        encoding = self.headers.get("content-encoding", "")
        if encoding == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces", self.path
        assert self.headers["content-type"] == "application/x-protobuf"
        report(f"http {encoding}".strip(), messages.ExportTraceServiceRequest.FromString(body))
        answer = messages.ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def body(self):
        length = self.headers["content-length"]
        if length is not None:
            return self.rfile.read(int(length))
        assert self.headers["transfer-encoding"] == "chunked"
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        pass


def main():
    over_grpc = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    service.add_TraceServiceServicer_to_server(Grpc(), over_grpc)
    grpc_port = over_grpc.add_insecure_port("127.0.0.1:0")
    over_grpc.start()
    over_http = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    threading.Thread(target=over_http.serve_forever, daemon=True).start()
    print(f"grpc {grpc_port} http {over_http.server_port}", flush=True)
    sys.stdin.read()
    over_grpc.stop(None)


main()
