"""The state machines as files: linted, and every name in them exists."""

import importlib
import json
import math
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from statelint.config import Config
from statelint.linter import Linter

from orchestration.control.task_answers import HEARTBEAT_MS
from orchestration.kinds.records import GROUPS_MAX
from orchestration.kinds.timeouts import timeouts
from orchestration.workflow.resources import CONTAINER, EVENT_FUNCTION, SUBSTITUTIONS
from orchestration.workflow.stages import OUTAGE
from orchestration.workflow.timers import TIMERS
from segmentation.export_jobs import EXPORT_STATES

WORKFLOW = files("orchestration.workflow")
ASL = {
    name: WORKFLOW.joinpath(f"{name}.asl.json").read_text(encoding="utf-8")
    for name in ("import_audience", "export_audience")
}
MACHINES: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in ASL.items()}
MACHINE = MACHINES["import_audience"]
FUNCTIONS: dict[str, dict[str, Any]] = tomllib.loads(WORKFLOW.joinpath("functions.toml").read_text(encoding="utf-8"))
PLACES = {"function": "", "task": "Task", "machine": "Machine"}
"""Compute target of a step, and the suffix of its state's name."""
INPUT_TYPES = {
    f'Field "InputType" not allowed in State Machine.States.{name}.ItemReader.ReaderConfig'
    for name in ("VerifyUnits", "SendUnits", "BuildParts", "CheckParts")
}
"""AWS wants this field, which the specification does not have."""
FIRST = {"RegisterImport", "RegisterExport"}
every_machine = pytest.mark.parametrize("name", ASL)


