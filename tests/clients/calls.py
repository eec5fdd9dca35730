"""Python requests: a session with kept connections, a body that is streamed, and methods."""

import sys

import requests

base = sys.argv[1]
with requests.Session() as session:
    for call in range(20):
        reply = session.post(f"{base}/echo", data=f"call {call}")
        assert (reply.status_code, reply.text, reply.headers["x-fc-status"]) == (200, f"call {call}", "200"), reply
    large = b"z" * 3_000_000
    assert session.post(f"{base}/echo", data=large).content == large
    assert session.put(f"{base}/echo", data=iter([b"one", b"two"])).content == b"onetwo"
    assert session.head(base).headers["x-method"] == "HEAD"
    assert session.delete(f"{base}/x?y=z").text == "DELETE /x?y=z"
print("all calls are right")
