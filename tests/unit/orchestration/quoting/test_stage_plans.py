"""A quote names the workflow's compute targets, limits and states: the tests walk the definition itself."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.capacity_model import undivided
from orchestration.kinds.compute_target import ComputeTarget
from orchestration.kinds.timeouts import timeouts
from orchestration.platform.settings import Settings
from orchestration.quoting.deployment import LARGE_FUNCTION, MACHINE, SMALL_FUNCTION, function_gb
from orchestration.quoting.stage_plans import StagePlan, StagePlans, allowed_s, stage_plans
from orchestration.quoting.stages import FIXED_STEPS, Quoting
from orchestration.quoting.work import Work
from orchestration.workflow.resources import function_specs, machine_specs
from schemas.columns import ImportMode
from tests.unit.orchestration.quoting.figures import FREE, RATES, deployed

MIB = 1024 * 1024
WHOLE = Settings(unit_bytes=2**60)
STATES: dict[str, Any] = json.loads(next(m.definition for m in machine_specs() if m.name == "ImportAudience"))["States"]
AFTER = {
    "RegisterImport": "REGISTERED",
    "AwaitTurn": "VERIFYING",
    "Verify": "IMPORTING",
    "GatherEvidence": "IMPORTING",
    "Import": "AWAITING",
    "EndAttempt": "AWAITING",
    "AwaitMaterialisation": "PUBLISHING",
    "Build": "PUBLISHING",
    "GatherParts": "PUBLISHING",
    "Publish": "READY",
}
"""State of the job after each step of a replace; an append goes to BUILDING first."""


def walk(place: ComputeTarget, mode: ImportMode, *, divided: bool) -> Iterator[str]:
    """Names of the states that an import enters, with one compute target for every stage."""
    name, state = "RegisterImport", ""
    while True:
        yield name
        definition = STATES[name]
        step = next((step for step in AFTER if name.startswith(step)), None)
        if definition["Type"] == "Task" and step is not None:
            state = "BUILDING" if mode != "replace" and step == "AwaitMaterialisation" else AFTER[step]
        if definition["Type"] == "Choice":
            given = {"$.state": state, "$.place": place, "$.spread": divided}
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


SMALL = {
    *("RegisterImport", "AwaitTurn", "AwaitMaterialisation", "ReadOutcome", "NotifySuccess"),
    *("PlanUnits", "GatherEvidence", "BeginAttempt", "EndAttempt", "PlanParts", "GatherParts"),
}


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("mode", ["replace", "append"])
@pytest.mark.parametrize("place", ["function", "task", "machine"])
def test_counts_of_states_and_functions_match_the_definition(
    place: ComputeTarget, mode: ImportMode, *, divided: bool
) -> None:
    entered = list(walk(place, mode, divided=divided))
    work = Work(rows=1, bytes=1, mode=mode, base_members=1)
    plans = undivided(place)
    if divided:
        of_units = StagePlan(target=place, runs=3, at_once=2, share=0.4)
        plans = StagePlans(verify=of_units, import_=of_units, build=of_units, publish=replace(of_units, last=place))
    quoting = Quoting(work=work, deployment=deployed(), rates=RATES, prices=FREE, plans=plans)
    assert quoting.transitions == len(entered)
    workflow = quoting.stages()[0]
    assert workflow.seconds == sum(name in SMALL for name in entered) >= FIXED_STEPS


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
    found = stage_plans(work, WHOLE)
    assert found.verify == found.import_
    assert (found.verify.target, found.build.target, found.publish.target) == expected


def test_stage_timeouts_match_the_view() -> None:
    work = Work(rows=1, bytes=100 * MIB, mode="append", base_members=10_000_000, members=12_000_000)
    assert allowed_s(stage_plans(work, WHOLE)) == {
        "verify": timeouts(100 * MIB)["verify_s"],
        "import": timeouts(100 * MIB)["import_s"],
        "build": timeouts(100 * MIB, 10_000_000, "task")["build_s"],
        "publish": timeouts(100 * MIB, 12_000_000, "task")["publish_s"],
    }


def test_large_stages_are_divided_as_the_workflow_divides_them() -> None:
    settings = Settings(partitions=4, function_calls=12)
    text = stage_plans(Work(rows=100_000_000, bytes=1000 * MIB, cut=True), settings)
    assert text.verify == text.import_
    assert text.verify == StagePlan(target="function", bytes=250 * MIB, runs=4, at_once=4, share=0.25)
    members = StagePlan(
        target="task", bytes=64 * 25_000_000, members=25_000_000, runs=4, at_once=4, share=0.25, last="task"
    )
    assert text.publish == members
    many = stage_plans(Work(rows=1, bytes=1000 * MIB, files=100), settings).verify
    assert (many.runs, many.at_once, many.bytes) == (4, 4, 274 * MIB)  # 25 files each, and the time to open 24 more
    large = stage_plans(Work(rows=1, bytes=4000 * MIB, files=2), settings).verify
    assert (large.runs, large.bytes, large.target) == (2, 2000 * MIB, "task")
    assert stage_plans(Work(rows=1, bytes=4000 * MIB, files=16), settings).verify.at_once == 6  # half of the functions
    assert not stage_plans(Work(rows=1, bytes=4000 * MIB), settings).verify.divided
    profiles = stage_plans(Work(rows=10**9, bytes=1000 * MIB, cut=True, kind="profiles", mode="append"), settings)
    assert (profiles.verify.runs, profiles.import_.runs, profiles.publish.runs) == (4, 1, 1)
    merged = stage_plans(Work(rows=1, bytes=1, mode="append", base_members=40_000_000), settings)
    assert (merged.verify.runs, merged.build.runs, merged.build.members) == (1, 4, 10_000_000)


def test_time_limit_is_that_of_a_unit() -> None:
    work = Work(rows=1, bytes=1000 * MIB, cut=True)
    assert allowed_s(stage_plans(work, Settings()))["verify"] == timeouts(250 * MIB)["verify_s"]


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
