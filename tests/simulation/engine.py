"""Step Functions: an interpreter of the deployed definition, its client, and invocations that die.

It knows only what `import_audience.asl.json` uses; anything else raises KeyError.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError, EndpointConnectionError

from tests.simulation.kernel import Kernel, Killed, Process, Signal, call_in
from tests.simulation.ports import Ports

DEFINITION: Final = json.loads(
    (Path(__file__).parents[2] / "orchestration" / "workflow" / "import_audience.asl.json").read_text()
)
LAMBDA: Final = "arn:aws:states:::lambda:invoke"
WAIT_FOR_TOKEN: Final = LAMBDA + ".waitForTaskToken"
RUN_TASK: Final = "arn:aws:states:::ecs:runTask.sync"


class StateError(Exception):
    """The error of a failed state, named as in Step Functions."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(error, cause)
        self.error = error
        self.cause = cause


@dataclass(eq=False)
class Token:
    """A task token that waits for an answer."""

    changed: Signal = field(default_factory=Signal)
    outcome: tuple[str, Any] | None = None
    beaten_us: int = 0


@dataclass(eq=False)
class Execution:
    """One run of the state machine. Durable, as in the service."""

    arn: str
    input: str
    process: Process
    status: str = "RUNNING"
    cause: str = ""
    state: str = ""
    invocations: list[Process] = field(default_factory=list)


