"""What the local engine promises of AWS: each case was compared with the Step Functions documentation."""

import json
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from orchestration.local.engine.deploy import deploy, state_machine_arn
from orchestration.local.engine.eventbridge import transform
from tests.engine.support import FUNCTIONS, STARTED_BY_EVENT, Engine, text_of, wait_for

pytestmark = pytest.mark.integration


def test_pass_and_choice_follow_the_data(engine: Engine) -> None:
    states = {
        "Set": {"Type": "Pass", "Result": {"rows": [{"n": 5}]}, "ResultPath": "$.set", "Next": "Choose"},
        "Choose": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.set.rows[0].n", "NumericGreaterThan": 3, "Next": "Big"}],
            "Default": "Small",
        },
        "Big": {"Type": "Pass", "Parameters": {"n.$": "$.set.rows[0].n", "all.$": "$.set.rows[*].n"}, "End": True},
        "Small": {"Type": "Fail"},
    }

    assert engine.run(states)["output"] == {"n": 5, "all": [5]}


def test_a_function_gets_its_event_and_context_in_another_process(engine: Engine) -> None:
    state = engine.invoke("Echo", {"a.$": "$.a"}, OutputPath="$.Payload", End=True)

    output = engine.run({"Call": state}, {"a": "é"})["output"]

    assert (output["event"], output["function"]) == ({"a": "é"}, "muster-Echo")
    assert psutil.Process(output["pid"]).cmdline()[:3] == [
        sys.executable,
        "-m",
        "orchestration.local.engine.lambda_worker",
    ]


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


def test_an_error_that_nobody_catches_fails_the_execution_with_its_name_and_cause(engine: Engine) -> None:
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
def test_a_function_that_breaks_has_the_error_name_of_aws_and_the_next_call_works(
    engine: Engine, function: str, error: str, message: str
) -> None:
    broken = engine.run({"Call": engine.invoke(function, {"seconds": 60}, End=True)})
    after = engine.run({"Call": engine.invoke("Echo", {"x": 1}, OutputPath="$.Payload.event", End=True)})

    assert (broken["status"], broken["error"]) == ("FAILED", error)
    assert message in json.loads(broken["cause"])["errorMessage"]
    assert after["output"] == {"x": 1}


def test_a_state_that_takes_too_long_is_states_timeout(engine: Engine, tmp_path: Path) -> None:
    states = {
        "Wait": engine.wait_for_token(
            tmp_path / "token", TimeoutSeconds=1, Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Late"}], End=True
        ),
        "Late": {"Type": "Pass", "Result": "late", "End": True},
    }

    assert engine.run(states)["output"] == "late"


def test_a_task_that_exits_with_0_succeeds_and_finds_its_variables(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "variable"
    override = {"Environment": [{"Name": "COLOUR", "Value.$": "$.colour"}]}
    selector = {"code.$": "$.Containers[0].ExitCode"}
    state = engine.task("variable", "COLOUR", str(file), override=override, ResultSelector=selector)

    ended = engine.run({"Run": {**state, "End": True}}, {"colour": "blue"})

    assert (ended["status"], ended["output"], file.read_text()) == ("SUCCEEDED", {"code": 0}, "blue")


def test_a_task_that_exits_with_3_is_task_failed_with_its_exit_code_in_the_cause(engine: Engine) -> None:
    ended = engine.run({"Run": {**engine.task("exit", "3"), "End": True}})

    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(ended["cause"])["Containers"][0]["ExitCode"] == 3


def test_a_task_that_failed_is_run_again_and_again_by_its_retry(engine: Engine, tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    again = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "BackoffRate": 1.0, "MaxAttempts": 3}]

    ended = engine.run({"Run": {**engine.task("exit_first_times", str(counter), "2"), "Retry": again, "End": True}})

    assert (ended["status"], counter.read_text()) == ("SUCCEEDED", "xxx")


def test_stopping_an_execution_ends_the_process_of_its_task(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    execution = engine.start({"Run": {**engine.task("sleep", str(file)), "End": True}})
    pid = int(wait_for(lambda: text_of(file)))

    engine.sfn.stop_execution(executionArn=execution, error="Cancelled", cause="by the operator")

    ended = engine.finish(execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Cancelled", "by the operator")
    wait_for(lambda: not psutil.pid_exists(pid) or None)


def test_a_task_state_that_times_out_ends_the_process_of_its_task(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    ended = engine.run({"Run": {**engine.task("sleep", str(file)), "TimeoutSeconds": 3, "End": True}})

    pid = int(wait_for(lambda: text_of(file)))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    wait_for(lambda: not psutil.pid_exists(pid) or None)


def test_an_answer_to_a_task_token_is_the_result_of_the_state(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, HeartbeatSeconds=30, End=True)})
    token = wait_for(lambda: text_of(file))

    engine.sfn.send_task_heartbeat(taskToken=token)
    engine.sfn.send_task_success(taskToken=token, output='{"members": 42}')

    assert engine.finish(execution)["output"] == {"members": 42}


def test_heartbeats_keep_a_waiting_state_alive_past_its_heartbeat_time(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, HeartbeatSeconds=2, End=True)})
    token = wait_for(lambda: text_of(file))

    for _ in range(8):
        time.sleep(0.5)
        engine.sfn.send_task_heartbeat(taskToken=token)
    engine.sfn.send_task_success(taskToken=token, output="1")

    assert engine.finish(execution)["output"] == 1


