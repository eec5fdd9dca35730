"""Validates each manifest of deploy/ by the schema of its platform; `make manifests` installs the tools.

A line for each proof: `ok`, `FAILED` or `SKIPPED` with the tool that is missing. Exits with 1 if one failed.
"""

import ast
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / "target" / "deploy"
KINDS = ("inspector", "adapter")


class Missing(Exception):
    """A tool that is not installed."""


def needs(module):
    try:
        __import__(module)
    except ImportError:
        raise Missing(f"the Python package of {module}") from None


def command(name):
    path = shutil.which(name)
    if path is None:
        raise Missing(name)
    return path


def lost(given, kept, place=""):
    """The fields that are not the same after the way through a model. The model may add its own defaults."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [one for key in given for one in lost(given[key], kept.get(key), f"{place}.{key}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [one for index, pair in enumerate(zip(given, kept)) for one in lost(*pair, f"{place}[{index}]")]
    return [] if given == kept else [f"{place}: {given!r} became {kept!r}"]


def documents(path):
    import yaml

    return list(yaml.safe_load_all(path.read_text()))


def function_of(path):
    resources = documents(path)[0]["resources"]
    (resource,) = resources.values()
    return resource["props"]


def s_yaml_in_the_model_of_the_sdk(path):
    needs("yaml")
    needs("alibabacloud_fc20230330")
    from alibabacloud_fc20230330 import models

    props = function_of(path)
    props.pop("region")  # Serverless Devs', not the function's
    function = models.CreateFunctionInput().from_map(props)
    function.validate()
    faults = lost(props, function.to_map())
    # The model has no ranges; these are DEPLOY of docs/contract.md.
    cpu, memory = props["cpu"], props["memorySize"]
    if round(cpu * 100) % 5 or not 0.05 <= cpu <= 16:
        faults.append(f"cpu: {cpu} is no multiple of 0.05 up to 16")
    if memory % 64 or not 128 <= memory <= 32768 or not 1 <= memory / 1024 / cpu <= 4:
        faults.append(f"memorySize: {memory} MB does not go with {cpu} vCPU")
    if props["diskSize"] not in (512, 10240):
        faults.append("diskSize: neither 512 nor 10240")
    if not 1 <= props["timeout"] <= 86400 or not 1 <= props["instanceConcurrency"] <= 200:
        faults.append("timeout or instanceConcurrency is out of range")
    faults += [f"environmentVariables: {name} is the platform's" for name in props.get("environmentVariables", {})
               if name.startswith("FC_")]
    return faults


def s_yaml_by_the_command_of_serverless_devs(path):
    needs("yaml")
    tool = TOOLS / "node/node_modules/.bin/s"
    if not tool.exists():
        raise Missing("@serverless-devs/s")
    command("node")
    env = {**os.environ, "HOME": str(TOOLS / "home")}
    (TOOLS / "home").mkdir(parents=True, exist_ok=True)
    said = subprocess.run(
        [tool, "preview", "-t", path, "-o", "json", "--silent"], env=env, capture_output=True, text=True, timeout=120
    )
    begin = said.stdout.find("{")
    if said.returncode or begin < 0:
        return [f"`s preview` fails: {said.stdout[-500:]}{said.stderr[-500:]}"]
    return lost(documents(path)[0], json.JSONDecoder().raw_decode(said.stdout[begin:])[0])


def s_yaml_served_by_the_emulator(path):
    """One life by the manifest: the Initializer, an event, pre-stop. The hooks say in the log that they ran."""
    needs("yaml")
    emulator, binary = ROOT / "target/debug/fc-emulator", ROOT / "target/x86_64-unknown-linux-musl/release/fc-hooks"
    for one in (emulator, binary):
        if not one.exists():
            raise Missing(one.relative_to(ROOT))
    manifest = documents(path)[0]
    (resource,) = manifest["resources"].values()
    props = resource["props"]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as cleaned:
        # The images of the manifests are in no registry. The inspector's is built; there is none of Node without one.
        if path.parent.name == "adapter":
            command("node")
            image = (ROOT / "examples/adapter/node/Dockerfile").read_text()
            settings = [f"{name}={value}" for name, value in re.findall(r'(FC_HOOKS_\w+)="([^"]*)"', image)]
            words = ["env", *settings, str(binary), "--", "node", str(ROOT / "examples/adapter/node/server.js")]
            del props["customContainerConfig"]
            props |= {"runtime": "custom.debian12", "code": folder, "customRuntimeConfig": {"command": words}}
        else:
            docker = command("docker")
            if subprocess.run([docker, "info"], capture_output=True).returncode:
                raise Missing("a Docker engine that answers")
            shutil.copy(binary, f"{folder}/function")
            build = [docker, "build", "--quiet", "--build-arg", "BIN=function", "--tag", "fc-hooks-manifest:1"]
            env = {**os.environ, "DOCKER_BUILDKIT": "0"}
            build += ["--file", ROOT / "Dockerfile.scratch", folder]
            subprocess.run(build, env=env, check=True, capture_output=True)
            cleaned.callback(subprocess.run, [docker, "rmi", "fc-hooks-manifest:1"], capture_output=True)
            props["customContainerConfig"]["image"] = "fc-hooks-manifest:1"
        copy = pathlib.Path(folder) / "s.yaml"
        copy.write_text(json.dumps(manifest))
        options = ["--memory", "--idle-timeout", "1s"]
        words = [emulator, "serve", "--config", copy, "--listen", "127.0.0.1:0", *options]
        served = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        timer = threading.Timer(120, served.kill)
        timer.start()
        try:
            line = served.stdout.readline()
            if "http://" not in line:
                return [f"the emulator does not serve: {line}{served.stderr.read()}"]
            name = props["functionName"]
            url = f"http://{line.split('http://')[1].split()[0]}/2023-03-30/functions/{name}/invocations"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, data=b"an event", timeout=60) as answer:
                body = answer.read()
            # Idle for a second, the instance is frozen, and then reclaimed.
            said = ""
            for line in served.stdout:
                said += line
                if "FC PreStop End" in line:
                    break
        finally:
            served.terminate()
            rest, problems = served.communicate()
            timer.cancel()
    expected = b"AN EVENT" if path.parent.name == "adapter" else b"an event"
    faults = [] if body == expected else [f"the event is answered with {body!r}"]
    said += rest
    for hook in ("Initialize", "PreStop"):
        times = said.count(f"FC {hook} Start RequestId: 1-")
        faults += [] if times == 1 else [f"{hook} ran {times} times: {said}{problems}"]
    return faults


def classes_of(path):
    """The arguments of each class: name, type of a nested block or None, and whether it must be given."""
    classes = {}
    for one in ast.parse(path.read_text()).body:
        if not isinstance(one, ast.ClassDef):
            continue
        for init in one.body:
            if isinstance(init, ast.FunctionDef) and init.name == "__init__":
                given = zip(init.args.kwonlyargs, init.args.kw_defaults)
                classes[one.name] = {
                    arg.arg: (re.search(r"'(\w+Args)'", ast.unparse(arg.annotation)), default is None)
                    for arg, default in given
                    if arg.annotation is not None
                }
    return classes


def plain(value):
    """A value of HCL as the parser gives it, less its quotes and marks."""
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value[1:-1] if isinstance(value, str) and value[:1] == value[-1:] == '"' else value


def terraform_faults(fields, name, classes, place):
    known, faults = classes[name], []
    for key, value in fields.items():
        # Pulumi calls a list by its plural.
        field = known.get(key) or known.get(key + "s")
        if field is None:
            faults.append(f"{place}.{key} is unknown")
        elif field[0] is not None:
            for block in value if isinstance(value, list) else [value]:
                faults += terraform_faults(block, field[0].group(1), classes, f"{place}.{key}")
    required = [key for key, field in known.items() if field[1] and key not in fields]
    return faults + [f"{place}.{key} is missing" for key in required]


def terraform_by_the_schema_of_its_provider(path):
    needs("hcl2")
    import hcl2

    found = importlib.util.find_spec("pulumi_alicloud")
    if found is None:
        raise Missing("pulumi-alicloud")
    folder = pathlib.Path(found.submodule_search_locations[0]) / "fc"
    classes = classes_of(folder / "_inputs.py") | classes_of(folder / "v3_function.py")
    with path.open() as file:
        root = plain(hcl2.load(file))
    (resource,) = root["resource"]
    (function,) = resource["alicloud_fcv3_function"].values()
    return terraform_faults(function, "V3FunctionArgs", classes, "alicloud_fcv3_function")


def terraform_by_its_own_parser(path):
    said = subprocess.run([command("terraform"), "fmt", "-check", path], capture_output=True, text=True)
    return [] if said.returncode == 0 else [f"`terraform fmt -check` fails: {said.stdout}{said.stderr}"]


def kubernetes_by_its_schema(path):
    needs("yaml")
    needs("kubernetes_validate")
    import kubernetes_validate

    faults = []
    for document in documents(path):
        try:
            kubernetes_validate.validate(document, "1.37", strict=True)
        except kubernetes_validate.ValidationError as error:
            faults.append(f"{document['kind']}: {error}")
    return faults


# Without a cluster `apply --dry-run=client` has nobody to ask for its kinds. `set image --local` reads and writes by
# the types of kubectl itself, which forget a field that they do not know.
def kubernetes_by_kubectl(path):
    needs("yaml")
    tool, faults = command("kubectl"), []
    document = documents(path)[0]
    (container,) = document["spec"]["template"]["spec"]["containers"]
    container["image"] += "-other"  # nothing is printed of a change that changes nothing
    image = f"{container['name']}={container['image']}"
    said = subprocess.run(
        [tool, "set", "image", "--local", "-o", "json", "-f", "-", image],
        input=(path.read_text().split("\n---\n")[0]), capture_output=True, text=True,
    )
    if said.returncode == 0:
        faults += lost(document, json.loads(said.stdout))
    else:
        faults.append(said.stderr)
    return faults


def knative_by_its_schema(path):
    needs("yaml")
    needs("cloudcoil.models.knative_serving")
    from cloudcoil.models.knative_serving.serving import v1

    (document,) = documents(path)
    service = v1.Service.model_validate(document)
    return lost(document, service.model_dump(by_alias=True, exclude_none=True, mode="json"))


def stack_by_docker(path):
    env = {**os.environ, "IMAGE": "some/image:1"}
    tool = command("docker")
    for words in (["stack", "config"], ["compose", "config"]):
        if subprocess.run([tool, *words, "--help"], capture_output=True).returncode == 0:
            flag = "-c" if words[0] == "stack" else "-f"
            where = [*words, flag, path] if words[0] == "stack" else [words[0], flag, path, words[1]]
            said = subprocess.run([tool, *where], capture_output=True, text=True, env=env)
            return [] if said.returncode == 0 and "some/image:1" in said.stdout else [said.stdout + said.stderr]
    raise Missing("docker stack config")


PROOFS = (
    ("s.yaml", s_yaml_in_the_model_of_the_sdk),
    ("s.yaml", s_yaml_by_the_command_of_serverless_devs),
    ("s.yaml", s_yaml_served_by_the_emulator),
    ("function.tf", terraform_by_the_schema_of_its_provider),
    ("function.tf", terraform_by_its_own_parser),
    ("kubernetes.yaml", kubernetes_by_its_schema),
    ("kubernetes.yaml", kubernetes_by_kubectl),
    ("knative.yaml", knative_by_its_schema),
    ("stack.yaml", stack_by_docker),
)

# A change of the manifest that each of its proofs must find.
PLANTED = {
    "s.yaml": ("        preStop:", "        preStopp:"),
    "function.tf": ("    pre_stop {", "    prestop   {"),
    "kubernetes.yaml": ("          startupProbe:", "          startProbe:"),
    "knative.yaml": ("          readinessProbe:", "          readyProbe:"),
    "stack.yaml": ("    healthcheck:", "    healthchek:"),
}
# It shows a file as it is. Only the platform's own side, which needs the network, knows the fields.
KNOWS_NO_FIELDS = s_yaml_by_the_command_of_serverless_devs


def faults_of(proof, path):
    try:
        return proof(path)
    except Missing:
        raise
    except Exception as error:  # a model that refuses the manifest says so by its own exception
        return [f"{type(error).__name__}: {error}"]


def planted_fault_is_found(name, proof):
    text = (DEPLOY / "inspector" / name).read_text()
    old, new = PLANTED[name]
    assert text.count(old) == 1, f"{name}: {old}"
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        path.write_text(text.replace(old, new))
        return [] if faults_of(proof, path) else [f"`{new.strip()}` passes"]


def main():
    failed = False
    rows = [(DEPLOY / kind / name, proof) for kind in KINDS for name, proof in PROOFS]
    for path, proof in rows:
        what = f"{path.parent.name}/{path.name}: {proof.__name__.replace('_', ' ')}"
        try:
            faults = faults_of(proof, path)
            if path.parent.name == KINDS[0] and proof is not KNOWS_NO_FIELDS:
                faults += planted_fault_is_found(path.name, proof)
        except Missing as tool:
            print(f"SKIPPED: {what}: {tool} is not installed")
            continue
        failed = failed or bool(faults)
        print("FAILED" if faults else "ok    ", what)
        for fault in faults:
            print(f"    {fault}")
    sys.exit(1 if failed else 0)


main()
