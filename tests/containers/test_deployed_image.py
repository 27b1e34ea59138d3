"""The image as AWS starts it: Lambda functions under Lambda's user, tasks as ECS runs them.

Lambda ignores USER and mounts nothing: a user of its own reads the image and writes to /tmp. Its runtime interface
emulator stands in for the service. ECS may put an init process before a task (`initProcessEnabled`), and make its root
read-only.
"""

import json
import re
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from orchestration.entrypoints.container import SECRETS_EXIT_CODE, TERMINATED, USAGE_EXIT_CODE
from orchestration.local.ports import accepts
from orchestration.workflow.resources import FunctionSpec, function_specs
from tests.containers.compose import inspect
from tests.contract.lambda_runners import invoke
from tests.servers.images import PRODUCT, ROOT, docker
from tests.servers.lambda_emulator import emulator
from tests.servers.moto_aws import REGION, client, environment, moto_server
from tests.servers.ports import free_ports
from tests.servers.silent import silent_server
from tests.waiting import until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]

LAMBDA: Final = (
    "--user=993:990",
    "--read-only",
    "--tmpfs=/tmp:size=512m",
    "--cap-drop=ALL",
    "--env=MUSTER_HOME=/tmp/muster",
)
"""The user that Lambda runs functions as, and where that user may write."""
ECS: Final = ("--read-only", "--tmpfs=/tmp:ro", "--env=TMPDIR=/var/lib/muster", "--cap-drop=ALL")
"""A task may write only to its home."""
NO_CATALOG: Final = "--env=MUSTER_CATALOG_URL=postgresql+psycopg://x@127.0.0.1:1/x"
JOB: Final = "01jd0000000000000000000000"
VERIFY: Final = ("task", "verify", JOB, "execution")
RECORD: Final = {"kind": "user", "code": "NO_HEADER", "message": "line 1 is no header", "detail": {"line": 1}}
CAUSE: Final = json.dumps({"errorType": "UserError", "errorMessage": json.dumps(RECORD)})
SERVICE: Final = re.compile(r"(?:boto3\.client\(|engine_client\([\w.]+,)\s*(?:#.*\n\s*)?\"([a-z0-9-]+)\"")
OF_THE_STACK: Final = ("orchestration/local", "orchestration/deploy")
"""Packages that run beside the image, with all of botocore."""
LOADED: Final = """
import sys
from importlib import import_module
for handler in sys.argv[1:]:
    module, _, name = handler.rpartition(".")
    assert callable(getattr(import_module(module), name)), handler
"""
WRITABLE: Final = """
import os
def writable(folder):
    try:
        os.rmdir(os.mkdir(f"{folder}/probe") or f"{folder}/probe")
    except OSError:
        return False
    return True
found = []
for folder, below, _ in os.walk("/"):
    if folder in ("/proc", "/sys", "/dev"):
        below.clear()
    elif writable(folder):
        found.append(folder)
        below.clear()
print(found)
"""


def spec(name: str) -> FunctionSpec:
    [found] = [one for one in function_specs() if one.name == name]
    return found


class Function:
    """A container with one function, started as Lambda starts it; `name` is the container's."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._port = port

    def invoke(self, event: Any) -> Any:
        return invoke(self._port, event)

    def runtimes(self) -> list[str]:
        """Process ids of the runtime."""
        lines = docker("top", self.name, "-o", "pid,args").splitlines()
        return [
            line.split()[0] for line in lines if "orchestration.entrypoints.container" in line and "rie" not in line
        ]


@contextmanager
def function(of: FunctionSpec, *env: str) -> Iterator[Function]:
    """The function behind the emulator, with the image's entry point and the memory limit it has at AWS."""
    name, (port, runtime_port) = f"muster-test-lambda-{uuid.uuid4().hex[:8]}", free_ports(2)
    memory = f"{of.memory_mb}m"
    begin = [
        "--detach",
        "--name",
        name,
        "--network=host",
        f"--memory={memory}",
        f"--memory-swap={memory}",
        *LAMBDA,
        *env,
    ]
    begin += [f"--volume={emulator()}:/aws-lambda-rie:ro", "--entrypoint=/aws-lambda-rie"]
    listen = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    listen += ["--runtime-api-address", f"127.0.0.1:{runtime_port}"]
    docker("run", *begin, PRODUCT, *listen, *inspect(PRODUCT)["Config"]["Entrypoint"], "lambda", of.handler)
    try:
        until(lambda: accepts(port), lambda: docker("logs", name))
        yield Function(name, port)
        assert not inspect(name)["State"]["OOMKilled"]
    finally:
        docker("rm", "--force", "--volumes", name)


