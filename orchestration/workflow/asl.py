"""Renders a table of stages as Amazon States Language; every state has its keys in the same order."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, assert_never

from orchestration.workflow.resources import CONTAINER
from orchestration.workflow.stages import (
    DISCARDED,
    EMPTY,
    FINAL,
    FUNCTION,
    NO_CAPACITY,
    UNAVAILABLE,
    Await,
    Call,
    Catch,
    Choice,
    Fail,
    Machine,
    Map,
    Retry,
    SpreadMap,
    Stage,
    Step,
    Succeed,
    Values,
    Wait,
    choose_by,
)

State: TypeAlias = dict[str, Any]


def render(machine: Machine) -> str:
    """The text of the machine's `.asl.json` file, with `${...}` as names of resources."""
    body = _body(machine.stages, TimeoutSeconds=machine.timeout_s)
    return json.dumps({"Comment": machine.comment, **body}, indent=2) + "\n"


def _body(stages: Mapping[str, Stage], **settings: int) -> State:
    states = {name: state for key, stage in stages.items() for name, state in _states(key, stage)}
    return {"StartAt": next(iter(states)), **settings, "States": states}


def _states(name: str, stage: Stage) -> Iterator[tuple[str, State]]:
    match stage:
        case Step():
            place = choose_by("place", {"function": name, "task": f"{name}Task"})
            yield stage.where, _choice(Choice(rules=place, default=f"{name}Machine"))
            yield name, _call(name, stage)
            yield f"{name}Task", _fargate(stage)
            yield f"{name}Machine", _machine(stage)
        case Call():
            yield name, _call(name, stage)
        case Await():
            yield name, _await(stage)
        case Choice():
            yield name, _choice(stage)
        case Map():
            yield name, _map(stage)
        case SpreadMap():
            yield name, _spread_map(stage)
        case Wait():
            yield name, {"Comment": stage.comment, "Type": "Wait", "Seconds": stage.seconds, "Next": stage.next}
        case Succeed():
            yield name, {"Type": "Succeed"}
        case Fail():
            yield name, {"Type": "Fail", "Error": stage.error, "Cause": stage.cause}
        case _:
            assert_never(stage)


def _call(name: str, stage: Call) -> State:
    return {
        "Comment": stage.comment,
        "Type": "Task",
        **_invoke("lambda:invoke", stage.function or name, stage.payload),
        **_output({"OutputPath": "$.Payload"} if stage.result is None else stage.result, stage.next),
        **_timeout(stage.timeout),
        **_on_error((FINAL, stage.unavailable, stage.retry), stage.catch),
        **_then(stage.next),
    }


def _await(stage: Await) -> State:
    final = Retry(errors=FINAL.errors + stage.final, attempts=0)
    return {
        "Comment": stage.comment,
        "Type": "Task",
        **_invoke("lambda:invoke.waitForTaskToken", stage.function, stage.payload),
        **({"HeartbeatSeconds": stage.heartbeat_s} if stage.heartbeat_s else {}),
        "TimeoutSeconds": stage.timeout_s,
        **_on_error((final, UNAVAILABLE, FUNCTION), stage.catch),
        **_then(stage.next),
    }


def _fargate(stage: Step) -> State:
    comment = f"The same for a large {stage.large}, in a task of its own."
    return _run_task(stage, comment, "task", "${TaskDefinition}", {"LaunchType": "FARGATE"})


def _machine(stage: Step) -> State:
    comment = "The same for what is too large for Fargate, on a machine that is started for it."
    capacity = {"CapacityProviderStrategy": [{"CapacityProvider": "${MachineCapacity}", "Weight": 1}]}
    return _run_task(stage, comment, "machine", "${MachineTaskDefinition}", capacity)


