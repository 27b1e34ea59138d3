"""The parts of the engine's patches that need no engine."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.local.engine.stepfunctions_errors import matches
from orchestration.local.engine.stepfunctions_executions import prune

TIMEOUT_OF_A_STATE = """
import json, sys
from orchestration.local.engine import stepfunctions_errors
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
stepfunctions_errors.install()
program = AmazonStateLanguageParser.parse(sys.argv[1])[0]
print(program.states.states["Wait"].timeout.timeout_seconds)
"""

TWO_STARTS = """
import copy, json, os, time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from orchestration.local.engine import stepfunctions_executions
stepfunctions_executions.install()
from moto.stepfunctions.parser import models
# moto looks for the name, copies the machine, and then adds the execution.
def slow(*args):
    time.sleep(0.2)
    return copy.deepcopy(*args)
models.copy = SimpleNamespace(deepcopy=slow)
backend = models.StepFunctionsParserBackend("us-east-1", "123456789012")
definition = json.dumps({"StartAt": "Stay", "States": {"Stay": {"Type": "Wait", "Seconds": 60, "End": True}}})
arn = backend.create_state_machine("m", definition, "arn:aws:iam::123456789012:role/r").arn
with ThreadPoolExecutor(2) as pool:
    arns = set(pool.map(lambda _: backend.start_execution(arn, "once", "{}").exec_arn, range(2)))
print(json.dumps({"arns": len(arns), "executions": len(backend.describe_state_machine(arn).executions)}), flush=True)
os._exit(0)
"""


TWO_PROGRAMS = """
import sys
from orchestration.local.engine.stepfunctions_executions import parse_once
parse_once()
from moto.stepfunctions.parser.asl.parse import asl_parser
read, lexer = [], asl_parser.ASLLexer
asl_parser.ASLLexer = lambda stream: read.append(stream) or lexer(stream)
first, second = (asl_parser.AmazonStateLanguageParser.parse(sys.argv[1])[0] for _ in range(2))
states = [program.states.states["Wait"] for program in (first, second)]
print(len(read), states[0] is states[1])
"""


def _execution(number: int, status: str) -> Any:
    return SimpleNamespace(name=number, status=status)


def test_the_last_finished_executions_are_kept_and_every_one_that_runs() -> None:
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
def test_wildcards_match_what_aws_says(names: set[str], error: str, *, matched: bool) -> None:
    assert matches(frozenset(names), error) is matched


def test_a_heartbeat_alone_sets_no_timeout() -> None:
    state = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "End": True}
    state |= {"Parameters": {"FunctionName": "f"}, "HeartbeatSeconds": 5}
    machine = json.dumps({"StartAt": "Wait", "States": {"Wait": state}})

    done = subprocess.run(
        [sys.executable, "-c", TIMEOUT_OF_A_STATE, machine], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "99999999"


def test_of_two_starts_at_once_under_one_name_the_second_finds_the_first() -> None:
    done = subprocess.run([sys.executable, "-c", TWO_STARTS], capture_output=True, text=True, check=True, timeout=60)

    assert json.loads(done.stdout) == {"arns": 1, "executions": 1}


def test_a_definition_is_parsed_once_and_each_execution_has_a_program_of_its_own() -> None:
    definition = json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1, "End": True}}})
    command = [sys.executable, "-c", TWO_PROGRAMS, definition]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]
