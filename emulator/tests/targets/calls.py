# A function that notes each call in the file CALLS_FILE, and does what the event says: {"fails": 2} fails until it is
# tried for the third time, {"sleep": 60} takes a minute, {"exit": 3} ends the instance. It answers with the event.
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CALLS = os.open(os.environ.get("CALLS_FILE", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def call(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path in ("/initialize", "/pre-freeze", "/pre-stop"):
            return self.answer(200, b"")
        request = self.headers.get("x-fc-request-id")
        retries = self.headers.get("x-fc-retry-count") or "0"
        print(f"FC Invoke Start RequestId: {request}", flush=True)
        os.write(CALLS, retries.encode() + b" " + body + b"\n")
        try:
            event = json.loads(body)
        except ValueError:
            event = {}
        if not isinstance(event, dict):
            event = {}
        print("the event has", len(body), "bytes", flush=True)
        if "exit" in event:
            os._exit(event["exit"])
        time.sleep(event.get("sleep", 0))
        failed = int(retries) < event.get("fails", 0)
        error = ", Error: Unhandled function error" if failed else ""
        print(f"FC Invoke End RequestId: {request}{error}", flush=True)
        if failed:
            self.answer(404, b'{"errorMessage": "not yet", "errorType": "Early"}')
        else:
            self.answer(200, body)

    do_GET = do_POST = do_PUT = call

    def answer(self, status, body):
        # The head and the body in one packet.
        head = f"HTTP/1.1 {status} .\r\nx-fc-status: {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


sys.stdout.reconfigure(line_buffering=True)
Server(("0.0.0.0", int(os.environ["FC_CUSTOM_LISTEN_PORT"])), Handler).serve_forever()