def _run_task(stage: Step, comment: str, place: str, family: str, launch: State) -> State:
    """A container that gets its command and its place, and returns only an exit code."""
    container = {
        "Name": CONTAINER,
        "Command.$": f"States.Array('task', '{stage.command}', {', '.join(stage.payload.values())})",
        "Environment": [{"Name": "MUSTER_PLACE", "Value": place}],
    }
    network = {
        "Subnets.$": "States.StringSplit('${TaskSubnets}', ',')",
        "SecurityGroups.$": "States.StringSplit('${TaskSecurityGroups}', ',')",
        "AssignPublicIp": "DISABLED",
    }
    role = {"TaskRoleArn": stage.role} if stage.role else {}
    return {
        "Comment": comment,
        "Type": "Task",
        "Resource": "arn:aws:states:::ecs:runTask.sync",
        "Parameters": {
            **launch,
            "Cluster": "${TaskCluster}",
            "TaskDefinition": family,
            "NetworkConfiguration": {"AwsvpcConfiguration": network},
            "Overrides": {**role, "ContainerOverrides": [container]},
        },
        **_output(DISCARDED, stage.task_next),
        **_timeout(stage.timeout),
        **_on_error((FINAL, NO_CAPACITY, stage.task_retry), stage.catch),
        **_then(stage.task_next),
    }


def _choice(stage: Choice) -> State:
    rules = [{**_condition(fields), "Next": next_stage} for fields, next_stage in stage.rules]
    return {**_comment(stage.comment), "Type": "Choice", "Choices": rules, "Default": stage.default}


def _condition(fields: Mapping[str, str | bool]) -> State:
    tests: list[State] = [
        {"Variable": f"$.{name}", "BooleanEquals" if isinstance(value, bool) else "StringEquals": value}
        for name, value in fields.items()
    ]
    return tests[0] if len(tests) == 1 else {"And": tests}


def _map(stage: Map) -> State:
    return {
        "Comment": stage.comment,
        "Type": "Map",
        "ItemsPath": stage.items,
        "MaxConcurrencyPath": stage.max_concurrency,
        "ItemSelector": _values(stage.item),
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **_body(stage.stages)},
        **DISCARDED,
        **_on_error((), stage.catch),
        **_then(stage.next),
    }


def _spread_map(stage: SpreadMap) -> State:
    return {
        "Comment": stage.comment,
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket.$": stage.bucket, "Key.$": stage.key},
        },
        "MaxConcurrencyPath": stage.max_concurrency,
        "ToleratedFailureCount": 0,
        "ItemSelector": _values(stage.item),
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **_body(stage.stages),
        },
        **DISCARDED,
        **_on_error((), stage.catch),
        **_then(stage.next),
    }


def _invoke(integration: str, function: str, payload: Values) -> State:
    parameters = {"FunctionName": f"${{{function}Function}}", "Payload": _values(payload)}
    return {"Resource": f"arn:aws:states:::{integration}", "Parameters": parameters}


def _values(given: Values) -> State:
    """ASL appends `.$` to the names of fields that hold a path."""
    return {f"{name}.$" if value.startswith("$") else name: value for name, value in given.items()}


def _output(result: Mapping[str, Any], next_stage: str | None) -> State:
    return dict(result) if next_stage else dict(EMPTY)


def _comment(text: str) -> State:
    return {"Comment": text} if text else {}


def _timeout(path: str) -> State:
    return {"TimeoutSecondsPath": path} if path else {}


def _on_error(retries: tuple[Retry, ...], catches: tuple[Catch, ...]) -> State:
    retry, catch = [_retry(each) for each in retries], [_catch(each) for each in catches]
    return {**({"Retry": retry} if retry else {}), **({"Catch": catch} if catch else {})}


def _retry(retry: Retry) -> State:
    errors = {"ErrorEquals": list(retry.errors)}
    if not retry.attempts:
        return {**errors, "MaxAttempts": 0}
    return {
        **errors,
        "IntervalSeconds": retry.interval_s,
        "BackoffRate": 2.0,
        "MaxAttempts": retry.attempts,
        "MaxDelaySeconds": retry.max_delay_s,
        "JitterStrategy": "FULL",
    }


def _catch(catch: Catch) -> State:
    kept = {"ResultPath": catch.into} if catch.into else {}
    return {"ErrorEquals": [catch.error], **kept, "Next": catch.next}


def _then(name: str | None) -> State:
    return {"Next": name} if name else {"End": True}
