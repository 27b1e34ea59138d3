"""RunTask without capacity: the API answers 200 with `failures`, which fails a state that waits for the task."""

import json
import uuid
from typing import Any

import pytest

from tests.engine.support import Engine
from tests.engine.test_tasks import container, defined, run_task

pytestmark = pytest.mark.integration

NO_ROOM: tuple[tuple[dict[str, int], str], ...] = (
    ({"memory": 100_000}, "RESOURCE:MEMORY"),
    ({"cpu": 100_000, "memory": 8}, "RESOURCE:CPU"),
)


@pytest.fixture(scope="module")
def machine(engine: Engine) -> tuple[str, str]:
    """A cluster with one machine of moto's default 4 CPUs and 4 GiB; returns its name and the machine's ARN."""
    ecs, ec2, name = engine.client("ecs"), engine.client("ec2"), f"c{uuid.uuid4().hex}"
    [instance] = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"]
    document = json.dumps({"instanceId": instance["InstanceId"]})
    ecs.create_cluster(clusterName=name)
    made = ecs.register_container_instance(cluster=name, instanceIdentityDocument=document)
    return name, str(made["containerInstance"]["containerInstanceArn"])


def state(engine: Engine, cluster: str, limit: dict[str, int], *, waits: bool = True) -> dict[str, Any]:
    made = run_task(engine, defined(engine, container("main", "exit", 0, **limit)), Cluster=cluster, LaunchType="EC2")
    return made if waits else made | {"Resource": "arn:aws:states:::ecs:runTask"}


@pytest.mark.parametrize(("limit", "reason"), NO_ROOM)
def test_task_without_room_fails_its_state_with_ecs_failures(
    engine: Engine, machine: tuple[str, str], limit: dict[str, int], reason: str
) -> None:
    cluster, arn = machine

    ended = engine.run({"Run": state(engine, cluster, limit)})

    assert (ended["status"], ended["error"]) == ("FAILED", "AmazonECS.Unknown")
    assert json.loads(ended["cause"]) == {"Failures": [{"Arn": arn, "Reason": reason}], "Tasks": []}


@pytest.mark.parametrize("error", ["AmazonECS.Unknown", "States.TaskFailed", "States.ALL"])
def test_a_state_without_room_for_its_task_is_retried_and_then_caught(
    engine: Engine, machine: tuple[str, str], error: str
) -> None:
    again = [{"ErrorEquals": [error], "IntervalSeconds": 1, "MaxAttempts": 1}]
    run = state(engine, machine[0], {"memory": 100_000}) | {"Retry": again}
    run["Catch"] = [{"ErrorEquals": [error], "Next": "Caught"}]

    execution = engine.start({"Run": run, "Caught": {"Type": "Pass", "End": True}})

    assert engine.finish(execution)["status"] == "SUCCEEDED"
    assert [e["type"] for e in engine.history(execution)].count("TaskFailed") == 2


def test_state_that_does_not_wait_gets_the_failures(engine: Engine, machine: tuple[str, str]) -> None:
    cluster, arn = machine

    ended = engine.run({"Run": state(engine, cluster, {"memory": 100_000}, waits=False)})

    assert ended["status"] == "SUCCEEDED"
    assert (ended["output"]["Tasks"], ended["output"]["Failures"]) == ([], [{"Arn": arn, "Reason": NO_ROOM[0][1]}])


def test_task_with_room_has_no_failures(engine: Engine, machine: tuple[str, str]) -> None:
    ended = engine.run({"Run": state(engine, machine[0], {"memory": 8})})

    assert (ended["status"], ended["output"]["StopCode"]) == ("SUCCEEDED", "EssentialContainerExited")
