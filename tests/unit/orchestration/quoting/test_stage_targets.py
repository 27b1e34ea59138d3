"""A quote names the workflow's compute targets, limits and states: the tests walk the definition itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.kinds.compute_target import ComputeTarget
from orchestration.kinds.timeouts import timeouts
from orchestration.platform.settings import Settings
from orchestration.quoting.deployment import LARGE_FUNCTION, MACHINE, SMALL_FUNCTION, function_gb
from orchestration.quoting.stage_targets import StageTargets, allowed_s, stage_targets
from orchestration.quoting.stages import FIXED_STEPS, Quoting
from orchestration.quoting.work import Work
from orchestration.workflow.resources import function_specs, machine_specs
from schemas.columns import ImportMode
from tests.unit.orchestration.quoting.figures import FREE, RATES, deployed

MIB = 1024 * 1024
STATES: dict[str, Any] = json.loads(next(m.definition for m in machine_specs() if m.name == "ImportAudience"))["States"]
AFTER = {
    "RegisterImport": "REGISTERED",
    "AwaitTurn": "VERIFYING",
    "Verify": "IMPORTING",
    "Import": "AWAITING",
    "AwaitMaterialisation": "PUBLISHING",
    "Build": "PUBLISHING",
    "Publish": "READY",
}
"""State of the job after each step of a replace; an append goes to BUILDING first."""


def walk(place: ComputeTarget, mode: ImportMode) -> Iterator[str]:
    """Names of the states that an import enters, with one compute target for every stage."""
    name, state = "RegisterImport", ""
    while True:
        yield name
        definition = STATES[name]
        step = next((step for step in AFTER if name.startswith(step)), None)
        if definition["Type"] == "Task" and step is not None:
            state = "BUILDING" if mode != "replace" and step == "AwaitMaterialisation" else AFTER[step]
        if definition["Type"] == "Choice":
            given = {"$.state": state, "$.place": place, "$.spread": False}
            fits = (
                rule["Next"]
                for rule in definition["Choices"]
                if all(
                    given[test["Variable"]] == test.get("StringEquals", test.get("BooleanEquals"))
                    for test in rule.get("And", [rule])
                )
            )
            name = next(fits, definition["Default"])
        elif "Next" in definition:
            name = definition["Next"]
        else:
            return


@pytest.mark.parametrize("mode", ["replace", "append"])
@pytest.mark.parametrize("place", ["function", "task", "machine"])
def test_counts_of_states_and_functions_match_the_definition(place: ComputeTarget, mode: ImportMode) -> None:
    entered = list(walk(place, mode))
    work = Work(rows=1, bytes=1, mode=mode, base_members=1)
    targets = StageTargets(verify=place, import_=place, build=place, publish=place)
    quoting = Quoting(work=work, deployment=deployed(), rates=RATES, prices=FREE, targets=targets)
    assert quoting.transitions == len(entered)
    small = {"RegisterImport", "AwaitTurn", "AwaitMaterialisation", "ReadOutcome", "NotifySuccess"}
    workflow = quoting.stages()[0]
    assert workflow.seconds == sum(name in small for name in entered) >= FIXED_STEPS


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (Work(rows=1, bytes=256 * MIB), ("function", "function", "function")),
        (Work(rows=1, bytes=256 * MIB + 1), ("task", "task", "task")),
        (Work(rows=1, bytes=64 * 1024 * MIB + 1), ("machine", "machine", "machine")),
        # a replace is compared with its base
        (Work(rows=1, bytes=MIB, base_members=10**10), ("function", "machine", "machine")),
        (Work(rows=1, bytes=MIB, mode="append", base_members=4_000_000), ("function", "function", "function")),
        (Work(rows=1, bytes=MIB, mode="append", base_members=4_200_000), ("function", "task", "task")),
        (Work(rows=1, bytes=MIB, mode="remove", base_members=4_200_000, members=9), ("function", "task", "function")),
    ],
)
def test_targets_depend_on_file_and_merge_sizes(
    work: Work, expected: tuple[ComputeTarget, ComputeTarget, ComputeTarget]
) -> None:
    found = stage_targets(work, Settings())
    assert found.verify == found.import_
    assert (found.verify, found.build, found.publish) == expected


def test_stage_timeouts_match_the_view() -> None:
    work = Work(rows=1, bytes=100 * MIB, mode="append", base_members=10_000_000, members=12_000_000)
    targets = stage_targets(work, Settings())
    assert allowed_s(work, targets) == {
        "verify": timeouts(100 * MIB)["verify_s"],
        "import": timeouts(100 * MIB)["import_s"],
        "build": timeouts(100 * MIB, 10_000_000, "task")["build_s"],
        "publish": timeouts(100 * MIB, 12_000_000, "task")["publish_s"],
    }


def test_quoted_memory_matches_the_functions() -> None:
    memory = {spec.name: spec.memory_mb / 1024 for spec in function_specs()}
    assert {memory[name] for name in ("VerifyFile", "ImportToKafka", "BuildVersion", "PublishVersion")} == {
        function_gb(LARGE_FUNCTION)
    }
    assert {memory[name] for name in ("RegisterImport", "BeginAwait", "ReadOutcome", "Notify")} == {
        function_gb(SMALL_FUNCTION)
    }
    assert deployed().resources("function").vcpu == pytest.approx(2048 / 1769)
    assert deployed().resources("machine") == MACHINE