def test_a_waiting_state_without_heartbeat_times_out(engine: Engine, tmp_path: Path) -> None:
    states = {
        "Wait": engine.wait_for_token(
            tmp_path / "token",
            HeartbeatSeconds=1,
            TimeoutSeconds=60,
            # AWS has used both names for it, so portable definitions catch both.
            Catch=[{"ErrorEquals": ["States.HeartbeatTimeout", "States.Timeout"], "Next": "Silent"}],
            End=True,
        ),
        "Silent": {"Type": "Pass", "Result": "silent", "End": True},
    }

    assert engine.run(states)["output"] == "silent"


def test_a_failure_sent_for_a_token_keeps_its_error_and_cause(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, HeartbeatSeconds=30, End=True)})
    token = wait_for(lambda: text_of(file))

    engine.sfn.send_task_failure(taskToken=token, error="MaterialisationFailed", cause='{"partition": 3}')

    ended = engine.finish(execution)
    assert (ended["error"], ended["cause"]) == ("MaterialisationFailed", '{"partition": 3}')


@pytest.mark.parametrize("heartbeat", [{}, {"HeartbeatSeconds": 5}])
def test_an_answer_that_comes_before_the_state_waits_is_not_lost(
    engine: Engine, tmp_path: Path, heartbeat: dict[str, int]
) -> None:
    state = engine.wait_for_token(tmp_path / "token", answer_first=True, TimeoutSeconds=30, End=True, **heartbeat)

    assert engine.run({"Wait": state})["output"] == {"early": True}


def test_a_token_of_an_execution_that_ended_is_refused(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, End=True)})
    token = wait_for(lambda: text_of(file))
    engine.sfn.stop_execution(executionArn=execution)
    engine.finish(execution)

    with pytest.raises((engine.sfn.exceptions.InvalidToken, engine.sfn.exceptions.TaskTimedOut)):
        engine.sfn.send_task_success(taskToken=token, output="1")


def test_the_execution_as_a_whole_times_out(engine: Engine) -> None:
    ended = engine.run({"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}, TimeoutSeconds=1)

    assert ended["status"] == "TIMED_OUT"


def test_a_string_is_valid_json_as_output(engine: Engine) -> None:
    assert engine.run({"Say": {"Type": "Pass", "Result": "done", "End": True}})["output"] == "done"


def test_jsonata_states_evaluate_expressions_with_quotes_in_variables(engine: Engine) -> None:
    states = {
        "Keep": {"Type": "Pass", "Assign": {"text": "{% $states.input.text %}"}, "Next": "Use"},
        "Use": {"Type": "Pass", "Output": {"text": "{% $text & '!' %}"}, "End": True},
    }

    assert engine.run(states, {"text": 'a "b"\n'}, QueryLanguage="JSONata")["output"] == {"text": 'a "b"\n!'}


def test_an_object_in_the_inbox_starts_the_import_with_the_event_as_input(engine: Engine) -> None:
    arn = state_machine_arn(engine.settings)
    key = f"acme/vip/{uuid.uuid4().hex}.csv"
    detail = {"bucket": {"name": "inbox"}, "object": {"key": key, "size": 10}}
    other = {"bucket": {"name": "lake"}, "object": {"key": key, "size": 10}}
    entries = [{"Source": "aws.s3", "DetailType": "Object Created", "Detail": json.dumps(d)} for d in (detail, other)]

    engine.client("events").put_events(Entries=entries)

    inputs = [
        json.loads(engine.sfn.describe_execution(executionArn=e["executionArn"])["input"])
        for e in engine.sfn.list_executions(stateMachineArn=arn)["executions"]
    ]
    assert [i["detail"] for i in inputs if i["detail"]["object"]["key"] == key] == [detail]
    assert inputs[0]["detail-type"] == "Object Created"


def test_deploying_twice_changes_nothing(engine: Engine) -> None:
    again = deploy(engine.settings, functions=FUNCTIONS, machines=[STARTED_BY_EVENT])

    assert again == engine.values


def test_an_input_transformer_inserts_json_ortext_of() -> None:
    transformer = {"InputPathsMap": {"k": "$.key", "n": "$.n"}, "InputTemplate": '{"key": <k>, "note": "<k> has <n>"}'}

    assert json.loads(transform(transformer, {"key": "a", "n": 3})) == {"key": "a", "note": "a has 3"}
