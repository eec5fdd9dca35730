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
request = models.PutAsyncInvokeConfigRequest(body=models.PutAsyncInvokeConfigInput(max_async_retry_attempts=5))
client.put_async_invoke_config_with_options("function", request, {}, RUNTIME)
config = client.get_async_invoke_config_with_options(
    "function", models.GetAsyncInvokeConfigRequest(), {}, RUNTIME).body
show("config", retries=config.max_async_retry_attempts, age=config.max_async_event_age_in_seconds)
client.delete_async_invoke_config_with_options("function", models.DeleteAsyncInvokeConfigRequest(), {}, RUNTIME)
request = models.CreateSessionRequest(body=models.CreateSessionInput(session_id="mine", session_ttlin_seconds=600))
session = client.create_session_with_options("function", request, {}, RUNTIME).body
show("session", id=session.session_id, status=session.session_status, kind=session.session_affinity_type)
answer = client.invoke_function_with_options(
    "function", models.InvokeFunctionRequest(body=b"{}"),
    models.InvokeFunctionHeaders(common_headers={"my-session": "mine"}), RUNTIME)
show("in-session", status=answer.status_code)
paused = client.pause_session_with_options("function", "mine", models.PauseSessionRequest(), {}, RUNTIME).body
resumed = client.resume_session_with_options("function", "mine", models.ResumeSessionRequest(), {}, RUNTIME).body
show("paused", status=paused.session_status, then=resumed.session_status)
client.delete_session_with_options("function", "mine", models.DeleteSessionRequest(), {}, RUNTIME)
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
