"""Peer: Python's http.server, a thread for each connection."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ECHO = os.environ.get("ECHO") == "whole"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = body if ECHO else b"ready"
        self.send_response_only(200)  # without Server and Date
        self.send_header("x-fc-status", "200")
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("FC_SERVER_PORT", 9000))), Handler).serve_forever()