def test_function_answers_from_a_cold_and_a_warm_start() -> None:
    with function(spec("ExtractCause")) as running:
        event = {"job_id": JOB, "failure": {"Error": "UserError", "Cause": CAUSE}}
        first = running.invoke(event)
        [runtime] = running.runtimes()
        assert first.result == {"job_id": JOB, "error": RECORD}
        assert running.invoke(event) == first
        assert running.runtimes() == [runtime]


def test_function_without_its_catalog_answers_with_an_outage() -> None:
    with function(spec("ReadOutcome"), NO_CATALOG) as running:
        error = running.invoke({"job_id": JOB, "execution": "arn"}).error
        named = (error["errorType"], json.loads(error["errorMessage"])["code"])
        assert named == ("UnavailableError", "CATALOG_UNAVAILABLE")


def test_function_reads_its_secrets_and_hides_those_of_kafka() -> None:
    database = {"username": "muster", "password": "hush", "host": "127.0.0.1", "port": 1, "dbname": "muster"}
    kafka = {"username": "muster", "password": "hush"}
    with moto_server() as endpoint:
        keeper = client("secretsmanager", endpoint)
        arns = {
            name: keeper.create_secret(Name=f"muster-{name}", SecretString=json.dumps(value))["ARN"]
            for name, value in (("CATALOG_URL", database), ("KAFKA_CREDENTIALS", kafka))
        }
        given = {**environment(endpoint), "MUSTER_SECRETS": json.dumps(arns)}
        with function(spec("ReadOutcome"), *(f"--env={name}={value}" for name, value in given.items())) as running:
            message = running.invoke({"job_id": JOB, "execution": "arn"}).error["errorMessage"]
            assert "port 1 failed" in json.loads(message)["message"]
            kept = docker("exec", running.name, "stat", "--format=%u %a", "/tmp/muster/kafka-credentials.json")
            assert kept == "993 600"


def test_task_without_its_secret_names_it_and_does_not_start() -> None:
    absent = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:nothing-AbCdEf"
    with moto_server() as endpoint:
        given = {**environment(endpoint), "MUSTER_SECRETS": json.dumps({"CATALOG_URL": absent})}
        variables = [f"--env={name}={value}" for name, value in given.items()]
        done = ran(*ECS, "--network=host", *variables, PRODUCT, "task", "verify", JOB, "execution")
    assert done.returncode == SECRETS_EXIT_CODE
    assert f"CATALOG_URL: the secret {absent} does not exist" in done.stderr


def test_functions_start_in_a_folder_open_to_every_user() -> None:
    # Docker enters the folder as root, Lambda as its own user.
    assert inspect(PRODUCT)["Config"]["WorkingDir"] == "/"


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "run", "--rm", *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def test_lambda_user_can_load_every_function() -> None:
    handlers = [one.handler for one in function_specs()]
    done = ran(*LAMBDA, "--network=none", "--entrypoint=python", PRODUCT, "-c", LOADED, *handlers)
    assert done.returncode == 0, done.stderr


