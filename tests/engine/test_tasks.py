"""ECS tasks, the same for both launchers: exit codes, variables and ends."""

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engine.support import NETWORK, Engine, text_of, workers_on
from tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture(
    scope="module", params=["process_engine", pytest.param("container_engine", marks=pytest.mark.containers)]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


BEFORE_ANY_LAUNCHER = pytest.mark.parametrize("engine", ["process_engine"], indirect=True)
"""The engine answers before any launcher runs, so containers or processes make no difference."""


@pytest.fixture
def folder(engine: Engine) -> Path:
    """A folder shared by tests and their tasks: a container sees only the home of the host."""
    made = engine.settings.home / "files" / uuid.uuid4().hex
    made.mkdir(parents=True)
    return made


def test_task_that_exits_with_0_succeeds_and_sees_its_variables(engine: Engine, folder: Path) -> None:
    file = folder / "variable"
    override = {"Environment": [{"Name": "COLOUR", "Value.$": "$.colour"}]}
    selector = {"code.$": "$.Containers[0].ExitCode"}
    state = engine.task("variable", "COLOUR", str(file), override=override, ResultSelector=selector)

    ended = engine.run({"Run": {**state, "End": True}}, {"colour": "blue"})

    assert (ended["status"], ended["output"], file.read_text()) == ("SUCCEEDED", {"code": 0}, "blue")


def test_a_task_that_exits_with_3_is_task_failed_with_its_exit_code_in_the_cause(engine: Engine) -> None:
    ended = engine.run({"Run": {**engine.task("exit", "3"), "End": True}})

    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(ended["cause"])["Containers"][0]["ExitCode"] == 3


def test_failed_task_is_rerun_by_its_retrier(engine: Engine, folder: Path) -> None:
    counter = folder / "runs"
    again = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "BackoffRate": 1.0, "MaxAttempts": 3}]

    ended = engine.run({"Run": {**engine.task("exit_first_times", str(counter), "2"), "Retry": again, "End": True}})

    assert (ended["status"], counter.read_text()) == ("SUCCEEDED", "xxx")


