"""The engine under test, and short ways to run a state machine on it."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil

from orchestration.local import processes
from orchestration.local.answering import HEALTH_PATH, responds
from orchestration.local.engine.deploy import deploy
from orchestration.local.home import Home, initialise
from orchestration.local.parts import ENGINE, Context, environment
from orchestration.local.ports import Ports
from orchestration.platform.settings import Settings
from orchestration.workflow.resources import INBOX_MACHINE, FunctionSpec, MachineSpec, substitute
from tests.conftest import stack_environment
from tests.waiting import until

HANDLERS = "tests.engine.handlers"
SERVER = "tests.engine.refusing_server"
NETWORK = {"AwsvpcConfiguration": {"Subnets": ["subnet-a"], "SecurityGroups": ["sg-tasks"]}}
FUNCTIONS = (
    FunctionSpec(name="Echo", handler=f"{HANDLERS}.echo", timeout_s=30, memory_mb=256),
    FunctionSpec(name="Refuse", handler=f"{HANDLERS}.refuse"),
    FunctionSpec(name="FailFirst", handler=f"{HANDLERS}.fail_first_times"),
    FunctionSpec(name="Sleep", handler=f"{HANDLERS}.sleep", timeout_s=1),
    FunctionSpec(name="SleepLong", handler=f"{HANDLERS}.sleep", timeout_s=60),
    FunctionSpec(name="Hold", handler=f"{HANDLERS}.hold", timeout_s=60),
    FunctionSpec(name="Long", handler=f"{HANDLERS}.long_text"),
    FunctionSpec(name="CountUp", handler=f"{HANDLERS}.count_up"),
    FunctionSpec(name="Leave", handler=f"{HANDLERS}.leave"),
    FunctionSpec(name="Kill", handler=f"{HANDLERS}.kill_itself"),
    FunctionSpec(name="Unserialisable", handler=f"{HANDLERS}.return_unserialisable"),
    FunctionSpec(name="Missing", handler=f"{HANDLERS}.no_such_function"),
    FunctionSpec(name="KeepToken", handler=f"{HANDLERS}.keep_token"),
)
STARTED_BY_EVENT = MachineSpec(
    name=INBOX_MACHINE,
    definition=json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}),
)


class Engine:
    """The engine under test, and short ways to run a state machine on it."""

    def __init__(self, settings: Settings, values: Mapping[str, str], process: subprocess.Popen[bytes]) -> None:
        self.settings = settings
        self.values = values
        self.process = process
        self.sfn = self.client("stepfunctions")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.settings.engine_url,
            region_name="us-east-1",
            **self.settings.engine_keys(),
        )

    def start(self, states: Mapping[str, Any], data: object = None, **top: object) -> str:
        definition = json.dumps({"StartAt": next(iter(states)), "States": states, **top})
        arn = self.sfn.create_state_machine(name=f"t{uuid.uuid4().hex}", definition=definition, roleArn=ROLE)
        execution = self.sfn.start_execution(stateMachineArn=arn["stateMachineArn"], input=json.dumps(data or {}))
        return str(execution["executionArn"])

    def machine(self, definition: Mapping[str, Any]) -> str:
        """Create a state machine; `${Name}` is replaced as in the shipped ones."""
        text = substitute(MachineSpec(name="test", definition=json.dumps(definition)), self.values)
        made = self.sfn.create_state_machine(name=f"t{uuid.uuid4().hex}", definition=text, roleArn=ROLE)
        return str(made["stateMachineArn"])

    def start_definition(self, definition: Mapping[str, Any], data: object) -> str:
        machine, text = self.machine(definition), json.dumps(data, ensure_ascii=False)
        return str(self.sfn.start_execution(stateMachineArn=machine, input=text)["executionArn"])

    def run_definition(self, definition: Mapping[str, Any], data: object) -> dict[str, Any]:
        return self.finish(self.start_definition(definition, data))

    def history(self, execution: str) -> list[dict[str, Any]]:
        return list(self.sfn.get_execution_history(executionArn=execution)["events"])

    def finish(self, execution: str) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: ended(self.sfn.describe_execution(executionArn=execution)))
        return found

    def run(self, states: Mapping[str, Any], data: object = None, **top: object) -> dict[str, Any]:
        return self.finish(self.start(states, data, **top))

    def invoke(self, name: str, payload: object = None, **more: object) -> dict[str, Any]:
        parameters = {"FunctionName": self.values[f"{name}Function"], "Payload": payload or {}}
        return {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, **more}

    def task(self, *command: str, override: Mapping[str, Any] | None = None, **more: object) -> dict[str, Any]:
        overrides = {"ContainerOverrides": [{"Name": "muster", "Command": list(command), **(override or {})}]}
        parameters = {
            "LaunchType": "FARGATE",
            "Cluster": self.values["TaskCluster"],
            "TaskDefinition": self.values["TaskDefinition"],
            "NetworkConfiguration": NETWORK,
            "Overrides": overrides,
        }
        return {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync", "Parameters": parameters, **more}

    def wait_for_token(self, file: Path, *, answer_first: bool = False, **more: object) -> dict[str, Any]:
        payload = {
            "token.$": "$$.Task.Token",
            "file": str(file),
            "engine": self.settings.engine_url,
            "answer_first": answer_first,
        }
        state = self.invoke("KeepToken", payload, **more)
        return state | {"Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken"}


@contextmanager
def running_engine(
    path: Path, variables: Mapping[str, str] | None = None, *, task_module: str = HANDLERS, **settings: str
) -> Iterator[Engine]:
    """A separate engine with this path as its home. `variables` are added to its environment."""
    home = Home(path=path)
    env = stack_environment({f"MUSTER_{name.upper()}": value for name, value in settings.items()})
    made = initialise(home, env, free_ports=True)
    context = Context(home=home, settings=made, ports=Ports.load(home.ports_file, made))
    env = {**environment(context, ENGINE), **env, **made.environment(), **(variables or {})}
    argv = [sys.executable, "-m", SERVER, "--task-module", task_module]
    process = processes.spawn(argv, env=env, output=home.log_file("engine"))
    try:
        until(lambda: process.poll() is not None or responds(made.engine_url + HEALTH_PATH), timeout_s=300)
        assert process.poll() is None, processes.tail(home.log_file("engine"))
        yield Engine(made, deploy(made, functions=FUNCTIONS, machines=[STARTED_BY_EVENT]), process)
    finally:
        processes.stop(process, timeout_s=10)
        until(lambda: processes.marked(home.path) == [])


ROLE = "arn:aws:iam::123456789012:role/muster"


def ended(description: dict[str, Any]) -> dict[str, Any] | None:
    if description["status"] == "RUNNING":
        return None
    return description | {"output": json.loads(description["output"]) if "output" in description else None}


def text_of(file: Path) -> str | None:
    return (file.read_text() or None) if file.exists() else None


def workers_on(file: Path) -> list[psutil.Process]:
    """Processes, in containers too, that were given a file; without Docker's client, which only passes the name on."""
    return [p for p in psutil.process_iter(["cmdline", "name"]) if names(p, file) and p.info["name"] != "docker"]


def names(process: psutil.Process, file: Path) -> bool:
    return str(file) in " ".join(process.info["cmdline"] or ())
