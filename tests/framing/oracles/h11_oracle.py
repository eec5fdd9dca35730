"""The verdicts of h11: reads cases from standard input, one in hexadecimal per line, and prints a line with the version
and a verdict for each case. `tests/framing/oracle.rs` describes the protocol.
"""

import sys

import h11


def verdict(case):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    # The input never ends, so an incomplete request waits, which is a verdict of its own.
    connection.receive_data(case)
    requests = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                # Only a request with a whole body counts as accepted.
                requests.append(":".join(part.hex() for part in (request.method, request.target, body)))
                # The status is 404, because 2xx would make CONNECT a tunnel.
                connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return requests + ["closed"]
                connection.start_next_cycle()
            else:
                return requests + ["waits"]
    except h11.RemoteProtocolError as error:
        return requests + [f"refused {error.error_status_hint}"]


print("h11", h11.__version__)
for line in sys.stdin:
    print(" ".join(verdict(bytes.fromhex(line))))