def tasks(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Task state, those within a Map too."""
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            yield name, state
        elif state["Type"] == "Map":
            yield from tasks(state["ItemProcessor"])


@every_machine
def test_the_state_machine_passes_the_linter(name: str) -> None:
    found = [one for one in Linter.validate(ASL[name], Config()) if one not in INPUT_TYPES]
    assert found == []


@every_machine
def test_linter_detects_a_dead_end(name: str) -> None:
    broken = ASL[name].replace('"StartAt": "Register', '"StartAt": "Nowhere')
    assert Linter.validate(broken, Config()) != []


def test_declared_functions_are_exactly_those_used() -> None:
    named = {name for text in ASL.values() for name in re.findall(r"\$\{(\w+)\}", text)}
    timed = {f"{timer.function}Function" for timer in TIMERS}
    assert (named - set(SUBSTITUTIONS)) | timed == {f"{name}Function" for name in FUNCTIONS}


@every_machine
def test_definitions_use_exactly_the_deployments_substitutions(name: str) -> None:
    named = set(re.findall(r"\$\{(\w+)\}", ASL[name]))
    of_exports = set() if name == "export_audience" else {"ExportTaskRole"}
    assert {n for n in named if not n.endswith("Function")} == set(SUBSTITUTIONS) - of_exports


def test_every_declared_handler_can_be_imported_and_takes_event_and_context() -> None:
    for name, function in FUNCTIONS.items():
        module, _, attribute = function["handler"].rpartition(".")
        handler = getattr(importlib.import_module(module), attribute)
        assert handler.__wrapped__.__code__.co_argcount == 2, name


def test_function_outside_the_state_machines_is_declared() -> None:
    module, _, attribute = EVENT_FUNCTION.handler.rpartition(".")
    assert EVENT_FUNCTION.name not in FUNCTIONS
    assert getattr(importlib.import_module(module), attribute).__code__.co_argcount == 2


@every_machine
def test_user_errors_are_never_retried_and_always_caught_after_registration(name: str) -> None:
    top = MACHINES[name]["States"]
    for state_name, state in tasks(MACHINES[name]):
        first = state["Retry"][0]
        assert "UserError" in first["ErrorEquals"], state_name
        assert first["MaxAttempts"] == 0, state_name
        work = state_name not in FIRST | {"ExtractCause"} and not state_name.startswith(("Mark", "Notify"))
        if work and state_name in top:
            caught = {error: catch["Next"] for catch in state["Catch"] for error in catch["ErrorEquals"]}
            assert caught["UserError"] == "ExtractCause", state_name
            assert caught["States.ALL"] == "MarkSystemFailure", state_name


def test_abandoned_group_is_kept_without_ending_others() -> None:
    groups = MACHINES["export_audience"]["States"]["WriteGroups"]["ItemProcessor"]["States"]
    for name in ("WriteExportGroup", "WriteExportGroupTask", "WriteExportGroupMachine"):
        assert groups[name]["Catch"] == [
            {"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "FailExportGroup"}
        ]
        assert groups[name]["TimeoutSecondsPath"] == "$.timeout_s"


def test_route_knows_every_state_of_an_export() -> None:
    route = MACHINES["export_audience"]["States"]["Route"]
    routed = {choice["StringEquals"] for choice in route["Choices"]}
    assert (routed, route["Default"]) == (set(EXPORT_STATES) - {"FAILED"} | {"DUPLICATE"}, "AlreadyFailed")


def test_route_knows_every_state_of_a_job() -> None:
    routed = {choice["StringEquals"] for choice in MACHINE["States"]["Route"]["Choices"] if "And" not in choice}
    assert routed == {
        "DUPLICATE",
        "REGISTERED",
        "VERIFYING",
        "IMPORTING",
        "AWAITING",
        "BUILDING",
        "PUBLISHING",
        "READY",
        "SUPERSEDED",
        "CANCELLED",
    }
    assert MACHINE["States"]["Route"]["Default"] == "AlreadyFailed"


@every_machine
def test_system_errors_are_retried_with_backoff_and_jitter_in_every_state(name: str) -> None:
    for state_name, state in tasks(MACHINES[name]):
        last = state["Retry"][-1]
        assert last["ErrorEquals"] == ["States.ALL"], state_name
        assert (last["BackoffRate"], last["JitterStrategy"]) == (2.0, "FULL"), state_name
        assert last["MaxAttempts"] >= 3, state_name
        assert last["MaxDelaySeconds"] <= 60, state_name


@every_machine
def test_throttling_and_outages_are_retried_for_a_quarter_of_an_hour(name: str) -> None:
    for state_name, state in tasks(MACHINES[name]):
        task = "ecs:runTask" in state["Resource"]
        error = "AmazonECS.Unknown" if task else "Lambda.TooManyRequestsException"
        [retry] = [one for one in state["Retry"] if error in one["ErrorEquals"]]
        assert task or OUTAGE in retry["ErrorEquals"], state_name
        longest = [
            min(retry["IntervalSeconds"] * retry["BackoffRate"] ** number, retry["MaxDelaySeconds"])
            for number in range(retry["MaxAttempts"])
        ]
        deviation = math.sqrt(sum(one**2 for one in longest) / 12)  # full jitter: uniform from zero
        assert retry["JitterStrategy"] == "FULL", state_name
        assert sum(longest) / 2 - (0 if task else 3 * deviation) >= 15 * 60, state_name


def test_file_dependent_stages_take_timeouts_from_the_view() -> None:
    works = {
        "VerifyFile": "verify_s",
        "ImportToKafka": "import_s",
        "BuildVersion": "build_s",
        "PublishVersion": "publish_s",
    }
    assert set(works.values()) == set(timeouts(0))
    for work, given in works.items():
        paths = {MACHINE["States"][work + end]["TimeoutSecondsPath"] for end in PLACES.values()}
        assert paths == {f"$.timeouts.{given}"}, work


def test_wait_for_a_turn_has_no_timeout() -> None:
    turn = MACHINE["States"]["AwaitTurn"]
    assert turn["Resource"].endswith(".waitForTaskToken")
    assert (turn["TimeoutSeconds"], "HeartbeatSeconds" in turn) == (MACHINE["TimeoutSeconds"], False)


def test_heartbeat_of_the_wait_exceeds_the_relays_interval() -> None:
    state = MACHINE["States"]["AwaitMaterialisation"]
    assert state["Resource"].endswith(".waitForTaskToken")
    assert state["HeartbeatSeconds"] * 1000 >= 10 * HEARTBEAT_MS


def test_wait_without_a_heartbeat_begins_again_once_workers_are_ensured() -> None:
    wait = MACHINE["States"]["AwaitMaterialisation"]
    caught = {error: catch["Next"] for catch in wait["Catch"] for error in catch["ErrorEquals"]}
    assert (caught["States.HeartbeatTimeout"], MACHINE["States"]["EnsureWorkers"]["Next"]) == ("EnsureWorkers", "Route")
    assert {"States.HeartbeatTimeout", "WorkersStalled"} <= set(wait["Retry"][0]["ErrorEquals"])


WHERE = {
    "import_audience": {
        "VerifyWhere": ("VerifyFile", "verify"),
        "ImportWhere": ("ImportToKafka", "import"),
        "BuildWhere": ("BuildVersion", "build"),
        "PublishWhere": ("PublishVersion", "publish"),
    },
    "export_audience": {"WriteWhere": ("WriteExportGroup", "export")},
}


def choices(name: str) -> Iterator[tuple[dict[str, Any], str, str, dict[str, Any]]]:
    """Each choice of a compute target: the choice, the work, the command of its tasks, and the states around it."""
    for where, (work, command) in WHERE[name].items():
        around = MACHINES[name]["States"]
        if where not in around:
            around = around["WriteGroups"]["ItemProcessor"]["States"]
        yield around[where], work, command, around


@every_machine
def test_choice_follows_the_views_target(name: str) -> None:
    for choice, work, _, around in choices(name):
        leads = {c["StringEquals"]: c["Next"] for c in choice["Choices"] if c["Variable"] == "$.place"}
        assert leads | {"machine": choice["Default"]} == {place: work + end for place, end in PLACES.items()}
        assert all(work + end in around for end in PLACES.values())


@every_machine
def test_task_runs_an_image_command_in_its_network(name: str) -> None:
    for _, work, command, around in choices(name):
        for place in ("task", "machine"):
            parameters = dict(around[work + PLACES[place]]["Parameters"])
            [container] = parameters.pop("Overrides")["ContainerOverrides"]
            assert container["Name"] == CONTAINER
            assert container["Command.$"].startswith(f"States.Array('task', '{command}', $.")
            assert container["Environment"] == [{"Name": "MUSTER_PLACE", "Value": place}]
            assert parameters.pop("NetworkConfiguration") == {
                "AwsvpcConfiguration": {
                    "Subnets.$": "States.StringSplit('${TaskSubnets}', ',')",
                    "SecurityGroups.$": "States.StringSplit('${TaskSecurityGroups}', ',')",
                    "AssignPublicIp": "DISABLED",
                }
            }
            fargate = {"LaunchType": "FARGATE", "TaskDefinition": "${TaskDefinition}"}
            machine = {
                "CapacityProviderStrategy": [{"CapacityProvider": "${MachineCapacity}", "Weight": 1}],
                "TaskDefinition": "${MachineTaskDefinition}",
            }
            assert parameters == {"Cluster": "${TaskCluster}"} | (fargate if place == "task" else machine)


@every_machine
def test_unplaced_task_is_retried_for_a_long_time(name: str) -> None:
    for state_name, state in tasks(MACHINES[name]):
        if "runTask" not in state["Resource"]:
            continue
        _, no_place, _ = state["Retry"]
        assert no_place["ErrorEquals"] == [
            "AmazonECS.Unknown",
            "ECS.AmazonECSException",
            "ECS.ClientException",
            "ECS.ServerException",
        ]
        waits = [
            min(no_place["IntervalSeconds"] * no_place["BackoffRate"] ** n, no_place["MaxDelaySeconds"])
            for n in range(no_place["MaxAttempts"])
        ]
        assert (len(waits), max(waits), sum(waits) > 30 * 60) == (10, 300, True), state_name


def last_states(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every state that ends an item of a Map."""
    for state in machine["States"].values():
        if state["Type"] == "Map":
            yield from ((name, one) for name, one in state["ItemProcessor"]["States"].items() if one.get("End"))


def test_result_of_a_map_never_exceeds_what_a_state_may_return() -> None:
    """It is the list of its items' outputs, though it is discarded: `{}` each."""
    ends = dict(last_states(MACHINES["export_audience"]))
    assert set(ends) == {"WriteExportGroup", "WriteExportGroupTask", "WriteExportGroupMachine", "FailExportGroup"}
    assert [name for name, state in ends.items() if "OutputPath" not in state or state["OutputPath"] is not None] == []
    assert len(json.dumps([{}] * GROUPS_MAX)) < 256 * 1024
