"""The shipped definitions on the engine, with test functions in place of their own."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from orchestration.workflow.resources import INBOX_MACHINE, MachineSpec, function_specs, machine_specs, substitute
from tests.engine.map_cases import TIMES
from tests.engine.support import Engine

pytestmark = pytest.mark.integration

DEFINITIONS: dict[str, dict[str, Any]] = {m.name: json.loads(m.definition) for m in machine_specs()}
SHIPPED = DEFINITIONS[INBOX_MACHINE]
WITH_A_TIME = sorted(name for name, state in SHIPPED["States"].items() if "TimeoutSecondsPath" in state)


def filled(engine: Engine, machine: Mapping[str, Any], **functions: str) -> dict[str, Any]:
    """The machine with Echo for every function that is not given."""
    echo = {f"{spec.name}Function": engine.values["EchoFunction"] for spec in function_specs()}
    given = {f"{name}Function": engine.values[f"{function}Function"] for name, function in functions.items()}
    text = substitute(MachineSpec(name="m", definition=json.dumps(machine)), {**engine.values, **echo, **given})
    made: dict[str, Any] = json.loads(text)
    return made


def that_never_ends(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state with a function or task that sleeps, and with one retry instead of three."""
    parameters = dict(state["Parameters"])
    if "FunctionName" in parameters:
        parameters |= {"FunctionName": "${SleepLongFunction}", "Payload": {"seconds": 5}}
    else:
        parameters["Overrides"] = {"ContainerOverrides": [{"Name": "muster", "Command": ["sleep", "/dev/null"]}]}
    retry = [{**r, "MaxAttempts": min(r["MaxAttempts"], 1)} for r in state["Retry"]]
    return {**state, "Parameters": parameters, "Retry": retry}


def test_dynamic_timeouts_are_retried_and_then_caught(
    engine: Engine,
) -> None:
    assert {name.removesuffix("Task").removesuffix("Machine") for name in WITH_A_TIME} == {
        "VerifyFile",
        "ImportToKafka",
        "BuildVersion",
        "PublishVersion",
    }

    def start(name: str) -> str:
        state = that_never_ends(SHIPPED["States"][name])
        after = {c["Next"] for c in state["Catch"]} | ({state["Next"]} if "Next" in state else set())
        states = {name: state, **{other: {"Type": "Pass", "End": True} for other in after}}
        machine = filled(engine, {"StartAt": name, "States": states})
        data = {"job_id": "j", "timeouts": dict.fromkeys(TIMES, 1)}
        return engine.start_definition(machine, data)

    executions = {name: start(name) for name in WITH_A_TIME}

    for name, execution in executions.items():
        ended, events = engine.finish(execution), engine.history(execution)
        assert ended["output"]["failure"] == {"Error": "States.Timeout", "Cause": ""}, name
        assert ended["output"]["job_id"] == "j"
        assert [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e] == [
            name,
            "MarkSystemFailure",
        ]
        scheduled = [e["taskScheduledEventDetails"] for e in events if e["type"] == "TaskScheduled"]
        assert [s["timeoutInSeconds"] for s in scheduled] == [1, 1], name


@pytest.mark.parametrize("shipped", ["ImportAudience", "ExportAudience"])
@pytest.mark.parametrize("rubbish", [[], ["a"], "a text", 7, True, None, {}], ids=repr)
def test_malformed_execution_input_fails_and_notifies_operators(engine: Engine, rubbish: object, shipped: str) -> None:
    machine = DEFINITIONS[shipped]
    first = machine["StartAt"]
    execution = engine.start_definition(filled(engine, machine, **{first: "Refuse"}), rubbish)

    ended, events = engine.finish(execution), engine.history(execution)

    entered = [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]
    assert (ended["status"], entered) == ("FAILED", [first, "NotifyUnregistered", "SystemFailure"])
    [notified] = [e["taskSucceededEventDetails"] for e in events if e["type"] == "TaskSucceeded"]
    event = json.loads(notified["output"])["Payload"]["event"]
    assert (event["input"], event["failure"]["Error"], event["execution"]) == (rubbish, "UserError", execution)
    assert "EMPTY_FILE" in event["failure"]["Cause"]
