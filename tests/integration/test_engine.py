"""What the local engine promises of AWS: each case was compared with the Step Functions documentation."""

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from orchestration.local import processes
from orchestration.local.engine.deploy import INBOX_MACHINE, FunctionSpec, MachineSpec, deploy, state_machine_arn
from orchestration.local.engine.eventbridge import transform
from orchestration.local.home import Home, initialise
from orchestration.local.parts import Context, _http_ok, environment
from orchestration.local.ports import Ports
from orchestration.settings import Settings
from tests.conftest import stack_environment

pytestmark = pytest.mark.integration

HANDLERS = "tests.integration.engine_handlers"
FUNCTIONS = (
    FunctionSpec(name="Echo", handler=f"{HANDLERS}.echo", timeout_s=30, memory_mb=256),
    FunctionSpec(name="Refuse", handler=f"{HANDLERS}.refuse"),
    FunctionSpec(name="FailFirst", handler=f"{HANDLERS}.fail_first_times"),
    FunctionSpec(name="Sleep", handler=f"{HANDLERS}.sleep", timeout_s=1),
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
    """The engine under test and the shortest way to run a state machine on it."""

    def __init__(self, settings: Settings, values: Mapping[str, str]) -> None:
        self.settings = settings
        self.values = values
        self.sfn = self.client("stepfunctions")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.settings.engine_url,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )

    def start(self, states: Mapping[str, Any], data: object = None, **top: object) -> str:
        definition = json.dumps({"StartAt": next(iter(states)), "States": states, **top})
        arn = self.sfn.create_state_machine(name=f"t{uuid.uuid4().hex}", definition=definition, roleArn=ROLE)
        execution = self.sfn.start_execution(stateMachineArn=arn["stateMachineArn"], input=json.dumps(data or {}))
        return str(execution["executionArn"])

    def finish(self, execution: str) -> dict[str, Any]:
        ended: dict[str, Any] = wait_for(lambda: _ended(self.sfn.describe_execution(executionArn=execution)))
        return ended

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


ROLE = "arn:aws:iam::123456789012:role/muster"


def wait_for(look: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def _ended(description: dict[str, Any]) -> dict[str, Any] | None:
    if description["status"] == "RUNNING":
        return None
    return description | {"output": json.loads(description["output"]) if "output" in description else None}


def _text(file: Path) -> str | None:
    return (file.read_text() or None) if file.exists() else None


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home = Home(path=tmp_path_factory.mktemp("engine"))
    settings = initialise(home, stack_environment({}), free_ports=True)
    context = Context(home=home, settings=settings, ports=Ports.load(home.ports_file, settings))
    env = environment(context, speaks_aws=True) | stack_environment({}) | settings.environment()
    argv = [sys.executable, "-m", "orchestration.local.engine.server", "--task-module", HANDLERS]
    process = processes.spawn(argv, env=env, output=home.log_file("engine"))
    try:
        wait_for(lambda: _http_ok(settings.engine_url + "/muster/health") or None)
        yield Engine(settings, deploy(settings, functions=FUNCTIONS, machines=[STARTED_BY_EVENT]))
    finally:
        processes.stop(process, timeout_s=10)
        wait_for(lambda: processes.marked(home.path) == [] or None, 10)


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
    pid = int(wait_for(lambda: _text(file)))

    engine.sfn.stop_execution(executionArn=execution, error="Cancelled", cause="by the operator")

    ended = engine.finish(execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Cancelled", "by the operator")
    wait_for(lambda: not psutil.pid_exists(pid) or None)


def test_a_task_state_that_times_out_ends_the_process_of_its_task(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    ended = engine.run({"Run": {**engine.task("sleep", str(file)), "TimeoutSeconds": 3, "End": True}})

    pid = int(wait_for(lambda: _text(file)))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    wait_for(lambda: not psutil.pid_exists(pid) or None)


def test_an_answer_to_a_task_token_is_the_result_of_the_state(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, HeartbeatSeconds=30, End=True)})
    token = wait_for(lambda: _text(file))

    engine.sfn.send_task_heartbeat(taskToken=token)
    engine.sfn.send_task_success(taskToken=token, output='{"members": 42}')

    assert engine.finish(execution)["output"] == {"members": 42}


def test_heartbeats_keep_a_waiting_state_alive_past_its_heartbeat_time(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    execution = engine.start({"Wait": engine.wait_for_token(file, HeartbeatSeconds=2, End=True)})
    token = wait_for(lambda: _text(file))

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
    token = wait_for(lambda: _text(file))

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
    token = wait_for(lambda: _text(file))
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


def test_an_input_transformer_inserts_json_or_text() -> None:
    transformer = {"InputPathsMap": {"k": "$.key", "n": "$.n"}, "InputTemplate": '{"key": <k>, "note": "<k> has <n>"}'}

    assert json.loads(transform(transformer, {"key": "a", "n": 3})) == {"key": "a", "note": "a has 3"}
