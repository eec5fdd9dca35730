# Calls a function through the official Python client, unmodified. Prints one line for each step.
import base64
import sys
import time

from alibabacloud_fc20230330.client import Client
from alibabacloud_fc20230330 import models
from alibabacloud_tea_openapi.models import Config
from darabonba.runtime import RuntimeOptions

# The client's own limits are shorter than a start on a busy machine.
RUNTIME = RuntimeOptions(read_timeout=60000, connect_timeout=60000)
endpoint, key_id, secret = sys.argv[1:]
config = Config(endpoint=endpoint, protocol="HTTP", access_key_id=key_id, access_key_secret=secret)
client = Client(config)


def show(step, **values):
    print(step, *(f"{name}={value}" for name, value in values.items()), flush=True)


def invoke(body, **fields):
    request = models.InvokeFunctionRequest(body=body)
    headers = models.InvokeFunctionHeaders(**fields)
    return client.invoke_function_with_options("function", request, headers, RUNTIME)


answer = invoke(b'{"a": 1}', x_fc_log_type="Tail")
log = base64.b64decode(answer.headers["x-fc-log-result"]).decode()
show("sync", status=answer.status_code, body=answer.body.read(), log="Invoke Start" in log and "8 bytes" in log)
answer = invoke(b'{"fails": 9}')
kind = answer.headers.get("x-fc-error-type")
show("failed", status=answer.status_code, type=kind, body=b"not yet" in answer.body.read())
answer = invoke(b'{"fails": 2}', x_fc_invocation_type="Async", x_fc_async_task_id="from-python")
show("async", status=answer.status_code)
task = None
for _ in range(600):
    request = models.GetAsyncTaskRequest()
    task = client.get_async_task_with_options("function", "from-python", request, {}, RUNTIME).body
    if task.status == "Succeeded":
        break
    time.sleep(0.1)
show("task", status=task.status, retries=task.already_retried_times, payload=task.task_payload)
request = models.ListAsyncTasksRequest(include_payload=True)
tasks = client.list_async_tasks_with_options("function", request, {}, RUNTIME)
show("list", count=len(tasks.body.tasks))
invoke(b'{"sleep": 600}', x_fc_invocation_type="Async", x_fc_async_task_id="endless")
client.stop_async_task_with_options("function", "endless", models.StopAsyncTaskRequest(), {}, RUNTIME)
for _ in range(600):
    task = client.get_async_task_with_options("function", "endless", models.GetAsyncTaskRequest(), {}, RUNTIME).body
    if task.status == "Stopped":
        break
    time.sleep(0.1)
show("stopped", status=task.status)
for step, name in [("unknown", "nobody"), ("unknown-blank", "no body")]:
    try:
        client.invoke_function_with_options(
            name, models.InvokeFunctionRequest(body=b""), models.InvokeFunctionHeaders(), RUNTIME)
    except Exception as error:
        show(step, code=error.code, request=bool(error.request_id))
wrong = Client(Config(endpoint=endpoint, protocol="HTTP", access_key_id=key_id, access_key_secret="wrong"))
try:
    wrong.invoke_function_with_options(
        "function", models.InvokeFunctionRequest(body=b""), models.InvokeFunctionHeaders(), RUNTIME)
    show("denied", code=None)
except Exception as error:
    show("denied", code=error.code)
