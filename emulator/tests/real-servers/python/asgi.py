"""A function without a framework, for servers of ASGI: hooks, events that are echoed, and `GET /`."""

HOOKS = {"/initialize": "POST", "/pre-freeze": "GET", "/pre-stop": "GET"}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    method, path = scope["method"], scope["path"]
    # A client of an HTTP trigger must not reach the hooks.
    inside = dict(scope["headers"]).get(b"x-fc-control-path") != b"/http-invoke"
    status, body = 404, b"no such path"
    if inside and HOOKS.get(path) == method:
        status, body = 200, b"ok"
    elif inside and (method, path) == ("POST", "/invoke"):
        status, body = 200, b"".join(parts)
    elif (method, path) == ("GET", "/"):
        status, body = 200, b"hello"
    headers = [(b"content-length", str(len(body)).encode()), (b"x-fc-status", b"200" if status < 400 else b"404")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
