"""The engine runs the Amazon States Language as AWS documents it; our definitions use only features shown here."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestration.workflow.resources import machine_specs
from orchestration.workflow.stages import UNAVAILABLE
from tests.engine.building import Case, invoke
from tests.engine.cases import CASES
from tests.engine.features import features
from tests.engine.map_cases import MAP_CASES, READ, READ_OR_CAUGHT, SELECTED
from tests.engine.support import Engine, text_of
from tests.waiting import until

pytestmark = pytest.mark.integration

WAIT: dict[str, Any] = {
    **invoke("KeepToken", {"token.$": "$$.Task.Token", "file.$": "$.file", "id.$": "$$.Execution.Id"}),
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "HeartbeatSeconds": 20,
    "TimeoutSeconds": 40,
    "Retry": [{"ErrorEquals": ["States.Timeout", "States.HeartbeatTimeout"], "MaxAttempts": 0}],
    "Catch": [{"ErrorEquals": ["States.Timeout", "States.HeartbeatTimeout"], "ResultPath": None, "Next": "Silent"}],
}
AWAITED: dict[str, Any] = {"StartAt": "Wait", "States": {"Wait": WAIT, "Silent": {"Type": "Fail", "Error": "Silent"}}}
BACKOFF = invoke(
    "FailFirst",
    {"counter.$": "$.counter", "failures": 3},
    Retry=[
        {
            "ErrorEquals": ["States.ALL"],
            "IntervalSeconds": 1,
            "BackoffRate": 2.0,
            "MaxDelaySeconds": 2,
            "MaxAttempts": 3,
            "JitterStrategy": "NONE",
        }
    ],
    OutputPath="$.Payload",
)
JITTER = {**BACKOFF, "Retry": [{**BACKOFF["Retry"][0], "JitterStrategy": "FULL"}]}
REVISITED: dict[str, Any] = {
    "StartAt": "Work",
    "States": {
        "Work": {
            **{k: v for k, v in invoke("CountUp", {"file.$": "$.file"}).items() if k != "End"},
            "Retry": [{"ErrorEquals": ["NotYetError"], "IntervalSeconds": 1, "BackoffRate": 1.0, "MaxAttempts": 1}],
            "Catch": [{"ErrorEquals": ["NotYetError"], "ResultPath": None, "Next": "Again"}],
            "ResultSelector": {"calls.$": "$.Payload"},
            "End": True,
        },
        "Again": {"Type": "Pass", "Next": "Work"},
    },
}
LOOP: dict[str, Any] = {
    "StartAt": "Work",
    "States": {
        "Work": {
            **invoke("CountUp", {"file.$": "$.file"}, OutputPath="$.Payload"),
            "Catch": [{"ErrorEquals": ["NotYetError"], "ResultPath": None, "Next": "Work"}],
        }
    },
}
TASK: dict[str, Any] = {
    "Type": "Task",
    "Resource": "arn:aws:states:::ecs:runTask.sync",
    "Parameters": {
        "LaunchType": "FARGATE",
        "Cluster": "${TaskCluster}",
        "TaskDefinition": "${TaskDefinition}",
        "NetworkConfiguration": {
            "AwsvpcConfiguration": {
                "Subnets.$": "States.StringSplit('${TaskSubnets}', ',')",
                "SecurityGroups.$": "States.StringSplit('${TaskSecurityGroups}', ',')",
                "AssignPublicIp": "DISABLED",
            }
        },
        "Overrides": {
            "TaskRoleArn": "${ExportTaskRole}",
            "ContainerOverrides": [
                {
                    "Name": "muster",
                    "Command.$": "States.Array('exit', $.code)",
                    "Environment": [{"Name": "COLOUR", "Value": "blue"}],
                }
            ],
        },
    },
    "ResultSelector": {"code.$": "$.Containers[0].ExitCode", "stop.$": "$.StopCode", "why.$": "$.StoppedReason"},
    "TimeoutSeconds": 60,
    "Retry": [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 0}],
    "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "Failed"}],
    "End": True,
}
RUN: dict[str, Any] = {"StartAt": "Run", "States": {"Run": TASK, "Failed": {"Type": "Pass", "End": True}}}
ON_MACHINE: dict[str, Any] = {
    **TASK,
    "Parameters": {
        **{name: value for name, value in TASK["Parameters"].items() if name != "LaunchType"},
        "CapacityProviderStrategy": [{"CapacityProvider": "${MachineCapacity}", "Weight": 1}],
        "TaskDefinition": "${MachineTaskDefinition}",
    },
    "ResultSelector": {
        **TASK["ResultSelector"],
        "launch.$": "$.LaunchType",
        "capacity.$": "$.CapacityProviderName",
        "family.$": "$.Group",
    },
}
RUN_ON_MACHINE: dict[str, Any] = {**RUN, "States": {**RUN["States"], "Run": ON_MACHINE}}
NO_PLACE = ("AmazonECS.Unknown", "ECS.AmazonECSException", "ECS.ClientException", "ECS.ServerException")
"""How Step Functions names a task that finds no capacity.