class Engine:
    """All executions. `invoke(function, event)` and `run_task(arguments)` run the product's code in a process."""

    def __init__(
        self,
        ports: Ports,
        *,
        invoke: Callable[[str, Mapping[str, Any]], Any],
        run_task: Callable[[list[str]], int],
        new_process: Callable[[str, str], Process],
        read_object: Callable[[str, str], bytes],
    ) -> None:
        self._ports = ports
        self._kernel: Kernel = ports.kernel
        self._invoke = invoke
        self._run_task = run_task
        self._new_process = new_process
        self._read_object = read_object
        self._random = random.Random(ports.kernel.random.random())
        self._numbers = 0
        self.executions: dict[str, Execution] = {}
        self.tokens: dict[str, Token] = {}

    def start(self, arn: str, given: str) -> None:
        """Begin an execution. Starting the same name with the same input again is not an error while it runs."""
        known = self.executions.get(arn)
        if known is not None:
            if known.status == "RUNNING" and known.input == given:
                return
            raise _client_error("ExecutionAlreadyExists", "StartExecution")
        execution = Execution(arn, given, Process(name=arn.rsplit(":", 1)[1], kind="execution"))
        self.executions[arn] = execution
        self._kernel.spawn(execution.process, "states", lambda: self._run(execution))

    def lose(self, arn: str) -> None:
        """Forget an execution. What it had invoked keeps running."""
        self._kernel.kill(self.executions.pop(arn).process)

    def stop(self, execution: Execution, cause: str) -> None:
        """StopExecution: stop the containers; functions keep running."""
        if execution.status != "RUNNING":
            return
        execution.status, execution.cause = "ABORTED", cause
        for process in execution.invocations:
            if process.name.startswith("task"):
                self._kernel.kill(process)
        self._kernel.kill(execution.process)

    # --- the states --------------------------------------------------------------------------------------------------

    def _run(self, execution: Execution) -> None:
        self._walk(execution, DEFINITION, json.loads(execution.input))

    def _walk(self, execution: Execution, machine: Mapping[str, Any], data: Any) -> None:
        """Run the states of a machine, or of a child of a Map."""
        name = machine["StartAt"]
        while True:
            execution.state = name
            if machine is DEFINITION and self._ports.faults.strike("execution lost"):
                self.executions.pop(execution.arn, None)
                return
            state = machine["States"][name]
            match state["Type"]:
                case "Map":
                    name, data = self._map(execution, state, data)
                case "Choice":
                    name = _choose(state, data)
                case "Wait":
                    self._kernel.sleep(state["Seconds"])
                    name = state["Next"]
                case "Task":
                    following, data = self._task(execution, state, data)
                    if following is None:
                        return
                    name = following
                case "Succeed":
                    execution.status = "SUCCEEDED"
                    return
                case "Fail":
                    execution.status, execution.cause = "FAILED", state["Error"]
                    return
                case other:
                    raise KeyError(other)

    def _map(self, execution: Execution, state: Mapping[str, Any], data: Any) -> tuple[str, Any]:
        """A Distributed Map: children catch their errors, so none may fail."""
        place = {name: _get(data, path) for name, path in state["ItemReader"]["Parameters"].items()}
        items = list(json.loads(self._read_object(place["Bucket.$"], place["Key.$"])))
        ended, failed, left = Signal(), list[StateError](), list(enumerate(items))
        running = min(len(items), _get(data, state["MaxConcurrencyPath"]))
        alive = [running]

        def children() -> None:
            try:
                while left and not failed:
                    number, item = left.pop(0)
                    known = {"Execution": {"Id": execution.arn}, "Map": {"Item": {"Index": number, "Value": item}}}
                    self._walk(execution, state["ItemProcessor"], _filled(state["ItemSelector"], data, known))
            except StateError as exc:
                failed.append(exc)
            finally:
                alive[0] -= 1
                if not alive[0]:
                    self._kernel.set(ended)

        for number in range(running):
            self._kernel.spawn(execution.process, f"children {number}", children)
        self._kernel.wait(ended)
        if failed:
            [catch] = state["Catch"]
            failure = {"Error": "States.ExceedToleratedFailureThreshold", "Cause": ""}
            return catch["Next"], _put(data, catch["ResultPath"], failure)
        return state["Next"], data

    def _task(self, execution: Execution, state: Mapping[str, Any], data: Any) -> tuple[str | None, Any]:
        tried = [0] * len(state.get("Retry", ()))
        while True:
            try:
                result = self._once(execution, state, data)
                break
            except StateError as exc:
                wait_s = self._retry(state, tried, exc.error)
                if wait_s is not None:
                    self._kernel.sleep(wait_s)
                    continue
                for catch in state.get("Catch", ()):
                    if _matches(catch["ErrorEquals"], exc.error):
                        failure = {"Error": exc.error, "Cause": exc.cause}
                        return catch["Next"], _put(data, catch.get("ResultPath", "$"), failure)
                execution.status, execution.cause = "FAILED", exc.error
                raise Killed from exc
        if state.get("ResultPath", "$") is None:
            return state.get("Next"), data
        # The answer of a function is wrapped, and the path unwraps it. The answer to a token is the output itself.
        return state["Next"], _get({"Payload": result}, state["OutputPath"]) if "OutputPath" in state else result

    def _retry(self, state: Mapping[str, Any], tried: list[int], error: str) -> float | None:
        for number, retry in enumerate(state.get("Retry", ())):
            if _matches(retry["ErrorEquals"], error):
                tried[number] += 1
                if tried[number] > retry["MaxAttempts"]:
                    return None
                longest = min(
                    retry["IntervalSeconds"] * retry["BackoffRate"] ** (tried[number] - 1), retry["MaxDelaySeconds"]
                )
                return self._random.uniform(0, longest)
        return None

    def _once(self, execution: Execution, state: Mapping[str, Any], data: Any) -> Any:
        parameters = state["Parameters"]
        known = {"Execution": {"Id": execution.arn, "Input": json.loads(execution.input)}}
        timeout_s = state.get("TimeoutSeconds")
        if "TimeoutSecondsPath" in state:
            timeout_s = _get(data, state["TimeoutSecondsPath"])
        match state["Resource"]:
            case str(resource) if resource in {LAMBDA, WAIT_FOR_TOKEN}:
                function = parameters["FunctionName"].removeprefix("${").removesuffix("Function}")
                token = None
                if resource == WAIT_FOR_TOKEN:
                    self._numbers += 1
                    known["Task"] = {"Token": f"token-{self._numbers}"}
                    token = self.tokens[f"token-{self._numbers}"] = Token(beaten_us=self._kernel.now_us)
                event = _filled(parameters["Payload"], data, known)
                if token is None:
                    return self._invoked(
                        execution,
                        f"lambda {_snake(function)}",
                        lambda: self._invoke(_snake(function), event),
                        timeout_s,
                    )
                try:
                    self._invoked(
                        execution,
                        f"lambda {_snake(function)}",
                        lambda: self._invoke(_snake(function), event),
                        timeout_s,
                    )
                    return self._answer(token, state)
                finally:
                    self.tokens.pop(known["Task"]["Token"], None)
            case str(resource) if resource == RUN_TASK:
                text = parameters["Overrides"]["ContainerOverrides"][0]["Command.$"]
                _entry, command, *paths = text.removeprefix("States.Array(").removesuffix(")").split(", ")
                arguments = [command.strip("'"), *(_value(path, data, known) for path in paths)]
                code = self._invoked(execution, f"task {arguments[0]}", lambda: self._run_task(arguments), timeout_s)
                if code:
                    raise StateError("States.TaskFailed", f"exit code {code}")
                return {}
            case other:
                raise KeyError(other)

    def _invoked(self, execution: Execution, name: str, run: Callable[[], Any], timeout_s: float | None) -> Any:
        """Run a function or a container. It may keep running after the engine has given up on it, as a zombie."""
        self._numbers += 1
        process = self._new_process(f"{name} {self._numbers}", "invocation")
        living = [p for p in execution.invocations if p.tasks]
        if " import" in name and any(" import" in p.name for p in living):
            self._ports.faults.saw("late attempt")  # the previous attempt keeps running, abandoned by the engine
        execution.invocations = [*living, process]
        done, outcome = call_in(self._kernel, process, run, name)
        deadline_us = self._kernel.now_us + int((timeout_s or 900) * 1e6)
        while not done.is_set:
            if process.dead:
                raise StateError("States.TaskFailed", "the process has died")
            if self._kernel.now_us >= deadline_us:
                raise StateError("States.Timeout", f"after {timeout_s} s")
            self._kernel.wait(done, 5.0)
        if len(outcome) == 2:
            exc = outcome[1]
            cause = json.dumps({"errorType": type(exc).__name__, "errorMessage": str(exc)})
            raise StateError(type(exc).__name__, cause)
        if self._ports.faults.strike("invocation answer lost"):
            raise StateError("Lambda.SdkClientException", "the answer was lost")
        return outcome[0]

    def _answer(self, token: Token, state: Mapping[str, Any]) -> Any:
        deadline_us = self._kernel.now_us + int(state["TimeoutSeconds"] * 1e6)
        heartbeat_s = state.get("HeartbeatSeconds")
        while token.outcome is None:
            limit_us = deadline_us
            if heartbeat_s is not None:
                limit_us = min(limit_us, token.beaten_us + int(heartbeat_s * 1e6))
            if self._kernel.now_us >= limit_us:
                if limit_us == deadline_us:
                    raise StateError("States.Timeout", "")
                self._ports.faults.saw("wait without a heartbeat")
                raise StateError("States.HeartbeatTimeout", "")
            self._kernel.wait(token.changed, (limit_us - self._kernel.now_us) / 1e6)
            token.changed.is_set = False
        kind, said = token.outcome
        if kind == "failure":
            raise StateError(*said)
        return said