def test_stopping_an_execution_ends_the_process_of_its_task(engine: Engine, folder: Path) -> None:
    file = folder / "pid"
    execution = engine.start({"Run": {**engine.task("sleep", str(file)), "End": True}})
    until(lambda: text_of(file))
    assert workers_on(file)

    engine.sfn.stop_execution(executionArn=execution, error="Cancelled", cause="by the operator")

    ended = engine.finish(execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Cancelled", "by the operator")
    until(lambda: not workers_on(file))


def test_a_task_state_that_times_out_ends_the_process_of_its_task(engine: Engine, folder: Path) -> None:
    file = folder / "pid"

    ended = engine.run({"Run": {**engine.task("sleep", str(file)), "TimeoutSeconds": 10, "End": True}})

    assert text_of(file)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    until(lambda: not workers_on(file))


def container(name: str, *command: object, **more: object) -> dict[str, Any]:
    return {"name": name, "command": [str(word) for word in command], **more}


def defined(engine: Engine, *containers: Mapping[str, Any]) -> str:
    """Register a new task definition."""
    made = [{"image": engine.settings.task_image, **container} for container in containers]
    family = f"t{uuid.uuid4().hex}"
    ecs = engine.client("ecs")
    registered = ecs.register_task_definition(family=family, cpu="256", memory="512", containerDefinitions=made)
    return str(registered["taskDefinition"]["taskDefinitionArn"])


def run_task(engine: Engine, definition: str, **parameters: object) -> dict[str, Any]:
    """A state that runs the task of a definition unchanged."""
    where = {
        "LaunchType": "FARGATE",
        "Cluster": engine.values["TaskCluster"],
        "TaskDefinition": definition,
        "NetworkConfiguration": NETWORK,
    }
    resource = "arn:aws:states:::ecs:runTask.sync"
    given = {name: value for name, value in (where | parameters).items() if value is not None}
    return {"Type": "Task", "Resource": resource, "Parameters": given, "End": True}


def started(engine: Engine, *containers: Mapping[str, Any]) -> str:
    """ARN of a task started without a state machine."""
    definition, cluster = defined(engine, *containers), engine.values["TaskCluster"]
    network = {"awsvpcConfiguration": {"subnets": ["subnet-a"], "securityGroups": ["sg-tasks"]}}
    run = engine.client("ecs").run_task(
        cluster=cluster, taskDefinition=definition, launchType="FARGATE", networkConfiguration=network
    )
    return str(run["tasks"][0]["taskArn"])


def described(engine: Engine, task: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.client("ecs").describe_tasks(cluster=engine.values["TaskCluster"], tasks=[task])
    return dict(found["tasks"][0])


def stopped(engine: Engine, task: str) -> dict[str, Any]:
    found: dict[str, Any] = until(lambda: d if (d := described(engine, task))["lastStatus"] == "STOPPED" else None)
    return found


def exit_codes(task: Mapping[str, Any]) -> dict[str, int]:
    """Exit codes from a description by ECS (`exitCode`) or by Step Functions (`ExitCode`)."""
    containers = [{k.lower(): v for k, v in c.items()} for c in task.get("containers") or task["Containers"]]
    return {c["name"]: c["exitcode"] for c in containers if "exitcode" in c}


def test_stopped_task_gets_sigterm_first(engine: Engine, folder: Path) -> None:
    file = folder / "pid"
    task = started(engine, container("main", "tidy", file))
    until(lambda: text_of(file))

    stopping = engine.client("ecs").stop_task(cluster=engine.values["TaskCluster"], task=task, reason="enough")["task"]

    assert stopping["desiredStatus"] == "STOPPED"
    end = stopped(engine, task)
    assert (end["stopCode"], end["stoppedReason"], exit_codes(end)) == ("UserInitiated", "enough", {"main": 0})
    assert (folder / "pid.term").read_text() == "got it"


def test_task_that_ignores_sigterm_is_killed_after_its_stop_timeout(engine: Engine, folder: Path) -> None:
    file = folder / "pid"
    task = started(engine, container("main", "stubborn", file, stopTimeout=10))
    until(lambda: text_of(file))
    begin = time.monotonic()

    engine.client("ecs").stop_task(cluster=engine.values["TaskCluster"], task=task)

    until(lambda: text_of(folder / "pid.term"))
    assert described(engine, task)["lastStatus"] == "RUNNING"
    end = stopped(engine, task)
    assert time.monotonic() - begin >= 10
    assert exit_codes(end) == {"main": 137}
    assert not workers_on(file)


@BEFORE_ANY_LAUNCHER
def test_unknown_task_cannot_be_stopped(engine: Engine) -> None:
    ecs = engine.client("ecs")
    with pytest.raises(ecs.exceptions.InvalidParameterException, match="was not found"):
        ecs.stop_task(cluster=engine.values["TaskCluster"], task="0" * 32)


def test_non_essential_container_can_end_before_its_task(engine: Engine, folder: Path) -> None:
    go = folder / "go"
    task = started(engine, container("main", "exit_when", go), container("side", "exit", 0, essential=False))

    until(lambda: "side" in exit_codes(described(engine, task)))
    assert described(engine, task)["lastStatus"] == "RUNNING"
    go.touch()

    end = stopped(engine, task)
    assert (end["stopCode"], exit_codes(end)) == ("EssentialContainerExited", {"main": 0, "side": 0})


@pytest.mark.parametrize(
    ("side", "code", "status"), [("tidy", 0, "SUCCEEDED"), ("sleep", 143, "FAILED"), ("stubborn", 137, "FAILED")]
)
def test_the_end_of_an_essential_container_stops_the_others_and_each_exit_code_counts(
    engine: Engine, folder: Path, side: str, code: int, status: str
) -> None:
    """AWS also fails the state if a logging sidecar had to be killed."""
    file = folder / "pid"
    beside = container("side", side, file, essential=False, stopTimeout=30 if side == "tidy" else 2)
    definition = defined(engine, container("main", "exit_when", file), beside)

    ended = engine.run({"Run": run_task(engine, definition)})

    task = ended["output"] if status == "SUCCEEDED" else json.loads(ended["cause"])
    assert (ended["status"], ended.get("error")) == (status, "States.TaskFailed" if code else None)
    assert (task["StopCode"], exit_codes(task)) == ("EssentialContainerExited", {"main": 0, "side": code})


@pytest.mark.parametrize("names", [("good", "bad"), ("bad", "good")], ids=" ".join)
def test_unstartable_container_is_task_failed(engine: Engine, folder: Path, names: tuple[str, ...]) -> None:
    commands = {"good": ("sleep", folder / "pid"), "bad": ("no\0command",)}
    definition = defined(engine, *(container(name, *commands[name]) for name in names))

    ended = engine.run({"Run": run_task(engine, definition)})

    task, started = json.loads(ended["cause"]), {"good": 137} if names[0] == "good" else {}
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    assert (task["StopCode"], task["LastStatus"], exit_codes(task)) == ("TaskFailedToStart", "STOPPED", started)
    assert task["StoppedReason"] == "CannotStartContainerError: embedded null byte"
    assert {c["Name"]: c.get("Reason") for c in task["Containers"]} == {"good": None, "bad": task["StoppedReason"]}


@BEFORE_ANY_LAUNCHER
@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"Cluster": "elsewhere"}, "ECS.ClusterNotFoundException"),
        ({"TaskDefinition": "nothing:1"}, "ECS.ClientException"),
        ({"NetworkConfiguration": None}, "ECS.InvalidParameterException"),
        ({"CapacityProviderStrategy": [{"CapacityProvider": "muster-machines"}]}, "ECS.InvalidParameterException"),
        (
            {"LaunchType": None, "CapacityProviderStrategy": [{"CapacityProvider": "elsewhere"}]},
            "ECS.InvalidParameterException",
        ),
        ({"LaunchType": "EC2"}, "ECS.InvalidParameterException"),
        (
            {"Overrides": {"ContainerOverrides": [{"Name": "muster", "Command": ["x" * 9000]}]}},
            "ECS.InvalidParameterException",
        ),
    ],
    ids=[
        "cluster",
        "task definition",
        "no network",
        "launch type and strategy",
        "unknown capacity provider",
        "no machines",
        "long overrides",
    ],
)
def test_task_refused_by_ecs_has_the_ecs_error(engine: Engine, parameters: dict[str, object], error: str) -> None:
    ended = engine.run({"Run": run_task(engine, engine.values["TaskDefinition"], **parameters)})

    assert (ended["status"], ended["error"]) == ("FAILED", error)