An answer with failures ("Run Amazon ECS or Fargate tasks"), an error that the API does not declare, such as no capacity
of Fargate or throttling, a quota that is used up, and an error of the server.
"""
UNPLACED: dict[str, Any] = {
    **RUN,
    "States": {
        **RUN["States"],
        "Run": {
            **TASK,
            "Retry": [
                {"ErrorEquals": ["UserError"], "MaxAttempts": 0},
                {"ErrorEquals": list(NO_PLACE), "IntervalSeconds": 1, "MaxDelaySeconds": 1, "MaxAttempts": 2},
                {"ErrorEquals": ["States.ALL"], "MaxAttempts": 0},
            ],
        },
    },
}
REFUSED_CALLS = tuple(error for error in UNAVAILABLE.errors if error.startswith("Lambda."))
REFUSED_CALL: dict[str, Any] = {
    "StartAt": "Call",
    "States": {
        "Call": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": "${EchoFunction}", "Payload": {"refused.$": "$.refused"}},
            "Retry": [{"ErrorEquals": list(REFUSED_CALLS), "IntervalSeconds": 1, "MaxAttempts": 1}],
            "End": True,
        }
    },
}
MACHINES = (
    {"StartAt": "B", "States": {"B": BACKOFF}},
    {"StartAt": "J", "States": {"J": JITTER}},
    AWAITED,
    REVISITED,
    LOOP,
    RUN,
    RUN_ON_MACHINE,
    UNPLACED,
    REFUSED_CALL,
    READ,
    READ_OR_CAUGHT,
    SELECTED,
)
ALL_CASES = (*CASES, *MAP_CASES)


def test_shipped_machines_use_only_tested_features() -> None:
    shown = {
        feature for machine in (*(case.definition for case in ALL_CASES), *MACHINES) for feature in features(machine)
    }

    for machine in machine_specs():
        assert features(json.loads(machine.definition)) - shown == set(), machine.name


def test_untested_feature_is_detected() -> None:
    machine = {
        "StartAt": "A",
        "States": {
            "A": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage",
                "Parameters": {"x.$": "States.Hash($.a, 'MD5')"},
                "Retry": [{"ErrorEquals": ["States.Permissions", "ECS.ClientException", "Lambda.Unknown", "Mine"]}],
            },
            "B": {
                "Type": "Task",
                "Resource": "arn:aws:states:::ecs:runTask",
                "Parameters": {
                    "LaunchType": "EXTERNAL",
                    "PlatformVersion": "1.4.0",
                    "NetworkConfiguration": {"AwsvpcConfiguration": {"AssignPublicIp": "ENABLED"}},
                },
            },
        },
    }

    found = features(machine)

    assert {"integration arn:aws:states:::sqs:sendMessage", "intrinsic States.Hash"} < found
    assert {f for f in found if f.startswith("Retry error")} == {
        "Retry error States.Permissions",
        "Retry error ECS.ClientException",
        "Retry error Lambda.Unknown",
    }
    assert {f for f in found if f.startswith("runTask")} == {
        "runTask LaunchType EXTERNAL",
        "runTask PlatformVersion",
        "runTask NetworkConfiguration",
        "runTask NetworkConfiguration.AwsvpcConfiguration",
        "runTask NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp ENABLED",
    }


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: str(case.name))
def test_state_machine_ends_as_on_aws(engine: Engine, case: Case) -> None:
    ended = engine.run_definition(case.definition, case.data)

    assert (ended["status"], ended.get("error")) == (case.status, case.error)
    if case.cause is not None:
        assert ended["cause"] == case.cause
    if case.status == "SUCCEEDED":
        assert _comparable(ended["output"], case.output) == _filled(case.output, ended)


def _filled(expected: Any, ended: dict[str, Any]) -> Any:
    arn = ended["executionArn"]
    words = {"ARN": arn, "EXECUTION": arn.split(":")[-1], "MACHINE": arn.split(":")[-2]}
    if isinstance(expected, dict):
        return {name: _filled(value, ended) for name, value in expected.items()}
    if isinstance(expected, list):
        return [_filled(value, ended) for value in expected]
    return words.get(expected, expected) if isinstance(expected, str) else expected


def _comparable(output: Any, expected: Any) -> Any:
    """A cause contains a request id and a stack: only what the case names is compared."""
    if isinstance(expected, dict) and "CauseHas" in expected and expected["CauseHas"] in output["Cause"]:
        return {"Error": output["Error"], "CauseHas": expected["CauseHas"]}
    return output


def test_retries_wait_longer_each_time_up_to_the_maximum(engine: Engine, tmp_path: Path) -> None:
    least = (1, 2, 2)
    for attempt in range(3):  # a machine that stalls for a second makes a wait longer
        ended = engine.run_definition(MACHINES[0], {"counter": str(tmp_path / f"calls{attempt}")})
        assert ended["output"] == 4
        waits = _pauses(engine, ended["executionArn"])
        assert all(wait >= short for wait, short in zip(waits, least, strict=True)), waits
        if all(wait < short + 1.5 for wait, short in zip(waits, least, strict=True)):
            return
    pytest.fail(f"longer than they should be, three times: {waits}")


def test_jitter_shortens_a_wait_and_never_lengthens_it(engine: Engine, tmp_path: Path) -> None:
    def total(number: int) -> float:
        ended = engine.run_definition(MACHINES[1], {"counter": str(tmp_path / f"calls{number}")})
        assert ended["output"] == 4
        return sum(_pauses(engine, ended["executionArn"]))

    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(total, range(4)))

    assert min(totals) < 4.9  # without jitter each takes at least 5 s; the chance that all four draw so long is 1e-9
    assert len({round(t, 1) for t in totals}) > 1


def _pauses(engine: Engine, execution: str) -> list[float]:
    events = engine.history(execution)
    failed = [e["timestamp"] for e in events if e["type"] == "TaskFailed"]
    scheduled = [e["timestamp"] for e in events if e["type"] == "TaskScheduled"]
    return [(again - at).total_seconds() for at, again in zip(failed, scheduled[1:], strict=True)]


def test_each_visit_of_a_state_resets_its_retries(engine: Engine, tmp_path: Path) -> None:
    """Two calls per visit; the fifth one succeeds, on the third visit."""
    file = tmp_path / "calls"
    ended = engine.run_definition(REVISITED, {"file": str(file)})

    assert ended["output"] == {"calls": 5}
    entered = [e for e in engine.history(ended["executionArn"]) if e["type"] == "TaskStateEntered"]
    assert len(entered) == 3


def test_catch_can_return_to_its_own_state(engine: Engine, tmp_path: Path) -> None:
    ended = engine.run_definition(LOOP, {"file": str(tmp_path / "calls")})

    assert (ended["status"], ended["output"]) == ("SUCCEEDED", 5)


def test_second_answer_to_a_token_is_refused(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start_definition(AWAITED, {"file": str(file)})
    token = until(lambda: text_of(file))

    engine.sfn.send_task_success(taskToken=token, output='{"n": 1}')
    closed = (engine.sfn.exceptions.TaskTimedOut, engine.sfn.exceptions.InvalidToken)
    with pytest.raises(closed):
        engine.sfn.send_task_success(taskToken=token, output='{"n": 2}')
    with pytest.raises(closed):
        engine.sfn.send_task_failure(taskToken=token, error="Late")
    with pytest.raises(closed):
        engine.sfn.send_task_heartbeat(taskToken=token)

    assert engine.finish(execution)["output"] == {"n": 1}


def test_answer_after_a_timeout_is_refused(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    late = {**WAIT, "HeartbeatSeconds": 1, "TimeoutSeconds": 30}
    states = {"Wait": late, "Silent": {"Type": "Wait", "Seconds": 300, "End": True}}
    execution = engine.start_definition({"StartAt": "Wait", "States": states}, {"file": str(file)})
    token = until(lambda: text_of(file))
    [entered] = until(lambda: [e for e in engine.history(execution) if e["type"] == "WaitStateEntered"])

    with pytest.raises(engine.sfn.exceptions.TaskTimedOut):
        engine.sfn.send_task_success(taskToken=token, output="1")

    assert json.loads(entered["stateEnteredEventDetails"]["input"]) == {"file": str(file)}
    engine.sfn.stop_execution(executionArn=execution)


def test_unknown_token_is_invalid(engine: Engine) -> None:
    with pytest.raises(engine.sfn.exceptions.InvalidToken):
        engine.sfn.send_task_success(taskToken="never", output="1")


def test_a_task_that_exits_with_0_is_described_as_ecs_does(engine: Engine) -> None:
    ended = engine.run_definition(RUN, {"code": "0"})

    why = "Essential container in task exited"
    assert ended["output"] == {"code": 0, "stop": "EssentialContainerExited", "why": why}


def test_a_failed_task_is_task_failed_with_the_description_of_the_task_as_cause(engine: Engine) -> None:
    failure = engine.run_definition(RUN, {"code": "3"})["output"]["failure"]

    task = json.loads(failure["Cause"])
    assert failure["Error"] == "States.TaskFailed"
    assert (task["LastStatus"], task["DesiredStatus"], task["StopCode"]) == (
        "STOPPED",
        "STOPPED",
        "EssentialContainerExited",
    )
    assert {name: task["Containers"][0][name] for name in ("Name", "ExitCode", "LastStatus")} == {
        "Name": "muster",
        "ExitCode": 3,
        "LastStatus": "STOPPED",
    }
    override = task["Overrides"]["ContainerOverrides"][0]
    assert (override["Command"], override["Environment"]) == (["exit", "3"], [{"Name": "COLOUR", "Value": "blue"}])
    assert task["Overrides"]["TaskRoleArn"] == engine.values["ExportTaskRole"]
    assert {"TaskArn", "ClusterArn", "TaskDefinitionArn"} <= task.keys()


def test_a_task_runs_on_the_machines_of_a_capacity_provider(engine: Engine) -> None:
    ended = engine.run_definition(RUN_ON_MACHINE, {"code": "0"})

    assert ended["output"] == {
        "code": 0,
        "stop": "EssentialContainerExited",
        "why": "Essential container in task exited",
        "launch": "EC2",
        "capacity": "muster-machines",
        "family": "family:muster-machine-task",
    }


@pytest.mark.parametrize("error", NO_PLACE)
def test_unplaced_task_is_retried_by_the_retrier_of_its_error(engine: Engine, error: str) -> None:
    ended = engine.run_definition(refused(error, times=2), {"code": "0"})
    assert ended["output"]["code"] == 0
    failed = [e for e in engine.history(ended["executionArn"]) if e["type"] == "TaskFailed"]
    assert [e["taskFailedEventDetails"]["error"] for e in failed] == [error, error]

    ended = engine.run_definition(refused(error, times=3), {"code": "0"})
    assert ended["output"]["failure"]["Error"] == error


def test_refused_calls_of_functions_are_retried_by_the_names_of_their_errors(engine: Engine) -> None:
    def start(error: str, times: int) -> str:
        return engine.start_definition(REFUSED_CALL, {"refused": f"{error} {times} {uuid.uuid4().hex}"})

    once = {error: start(error, 1) for error in REFUSED_CALLS}
    twice = {error: start(error, 2) for error in REFUSED_CALLS}
    assert {error: engine.finish(one)["status"] for error, one in once.items()} == dict.fromkeys(once, "SUCCEEDED")
    assert {error: engine.finish(one)["error"] for error, one in twice.items()} == {error: error for error in twice}


def refused(error: str, *, times: int) -> dict[str, Any]:
    """A machine whose task is refused `times` times with an error before it runs."""
    definition: dict[str, Any] = json.loads(json.dumps(UNPLACED))
    container = definition["States"]["Run"]["Parameters"]["Overrides"]["ContainerOverrides"][0]
    container["Environment"] = [{"Name": "REFUSED", "Value": f"{error} {times} {uuid.uuid4().hex}"}]
    return definition
