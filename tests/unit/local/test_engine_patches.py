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