def test_image_contains_every_aws_service_model_in_use() -> None:
    files = [path for name in ("orchestration", "connectors", "streams") for path in (ROOT / name).rglob("*.py")]
    called = {service for path in files if not at_home(path) for service in SERVICE.findall(path.read_text())}
    assert {"ecs", "s3", "scheduler", "stepfunctions"} <= called
    asked = "import botocore.session as b, json; print(json.dumps(b.get_session().get_available_services()))"
    assert called <= set(json.loads(docker("run", "--rm", "--entrypoint=python", PRODUCT, "-c", asked)))


def at_home(path: Path) -> bool:
    return path.relative_to(ROOT).as_posix().startswith(OF_THE_STACK)


def test_only_home_and_temporary_folder_are_writable_and_ecs_volumes_belong_to_the_user() -> None:
    # A new Docker volume takes owner and mode of the image's folder; ECS does so for volumes that the image declares.
    declared = sorted(inspect(PRODUCT)["Config"]["Volumes"])
    names = [f"muster-test-{uuid.uuid4().hex[:8]}" for _ in declared]
    volumes = [f"--volume={name}:{at}" for name, at in zip(names, declared, strict=True)]
    try:
        done = ran("--read-only", "--cap-drop=ALL", *volumes, "--entrypoint=python", PRODUCT, "-c", WRITABLE)
        assert done.stdout.strip() == "['/tmp', '/var/lib/muster']", done.stderr
    finally:
        docker("volume", "rm", *names)


@pytest.mark.parametrize(
    "command",
    [
        ("task",),
        ("task", "verify", JOB),
        ("task", "verify", JOB, "execution", "1"),
        ("task", "export", JOB, "execution"),
        ("task", "dance", JOB, "execution"),
    ],
)
def test_unknown_task_is_a_usage_error(command: Sequence[str]) -> None:
    done = ran(*ECS, "--network=none", PRODUCT, *command)
    assert (done.returncode, done.stdout) == (USAGE_EXIT_CODE, "")
    assert "task takes: " in done.stderr


def test_task_without_its_catalog_says_so_and_waits_for_it() -> None:
    name = f"muster-test-{uuid.uuid4().hex[:8]}"
    docker("run", "--detach", "--name", name, *ECS, "--network=none", NO_CATALOG, PRODUCT, *VERIFY)
    try:
        until(lambda: len(re.findall("CATALOG_UNAVAILABLE.*; retrying in", logs(name))) >= 2, lambda: logs(name))
        assert inspect(name)["State"]["Running"]
    finally:
        docker("rm", "--force", "--volumes", name)


def logs(name: str) -> str:
    """What a container has written to stderr."""
    return subprocess.run(["docker", "logs", name], capture_output=True, check=True, text=True).stderr


def test_sigterm_during_python_start_ends_a_task_behind_init() -> None:
    with waiting_task("--init", *ECS) as name:
        until(lambda: len(docker("top", name, "-o", "pid").splitlines()) >= 3)  # header, init process, Python
        docker("stop", "--time", "120", name)
        assert inspect(name)["State"]["ExitCode"] == TERMINATED


def test_sigterm_ends_a_task_that_is_process_one() -> None:
    # As process 1, it would ignore the signal without a handler.
    with waiting_task(*ECS) as name:
        handled = "until grep -q SigCgt:.*4... /proc/1/status; do :; done"  # the bit of SIGTERM
        subprocess.run(["docker", "exec", name, "sh", "-c", handled], timeout=300, check=True)
        docker("stop", "--time", "120", name)
        assert inspect(name)["State"]["ExitCode"] == TERMINATED


@contextmanager
def waiting_task(*options: str) -> Iterator[str]:
    """The container of a task whose catalog does not answer."""
    name = f"muster-test-sigterm-{uuid.uuid4().hex[:8]}"
    with silent_server() as port:
        url = f"--env=MUSTER_CATALOG_URL=postgresql+psycopg://x@127.0.0.1:{port}/x"
        begin = ["--detach", "--network=host", "--name", name, *options, url]
        docker("run", *begin, PRODUCT, *VERIFY)
        try:
            yield name
        finally:
            docker("rm", "--force", "--volumes", name)
