"""Runs deploy/inspector/stack.yaml on a Docker engine, in a swarm of this machine alone; `make swarm` calls it.

Three replicas behind HAProxy get a rolling update under load. It proves that no call is lost or run twice, that
pre-stop runs once in each old container, and that the memory limit holds. Leaves the swarm, and removes what it made.
"""

import collections
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/x86_64-unknown-linux-musl/release/fc-hooks"
STACK = "fc-hooks-proof"
SERVICE = f"{STACK}_function"
OLD, NEW = "fc-hooks-proof:1", "fc-hooks-proof:2"
SLOTS, CLIENTS, DEADLINE = 3, 4, 120
LIMIT = 128 << 20


def docker(*words, **options):
    ran = subprocess.run(["docker", *words], capture_output=True, text=True, **options)
    if ran.returncode:
        raise SystemExit(f"FAILED  docker {' '.join(words)}: {ran.stderr.strip()}")
    return ran.stdout.strip()


def must(holds, text):
    print("ok    " if holds else "FAILED", text, flush=True)
    if not holds:
        raise SystemExit(1)


def wait_for(what, look):
    """A look at a state again and again, until it is there."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"FAILED  within {DEADLINE} s: {what}")


def free_ports():
    """A number of four digits: with the digit of a slot, and with 0, it is a free port."""
    for prefix in range(2300, 3200):
        with contextlib.ExitStack() as opened:
            try:
                for slot in range(SLOTS + 1):
                    opened.enter_context(socket.socket()).bind(("127.0.0.1", prefix * 10 + slot))
                return prefix
            except OSError:
                continue
    raise SystemExit("FAILED  there are no four free ports in a row")


def containers(image):
    ids = docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=com.docker.swarm.service.name={SERVICE}")
    all_of_them = json.loads(docker("inspect", *ids.split())) if ids else []
    return [one for one in all_of_them if one["Config"]["Image"] == image]


def healthy(image):
    up = [one for one in containers(image) if one["State"].get("Health", {}).get("Status") == "healthy"]
    return up if len(up) == SLOTS else None


def call(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Load:
    """Clients that send events with a text of their own each, and expect it back."""

    def __init__(self, port):
        self.port, self.stop, self.sent, self.lost = port, threading.Event(), collections.Counter(), []
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, client):
        while not self.stop.is_set():
            event = f"{client}-{self.sent[client]}"
            self.sent[client] += 1
            try:
                answer = call(self.port, "POST", "/invoke", event)
            except OSError as error:
                answer = repr(error)
            except http.client.HTTPException as error:
                answer = repr(error)
            if answer != (200, event.encode()):
                self.lost.append((event, answer))
            # A call each few milliseconds: the machine is not the thing under test.
            self.stop.wait(0.005)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return sum(self.sent.values())


def lines(container, text):
    ran = subprocess.run(["docker", "logs", container["Id"]], capture_output=True, text=True)
    return sum(line.startswith(text) for line in ran.stdout.splitlines())


def rolling_update(port):
    old = wait_for("three replicas are healthy", lambda: healthy(OLD))
    must(all(lines(one, "FC Initialize Start") for one in old), "the Initializer ran in each before it got a call")
    wait_for("HAProxy reaches a replica", lambda: call(port, "GET", "/")[0] == 200)
    status = [call(port, *one)[0] for one in (("POST", "/initialize"), ("GET", "/pre-freeze"), ("GET", "/pre-stop?x"))]
    must(status == [404] * 3, "no caller reaches a hook through HAProxy")
    status, body = call(port, "GET", "/", headers={"x-fc-control-path": "/pre-stop"})
    life = json.loads(body)
    must(status == 200 and "/pre-stop" not in json.dumps(life["request"]), "a caller's control path is dropped")

    before = sum(lines(one, "FC Invoke Start") for one in old)
    load = Load(port)
    try:
        wait_for("calls have begun", lambda: sum(load.sent.values()) > 200)
        docker("service", "update", "--quiet", "--detach", "--no-resolve-image", "--image", NEW, SERVICE)
        state = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
        ended = ("completed", "paused", "rollback_completed", "rollback_paused")
        look = lambda: docker("service", "inspect", "--format", state, SERVICE) in ended
        wait_for("the update has ended", look)
        new = wait_for("three new replicas are healthy", lambda: healthy(NEW))
    finally:
        sent = load.end()
    for event, answer in load.lost[:5]:
        print(f"    {event}: {answer}")
    must(not load.lost, f"rolling update: {sent} calls, {len(load.lost)} lost")
    old = containers(OLD)
    served = sum(lines(one, "FC Invoke Start") for one in old + new) - before
    must(served == sent, f"none ran twice: {served} calls in the logs of the containers")
    must(
        len(old) == SLOTS and all(one["State"]["Status"] == "exited" and one["State"]["ExitCode"] == 0 for one in old),
        "the three old containers have ended with exit code 0",
    )
    ran = [lines(one, "FC PreStop Start") for one in old]
    must(ran == [1] * SLOTS, f"pre-stop ran once in each old container: {ran}")
    must(not any(lines(one, "FC PreStop Start") for one in new), "and in no new one")
    return new


def memory_of(container):
    """The limit and the most that was used, as the kernel has them."""
    groups = pathlib.Path(f"/proc/{container['State']['Pid']}/cgroup").read_text()
    own = re.search(r":memory:(.*)", groups)
    folder = pathlib.Path("/sys/fs/cgroup/memory" + own[1] if own else "/sys/fs/cgroup" + groups.split("::")[1].strip())
    names = ("memory.limit_in_bytes", "memory.max_usage_in_bytes") if own else ("memory.max", "memory.peak")
    return [int((folder / name).read_text()) for name in names]


def large_events(port):
    """What 16 events of 16 MB at the same time are answered with."""
    answers, body = collections.Counter(), b"x" * (16 << 20)

    def send():
        try:
            answers[call(port, "POST", "/invoke", body)[0]] += 1
        except (OSError, http.client.HTTPException) as error:
            answers[type(error).__name__] += 1

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def memory(prefix, new):
    for slot in range(1, SLOTS + 1):
        answers = large_events(prefix * 10 + slot)
        must(answers[200] and not answers.keys() - {200, 503, "BrokenPipeError", "ConnectionResetError"},
             f"slot {slot}: 256 MB of events at once are served or refused: {dict(answers)}")
    for one in new:
        limit, most = memory_of(one)
        must(limit == LIMIT == one["HostConfig"]["Memory"], f"the kernel has the limit of the stack: {limit} bytes")
        must(most < limit, f"no container came to it: at most {most} bytes")
    must({one["Id"] for one in healthy(NEW) or []} == {one["Id"] for one in new}, "no container was killed for it")
    # The other way round: without its own bound a server comes to the limit, and the kernel holds it.
    unbounded = "FC_HOOKS_LIMITS=buffered_bytes_max=1073741824"
    docker("service", "update", "--quiet", "--detach", "--env-add", unbounded, SERVICE)
    known = {one["Id"] for one in new}
    wait_for("three replicas without a bound", lambda: not known & {one["Id"] for one in healthy(NEW) or new})
    end = time.monotonic() + DEADLINE
    while not any(one["State"]["OOMKilled"] for one in containers(NEW)) and time.monotonic() < end:
        large_events(prefix * 10 + 1)
    must(any(one["State"]["OOMKilled"] for one in containers(NEW)), "beyond the limit the kernel ends the container")
    wait_for("Swarm has replaced it", lambda: healthy(NEW))
    print("ok     Swarm has replaced it", flush=True)


def main():
    if docker("info", "--format", "{{.Swarm.LocalNodeState}}") != "inactive":
        print("SKIPPED: this Docker engine belongs to a swarm already, which stays as it is")
        return
    bridge = "docker_gwbridge" in docker("network", "ls", "--format", "{{.Name}}").split()
    prefix, proxy = free_ports(), None
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # The files of deploy/, but for their ports.
        stack = (ROOT / "deploy/inspector/stack.yaml").read_text().replace(":900{{", f":{prefix}{{{{")
        config = (ROOT / "deploy/haproxy.cfg").read_text().replace(":900", f":{prefix}").replace(":8080", f":{prefix}0")
        (folder / "stack.yaml").write_text(stack)
        (folder / "haproxy.cfg").write_text(config)
        (folder / "function").write_bytes(BINARY.read_bytes())
        (folder / "function").chmod(0o755)
        env = {**os.environ, "DOCKER_BUILDKIT": "0", "IMAGE": OLD}
        try:
            for image in (OLD, NEW):
                words = ["--quiet", "--label", f"proof={image}", "--build-arg", "BIN=function", "--tag", image]
                docker("build", *words, "--file", str(ROOT / "Dockerfile.scratch"), str(folder), env=env)
            docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
            docker("stack", "deploy", "--resolve-image", "never", "-c", str(folder / "stack.yaml"), STACK, env=env)
            proxy = subprocess.Popen(["haproxy", "-q", "-db", "-f", str(folder / "haproxy.cfg")])
            memory(prefix, rolling_update(prefix * 10))
        finally:
            if proxy:
                proxy.terminate()
                proxy.wait()
            clean(bridge)
    print("every proof on the swarm holds")


def clean(bridge):
    """Takes back what was made. It goes on after a step that fails."""
    quiet = lambda *words: subprocess.run(["docker", *words], capture_output=True, text=True).stdout.split()
    quiet("stack", "rm", STACK)
    label = f"label=com.docker.swarm.service.name={SERVICE}"
    end = time.monotonic() + 60
    while quiet("ps", "--quiet", "--filter", label) and time.monotonic() < end:
        time.sleep(0.2)
    quiet("swarm", "leave", "--force")
    left = quiet("ps", "--all", "--quiet", "--filter", label)
    if left:
        quiet("rm", "--force", *left)
    quiet("rmi", OLD, NEW)
    if not bridge:
        quiet("network", "rm", "docker_gwbridge")


sys.exit(main())
