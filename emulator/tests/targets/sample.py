"""A custom container with the standard library of Python, written like the sample of the documentation.

`sample.py` is that sample as people deploy it. `sample.py --fixed` keeps every rule.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

FIXED = "--fixed" in sys.argv


class Handler(BaseHTTPRequestHandler):
    if FIXED:
        protocol_version = "HTTP/1.1"

    def do_POST(self):
        rid = self.headers.get("x-fc-request-id")
        length = int(self.headers.get("content-length") or 0)
        event = self.rfile.read(length)
        if self.is_call("/initialize"):
            print("FC Initialize Start RequestId: " + str(rid), flush=FIXED)
            # do your things
            print("FC Initialize End RequestId: " + str(rid), flush=FIXED)
            self.reply(b"OK")
        elif self.is_call("/invoke"):
            print("FC Invoke Start RequestId: " + str(rid), flush=FIXED)
            # do your things
            print("FC Invoke End RequestId: " + str(rid), flush=FIXED)
            self.reply(event)
        else:
            self.reply(b"no such path", 404)

    def do_GET(self):
        rid = self.headers.get("x-fc-request-id")
        for path, word in (("/pre-freeze", "PreFreeze"), ("/pre-stop", "PreStop")):
            if self.is_call(path):
                print("FC " + word + " Start RequestId: " + str(rid), flush=FIXED)
                # do your things
                print("FC " + word + " End RequestId: " + str(rid), flush=FIXED)
                self.reply(b"OK")
                return
        self.reply(b"Hello", 200 if self.path == "/" or not FIXED else 404)

    def is_call(self, path):
        control_path = self.headers.get("x-fc-control-path")
        return control_path == path if FIXED and control_path else self.path == path

    def reply(self, body, status=200):
        self.send_response(status)
        if FIXED:
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-fc-status", "200" if status < 400 else "404")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if not FIXED:
            super().log_message(format, *args)


def main():
    port = int(os.environ.get("FC_CUSTOM_LISTEN_PORT") or os.environ.get("FC_SERVER_PORT") or 9000)
    kind = ThreadingHTTPServer if FIXED else HTTPServer
    server = kind(("0.0.0.0", port), Handler)
    if FIXED:
        server.handle_error = lambda *_: None
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever()


main()
