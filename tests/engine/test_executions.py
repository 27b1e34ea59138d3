"""Executions: names, input, stops and histories."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.engine.building import invoke
from tests.engine.support import Engine

pytestmark = pytest.mark.integration

PASS = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
STAY = {"StartAt": "Stay", "States": {"Stay": {"Type": "Wait", "Seconds": 30, "End": True}}}


@pytest.mark.parametrize("name", ["a b", "a/b", "a:b", "a{b", "x" * 81, "a\tb", "a\x85b"])
def test_name_invalid_on_aws_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(engine.sfn.exceptions.InvalidName):
        engine.sfn.start_execution(stateMachineArn=engine.machine(PASS), name=name)


def test_names_of_80_characters_and_other_alphabets_are_accepted(engine: Engine) -> None:
    machine = engine.machine(PASS)

    for name in ("x" * 80, "job-1_r.2", "顧客"):
        assert engine.sfn.start_execution(stateMachineArn=machine, name=name)["executionArn"].endswith(f":{name}")


def test_equal_name_and_input_are_one_execution_while_running(engine: Engine) -> None:
    machine = engine.machine(STAY)

    def start(text: str) -> str:
        return str(engine.sfn.start_execution(stateMachineArn=machine, name="once", input=text)["executionArn"])

    with ThreadPoolExecutor(8) as pool:
        arns = set(pool.map(start, ['{"a": 1}'] * 8))

    assert len(arns) == 1
    assert len(engine.sfn.list_executions(stateMachineArn=machine)["executions"]) == 1
    with pytest.raises(engine.sfn.exceptions.ExecutionAlreadyExists):
        start('{"a": 2}')
    engine.sfn.stop_execution(executionArn=arns.pop())
    with pytest.raises(engine.sfn.exceptions.ExecutionAlreadyExists):
        start('{"a": 1}')


def test_input_is_limited_to_256_kib(engine: Engine) -> None:
    machine = engine.machine({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    most = json.dumps("x" * (256 * 1024 - 2))

    taken = engine.finish(engine.sfn.start_execution(stateMachineArn=machine, input=most)["executionArn"])

    assert (taken["status"], len(taken["output"])) == ("SUCCEEDED", 256 * 1024 - 2)
    for refused in (json.dumps("x" * (256 * 1024 - 1)), "{not json"):
        with pytest.raises(ClientError, match="InvalidExecutionInput"):
            engine.sfn.start_execution(stateMachineArn=machine, input=refused)


def test_stopping_an_ended_execution_changes_nothing(engine: Engine) -> None:
    ended = engine.run_definition(PASS, {"a": 1})

    engine.sfn.stop_execution(executionArn=ended["executionArn"], error="Late", cause="too late")

    assert engine.finish(ended["executionArn"])["status"] == "SUCCEEDED"


def test_history_lists_events_in_order(engine: Engine) -> None:
    ended = engine.run_definition({"StartAt": "Call", "States": {"Call": invoke("Echo", {})}}, {})

    events = engine.history(ended["executionArn"])

    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    assert [e["type"] for e in events] == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]
