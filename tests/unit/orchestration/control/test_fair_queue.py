"""Each tick of the control plane asks about a limited number of executions, and about each in turn."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.catalog.records import Export
from orchestration.composition import control_plane
from orchestration.control.fair_queue import EXECUTIONS_PER_TICK, FairQueue
from orchestration.platform.clock import fresh_id, now_ms
from tests.fakes.deployment import EXECUTION, Deployment
from tests.fakes.sweeping import sweep
from tests.unit.orchestration.cli.jobs import EXPORT


def test_small_queue_is_taken_whole() -> None:
    turns = FairQueue(3)
    assert turns.take("ab") == {"a", "b"}
    assert turns.take("abc") == {"a", "b", "c"}
    assert turns.take("") == set()


def test_large_queue_is_served_in_turns_of_arrival() -> None:
    turns = FairQueue(2)
    assert [turns.take("abcde") for _ in range(4)] == [{"a", "b"}, {"c", "d"}, {"e", "a"}, {"b", "c"}]


@given(st.lists(st.lists(st.integers(0, 40), max_size=12, unique=True), max_size=30), st.integers(1, 5))
def test_waiting_is_bounded_by_earlier_entries(arrivals: list[list[int]], most: int) -> None:
    turns, there, waits = FairQueue(most), dict[str, int](), dict[str, int]()
    for number, new in enumerate(arrivals):
        for one in new:
            there[f"{number}-{one}"] = (len(there) + len(new)) // most + 1  # ticks until it must have been taken
        taken = turns.take(there)
        assert len(taken) == min(most, len(there))
        for name, bound in there.items():
            waits[name] = 0 if name in taken else waits.get(name, 0) + 1
            assert waits[name] <= max(bound, len(there) // most + 1)


@pytest.fixture
def asked(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Executions that the engine was asked about."""
    described: list[str] = []
    describe = type(deployment.workflow).describe_execution

    def counted(self: Any, *, executionArn: str) -> dict[str, Any]:  # noqa: N803  # boto3's name
        described.append(executionArn)
        return describe(self, executionArn=executionArn)

    monkeypatch.setattr(type(deployment.workflow), "describe_execution", counted)
    return described


def test_sweeper_checks_many_jobs_in_turn(deployment: Deployment, asked: list[str]) -> None:
    with deployment.full():
        jobs = [
            deployment.register(deployment.request(key=f"acme/vip/{n}.csv")) for n in range(2 * EXECUTIONS_PER_TICK + 5)
        ]
    sweeper = control_plane.job_reconciler(deployment.context)
    looks = []
    for minutes in (1, 2, 3):
        asked.clear()
        sweeper.tick(deployment.later(minutes=minutes))
        looks.append(list(asked))
    assert [len(look) for look in looks] == [EXECUTIONS_PER_TICK] * 3
    assert {arn for look in looks for arn in look} == {job.execution for job in jobs}


def test_waiting_job_continues_at_its_turn(deployment: Deployment) -> None:
    with deployment.full():
        jobs = [
            deployment.register(deployment.request(key=f"acme/vip/{n}.csv")) for n in range(EXECUTIONS_PER_TICK + 1)
        ]
    del deployment.workflow.statuses[str(jobs[-1].execution)]
    sweeper = control_plane.job_reconciler(deployment.context)
    sweeper.tick(deployment.later(minutes=1))
    assert deployment.workflow.started == []
    sweeper.tick(deployment.later(minutes=2))
    assert [jobs[-1].job_id in text for text in deployment.workflow.started] == [True]


def test_cancelled_jobs_stop_immediately_among_many(deployment: Deployment, asked: list[str]) -> None:
    with deployment.full():
        jobs = [
            deployment.register(deployment.request(key=f"acme/vip/{n}.csv")) for n in range(EXECUTIONS_PER_TICK + 9)
        ]
    for job in jobs[-3:]:
        deployment.context.jobs.move(job.job_id, "CANCELLED", now_ms=job.created_at_ms)
    sweep(deployment.context, deployment.later(minutes=1))
    assert [deployment.workflow.statuses[str(job.execution)] for job in jobs[-3:]] == ["ABORTED"] * 3
    assert len(asked) == EXECUTIONS_PER_TICK + 3


def test_exports_take_turns(deployment: Deployment, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    count = EXECUTIONS_PER_TICK + 4
    exports = [_export(f"export-{n}") for n in range(count)]
    deployment.workflow.statuses.update({str(export.execution): "RUNNING" for export in exports})
    monkeypatch.setattr(deployment.context.exports, "live", lambda: exports)
    context = deployment.context
    sweeper = control_plane.export_reconciler(context)
    for minutes in (1, 2):
        sweeper.tick(deployment.later(minutes=minutes))
    assert len(asked) == 2 * EXECUTIONS_PER_TICK
    assert set(asked) == {export.execution for export in exports}


def _export(name: str) -> Export:
    return replace(EXPORT, job_id=fresh_id(), audience_id=None, execution=f"{EXECUTION}{name}", created_at_ms=now_ms())
