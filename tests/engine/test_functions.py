"""Lambda functions: their processes, errors and retries."""

import json
import sys
from pathlib import Path

import psutil
import pytest

from orchestration.local.engine.lambda_processes import SERVER
from tests.engine.support import Engine, running_engine, text_of
from tests.waiting import until

pytestmark = pytest.mark.integration


def test_function_gets_event_and_context_in_another_process(engine: Engine) -> None:
    state = engine.invoke("Echo", {"a.$": "$.a"}, OutputPath="$.Payload", End=True)

    output = engine.run({"Call": state}, {"a": "é"})["output"]

    assert (output["event"], output["function"]) == ({"a": "é"}, "muster-Echo")
    process = psutil.Process(output["pid"])
    assert process.cmdline()[:3] == [sys.executable, "-m", SERVER]
    assert process.parent() == next(p for p in psutil.Process(engine.process.pid).children() if SERVER in p.cmdline())


def test_a_user_error_is_caught_by_the_name_of_its_class(engine: Engine) -> None:
    states = {
        "Call": engine.invoke(
            "Refuse",
            Retry=[{"ErrorEquals": ["UserError"], "MaxAttempts": 0}, {"ErrorEquals": ["States.ALL"], "MaxAttempts": 5}],
            Catch=[{"ErrorEquals": ["UserError"], "ResultPath": "$.failure", "Next": "Read"}],
            End=True,
        ),
        "Read": {
            "Type": "Pass",
            "Parameters": {"name.$": "$.failure.Error", "cause.$": "States.StringToJson($.failure.Cause)"},
            "End": True,
        },
    }

    output = engine.run(states)["output"]

    assert output["name"] == "UserError"
    assert output["cause"]["errorType"] == "UserError"
    assert output["cause"]["errorMessage"] == "EMPTY_FILE: the file has no rows"
    assert {"requestId", "stackTrace"} <= output["cause"].keys()


def test_uncaught_error_fails_the_execution_with_name_and_cause(engine: Engine) -> None:
    ended = engine.run({"Call": engine.invoke("Refuse", End=True)})

    assert (ended["status"], ended["error"]) == ("FAILED", "UserError")
    assert json.loads(ended["cause"])["errorMessage"] == "EMPTY_FILE: the file has no rows"


def test_retry_calls_again_until_the_function_succeeds(engine: Engine, tmp_path: Path) -> None:
    retry = [{"ErrorEquals": ["ConnectionError"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 1.0}]
    payload = {"counter": str(tmp_path / "calls"), "failures": 2}

    ended = engine.run({"Call": engine.invoke("FailFirst", payload, Retry=retry, OutputPath="$.Payload", End=True)})

    assert ended["output"] == 3


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("Sleep", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ("Leave", "Runtime.ExitError", "Runtime exited with error: exit status 7"),
        ("Kill", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("Unserialisable", "Runtime.MarshalError", "Unable to marshal response: Object of type object is not JSON"),
        ("Missing", "Runtime.HandlerNotFound", "Handler 'no_such_function' missing"),
    ],
)
def test_broken_function_has_the_error_name_of_aws_and_the_next_call_works(
    engine: Engine, function: str, error: str, message: str
) -> None:
    broken = engine.run({"Call": engine.invoke(function, {"seconds": 60}, End=True)})
    after = engine.run({"Call": engine.invoke("Echo", {"x": 1}, OutputPath="$.Payload.event", End=True)})

    assert (broken["status"], broken["error"]) == ("FAILED", error)
    assert message in json.loads(broken["cause"])["errorMessage"]
    assert after["output"] == {"x": 1}


def test_engine_that_throttles_refuses_what_exceeds_its_limits(tmp_path: Path) -> None:
    again = [{"ErrorEquals": ["Lambda.TooManyRequestsException"], "IntervalSeconds": 1, "MaxAttempts": 60}]
    with running_engine(
        tmp_path / "engine", function_calls="1", engine_overload="throttle", engine_tasks="1"
    ) as engine:
        file = tmp_path / "held"
        holder = engine.start({"Hold": engine.invoke("Hold", {"file": str(file)}, End=True, Retry=again)})
        until(file.exists)
        refused = engine.run({"Call": engine.invoke("Echo", End=True)})
        assert (refused["status"], refused["error"]) == ("FAILED", "Lambda.TooManyRequestsException")
        assert "Rate Exceeded" in refused["cause"]
        waiting = engine.start({"Call": engine.invoke("Echo", End=True, Retry=again)})
        until(lambda: "TaskFailed" in {event["type"] for event in engine.history(waiting)})
        file.unlink()
        assert {engine.finish(one)["status"] for one in (holder, waiting)} == {"SUCCEEDED"}

        task = engine.start({"Run": engine.task("sleep", str(tmp_path / "task"), End=True)})
        until(lambda: text_of(tmp_path / "task"))
        refused = engine.run({"Run": engine.task("exit", "0", End=True)})
        assert (refused["status"], refused["error"]) == ("FAILED", "ECS.AmazonECSException")
        assert "limit on the number of tasks" in refused["cause"]
        engine.sfn.stop_execution(executionArn=task)