class Client:
    """The product's view of a boto3 client."""

    def __init__(self, engine: Engine, ports: Ports) -> None:
        self._engine = engine
        self._ports = ports

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803  # boto3's names
        def act() -> dict[str, Any]:
            found = self._engine.executions.get(executionArn)
            if found is None:
                raise _client_error("ExecutionDoesNotExist", "DescribeExecution")
            return {"status": found.status, "cause": found.cause}

        return dict(self._call("describe execution", act))

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: A002, N803
        arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        self._call(f"start execution {name}", lambda: self._engine.start(arn, input))
        return {"executionArn": arn}

    def stop_execution(self, *, executionArn: str, error: str = "", cause: str = "") -> dict[str, Any]:  # noqa: N803
        def act() -> None:
            found = self._engine.executions.get(executionArn)
            if found is None:
                raise _client_error("ExecutionDoesNotExist", "StopExecution")
            self._engine.stop(found, f"{error}: {cause}")

        self._call("stop execution", act)
        return {}

    def send_task_success(self, *, taskToken: str, output: str) -> None:  # noqa: N803
        self._say(taskToken, ("success", json.loads(output)))

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> None:  # noqa: N803
        self._say(taskToken, ("failure", (error, cause)))

    def send_task_heartbeat(self, *, taskToken: str) -> None:  # noqa: N803
        self._say(taskToken, None)

    def _say(self, name: str, outcome: tuple[str, Any] | None) -> None:
        def act() -> None:
            token = self._engine.tokens.get(name)
            if token is None or token.outcome is not None:
                raise _client_error("TaskTimedOut", "SendTask")
            if outcome is not None and self._ports.faults.strike("task token answer lost"):
                return
            token.beaten_us = self._ports.kernel.now_us
            if outcome is not None:
                token.outcome = outcome
            self._ports.kernel.set(token.changed)

        self._call(f"answer {name}", act)

    def _call(self, what: str, act: Callable[[], Any]) -> Any:
        return self._ports.call("engine", what, act, lambda text: EndpointConnectionError(endpoint_url=text))


def _client_error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, operation)


def _matches(wanted: list[str], error: str) -> bool:
    return error in wanted or "States.ALL" in wanted


def _choose(state: Mapping[str, Any], data: Any) -> str:
    for choice in state["Choices"]:
        if all(_holds(test, data) for test in choice.get("And", [choice])):
            return str(choice["Next"])
    return str(state["Default"])


def _holds(test: Mapping[str, Any], data: Any) -> bool:
    value = _get(data, test["Variable"])
    return bool(value == (test["StringEquals"] if "StringEquals" in test else test["BooleanEquals"]))


def _get(data: Any, path: str) -> Any:
    for name in path.removeprefix("$").strip(".").split("."):
        data = data[name] if name else data
    return data


def _put(data: Any, path: str, value: Any) -> Any:
    return value if path == "$" else {**data, path.removeprefix("$."): value}


def _value(path: str, data: Any, known: Mapping[str, Any]) -> Any:
    return _get(known, path[1:]) if path.startswith("$$") else _get(data, path)


def _filled(template: Mapping[str, Any], data: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix(".$"): _value(value, data, known) if name.endswith(".$") else value
        for name, value in template.items()
    }


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")
