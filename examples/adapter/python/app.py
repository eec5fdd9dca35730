"""A shop's stock, on Python's own HTTP server. It knows nothing of the platform: the hooks are plain requests.

Behind the adapter it is started by `fc-hooks -- python3 app.py`; see ../README.md.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

stock = {}
opened = 0


def connect():
    """Stands for a connection to a database, which is dead after a freeze."""
    global opened
    opened += 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, {"stock": stock, "connectionsOpened": opened})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/warm-up":  # FC_HOOKS_INITIALIZE
            connect()
            stock.update(apples=3, pears=5)
            self.answer(200, {"items": len(stock)})
        elif self.path == "/reconnect":  # FC_HOOKS_ON_THAW
            connect()
            print(f"frozen for at most {self.headers['x-fc-hooks-gap-ms']} ms", file=sys.stderr)
            self.answer(200, {})
        elif self.path == "/invoke":  # an event
            self.answer(*order(body))
        else:
            self.answer(404, {})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def order(event):
    try:
        item = json.loads(event)["item"]
    except (ValueError, KeyError, TypeError):
        return 200, {"stock": stock}
    if stock.get(item, 0) < 1:
        return 500, {"errorMessage": f"no {item} left", "errorType": "SoldOut"}
    stock[item] -= 1
    return 200, {"left": stock[item]}


def stop(*_):
    print("the shop is closed", file=sys.stderr)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
# The adapter says by PORT where to listen.
ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8000))), Handler).serve_forever()
