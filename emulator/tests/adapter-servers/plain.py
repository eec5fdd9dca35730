"""The same in Flask."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/", defaults={"path": ""})
@app.get("/<path:path>")
def greet(path):
    return "hello"


@app.post("/<path:path>")
def echo(path):
    return request.get_data()
