"""A function in Flask: hooks, events that are echoed, and `GET /`."""

from flask import Flask, Response, request

app = Flask(__name__)
HOOKS = {"/initialize": "POST", "/pre-freeze": "GET", "/pre-stop": "GET"}


def answer(body, status=200):
    return Response(body, status, {"x-fc-status": "200" if status < 400 else "404"})


@app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
@app.route("/<path:path>", methods=["GET", "POST"])
def serve(path):
    event = request.get_data()
    # A client of an HTTP trigger must not reach the hooks.
    inside = request.headers.get("x-fc-control-path") != "/http-invoke"
    if inside and HOOKS.get(request.path) == request.method:
        return answer("ok")
    if inside and (request.method, request.path) == ("POST", "/invoke"):
        return answer(event)
    return answer("hello") if (request.method, request.path) == ("GET", "/") else answer("no such path", 404)
