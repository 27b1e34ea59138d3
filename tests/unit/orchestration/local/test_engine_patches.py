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
from orchestration.local.engine import (
    stepfunctions_errors, stepfunctions_executions, stepfunctions_history, stepfunctions_maps
)
from moto.stepfunctions.parser import models
from moto.stepfunctions.parser.asl.parse import asl_parser
stepfunctions_errors.install()
stepfunctions_executions.install()
stepfunctions_history.install()
stepfunctions_maps.install()
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
models.copy = copy

stepfunctions_history.EVENTS_MAX = 40
def run(states, data=1):
    definition = json.dumps({"StartAt": next(iter(states)), "States": states})
    machine = backend.create_state_machine(f"m{len(histories)}", definition, "arn:aws:iam::123456789012:role/r").arn
    execution = backend.start_execution(machine, None, json.dumps(data))
    while execution.exec_status == "RUNNING":
        time.sleep(0.01)
    last = execution.exec_worker.env.event_manager.get_event_history()[-1]
    histories.append([execution.exec_status, execution.error, last["type"], last["id"]])
def chain(length):
    return {str(n): {"Type": "Pass", **({"Next": str(n + 1)} if n < length else {"End": True})}
            for n in range(1, length + 1)}
def each(mode, child):
    processor = {"ProcessorConfig": {"Mode": mode, "ExecutionType": "STANDARD"}, "StartAt": "1", "States": child}
    catch = [{"ErrorEquals": [error], "Next": "Caught"} for error in ("States.Runtime", "States.ALL")]
    return {"Each": {"Type": "Map", "ItemProcessor": processor, "Catch": catch, "End": True},
            "Caught": {"Type": "Pass", "End": True}}
histories = []
run(chain(19))
run(chain(20))
run(each("INLINE", chain(1)), [1] * 20)
run(each("DISTRIBUTED", chain(19)), [1] * 3)
run(each("DISTRIBUTED", chain(20)), [1])
print(json.dumps({
    "timeout_s": timeout, "read": len(read), "same": first is second, "arns": len(arns), "executions": executions,
    "histories": histories,
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


def test_execution_ends_with_event_25_000(patched: Any) -> None:
    """Of 40 here: a chain that ends just in time, a longer one, an inline Map, Distributed Maps over such chains."""
    failed = ["FAILED", "States.Runtime", "ExecutionFailed", 40]
    assert patched["histories"] == [
        ["SUCCEEDED", None, "ExecutionSucceeded", 40],
        failed,
        failed,
        ["SUCCEEDED", None, "ExecutionSucceeded", 8],
        ["SUCCEEDED", None, "ExecutionSucceeded", 10],
    ]


LIGHTLY = """
import json, sys
from orchestration.local.engine import server
from orchestration.local.engine.moto_parts import imported_lightly
with imported_lightly():
    from moto.ec2.models import availability_zones_and_regions, instance_types
    from moto.iam import models
from boto3 import Session
first, second = (Session()._session.get_component("data_loader") for _ in range(2))
regions = [region.name for region in availability_zones_and_regions.RegionsAndZonesBackend.regions]
print(json.dumps({
    "loaded": sorted({"sqlalchemy", "pyarrow", "numpy"} & set(sys.modules)),
    "lists": [len(instance_types.INSTANCE_TYPES), len(models.aws_managed_policies_data)],
    "region": "eu-west-1" in regions,
    "ec2": any("ec2" in str(key) for key in first._cache),
    "shared": first.load_service_model("events", "service-2") is second.load_service_model("events", "service-2"),
    "prefix": Session().get_available_regions("stepfunctions")[:1],
}))
"""


def test_engine_loads_no_lists_and_parses_a_description_once() -> None:
    printed = subprocess.run([sys.executable, "-c", LIGHTLY], capture_output=True, text=True, check=True).stdout

    assert json.loads(printed) == {
        "loaded": [],
        "lists": [0, 2],
        "region": True,
        "ec2": False,
        "shared": True,
        "prefix": ["af-south-1"],
    }
