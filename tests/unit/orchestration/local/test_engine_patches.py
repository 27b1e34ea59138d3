"""The parts of the engine's patches that need no engine."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.local.engine.stepfunctions_errors import matches
from orchestration.local.engine.stepfunctions_executions import prune

IN_MOTO = """
import copy, json, os, time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from orchestration.local.engine import stepfunctions_errors, stepfunctions_executions
from moto.stepfunctions.parser import models
from moto.stepfunctions.parser.asl.parse import asl_parser
stepfunctions_errors.install()
stepfunctions_executions.install()
parse = asl_parser.AmazonStateLanguageParser.parse

def machine(**state):
    return json.dumps({"StartAt": "Wait", "States": {"Wait": {**state, "End": True}}})

task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "HeartbeatSeconds": 5}
program = parse(machine(**task, Parameters={"FunctionName": "f"}))[0]
timeout = program.states.states["Wait"].timeout.timeout_seconds

read, lexer = [], asl_parser.ASLLexer
asl_parser.ASLLexer = lambda stream: read.append(stream) or lexer(stream)
first, second = (parse(machine(Type="Wait", Seconds=1))[0].states.states["Wait"] for _ in range(2))
asl_parser.ASLLexer = lexer

# moto looks for the name, copies the machine, and then adds the execution.
def slow(*args):
    time.sleep(0.2)
    return copy.deepcopy(*args)
models.copy = SimpleNamespace(deepcopy=slow)
backend = models.StepFunctionsParserBackend("us-east-1", "123456789012")
arn = backend.create_state_machine("m", machine(Type="Wait", Seconds=60), "arn:aws:iam::123456789012:role/r").arn
with ThreadPoolExecutor(2) as pool:
    arns = set(pool.map(lambda _: backend.start_execution(arn, "once", "{}").exec_arn, range(2)))
executions = len(backend.describe_state_machine(arn).executions)
print(json.dumps({
    "timeout_s": timeout, "read": len(read), "same": first is second, "arns": len(arns), "executions": executions,
}), flush=True)
os._exit(0)
"""
"""In a process of its own, for the patches are for good; in one, for moto takes seconds to load."""


@pytest.fixture(scope="module")
def patched() -> Any:
    """What moto does with all patches."""
    done = subprocess.run([sys.executable, "-c", IN_MOTO], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def _execution(number: int, status: str) -> Any:
    return SimpleNamespace(name=number, status=status)


def test_running_and_last_finished_executions_are_kept() -> None:
    executions = [_execution(n, "RUNNING" if n % 4 == 0 else "SUCCEEDED") for n in range(12)]

    prune(executions, kept=2)

    assert [e.name for e in executions] == [0, 4, 8, 10, 11]


def test_few_finished_executions_are_all_kept() -> None:
    executions = [_execution(n, "FAILED") for n in range(3)]

    prune(executions, kept=3)

    assert [e.name for e in executions] == [0, 1, 2]


@pytest.mark.parametrize(
    ("names", "error", "matched"),
    [
        ({"States.ALL"}, "UserError", True),
        ({"States.ALL"}, "States.Timeout", True),
        ({"States.ALL"}, "States.Runtime", False),
        ({"States.ALL"}, "States.DataLimitExceeded", False),
        ({"States.DataLimitExceeded"}, "States.DataLimitExceeded", True),
        ({"States.TaskFailed"}, "UserError", True),
        ({"States.TaskFailed"}, "States.Timeout", False),
        ({"States.TaskFailed"}, "States.Runtime", False),
        ({"States.Timeout"}, "States.HeartbeatTimeout", False),
        ({"UserError"}, "usererror", False),
    ],
)
def test_wildcards_match_like_aws(names: set[str], error: str, *, matched: bool) -> None:
    assert matches(frozenset(names), error) is matched


def test_heartbeat_setting_sets_no_timeout(patched: Any) -> None:
    assert patched["timeout_s"] == 99999999


def test_concurrent_starts_with_one_name_find_the_first(patched: Any) -> None:
    assert (patched["arns"], patched["executions"]) == (1, 1)


def test_definition_is_parsed_once_and_executions_are_independent(patched: Any) -> None:
    assert (patched["read"], patched["same"]) == (1, False)
