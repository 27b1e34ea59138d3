"""Which segment and partition the control plane checks next, and how it reports the results."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.lake.segment_queries import Comparison
from orchestration.catalog.segment_records import Segment
from orchestration.composition.control_lanes import other_lanes
from orchestration.control.catalog_watch import CatalogWatch
from orchestration.control.segment_checks import SegmentChecks
from orchestration.control.worker_groups import WorkerGroups
from orchestration.operations.segment_check import Checked
from schemas.counters import Counters
from schemas.errors import RetriableError
from schemas.ids import AudienceName, JobId, Partition
from schemas.metrics import SEGMENT_MISMATCHES
from tests.contract.test_catalog import ACME
from tests.fakes.rules import new_rule
from tests.unit.orchestration.notifications.test_notices import make_context

SEGMENTS = ("a", "b")


class Checks:
    """The control plane's checks with scripted answers: number of missing users, or None for a failed check."""

    def __init__(self, home: Path, every: int = 10) -> None:
        self.context = make_context(home, partitions=3, segment_check_minutes=every)
        self.counters = Counters()
        self.answers: list[int | None] = []
        self.asked: list[tuple[str, int]] = []
        self.of = SegmentChecks(self.context.segments, self.context.settings, self.counters, self._check)

    def create(self, name: str) -> None:
        rule = new_rule("ever(purchase)")
        made = JobId(f"{ord(name):026}")
        self.context.segments.create(ACME, AudienceName(name), rule, new_id=made, author="ann", now_ms=1)

    def look(self, times: int = 1) -> list[tuple[str, int]]:
        """Checks made in `times` ticks."""
        for _ in range(times):
            self.of.tick()
        asked, self.asked = self.asked, []
        return asked

    def results(self) -> dict[str, float]:
        return {sample.labels[0]: sample.value for sample in self.counters.samples()}

    def mismatches(self) -> float:
        (sample,) = self.of.samples()
        assert sample.metric == SEGMENT_MISMATCHES
        return sample.value

    def _check(self, segment: Segment, partition: Partition) -> Checked:
        self.asked.append((segment.name, partition))
        missing = self.answers.pop(0) if self.answers else 0
        if missing is None:
            raise RetriableError("CUT_TIMEOUT", "no word of partitions 0")
        users = tuple(f"user-{n}" for n in range(missing))
        found = Comparison(by_rule=9, by_stream=9, missing=missing, extra=0, missing_users=users, extra_users=())
        return Checked(cut_id=JobId("1" * 26), rule_version=1, at=datetime(2026, 11, 25, tzinfo=UTC), comparison=found)


@pytest.fixture
def checks(tmp_path: Path) -> Iterator[Checks]:
    made = Checks(tmp_path)
    for name in SEGMENTS:
        made.create(name)
    yield made
    made.context.database.close()


def test_every_partition_of_every_segment_is_checked_in_turn(checks: Checks) -> None:
    assert checks.look(7) == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 0)]
    assert (checks.results(), checks.mismatches()) == ({"equal": 7}, 0)


def test_new_segment_is_checked_next_and_inactive_ones_are_skipped(checks: Checks) -> None:
    checks.look(3)
    checks.create("c")
    assert checks.look() == [("c", 0)]
    checks.context.segments.pause(ACME, AudienceName("b"), now_ms=2)
    checks.context.segments.delete(ACME, AudienceName("a"), now_ms=3)
    assert checks.look(2) == [("c", 1), ("c", 2)]


def test_differing_users_are_counted_but_not_logged(checks: Checks, caplog: pytest.LogCaptureFixture) -> None:
    checks.answers = [2, 3]
    assert checks.look(3) == [("a", 0), ("b", 0), ("a", 0)]
    assert (checks.results(), checks.mismatches()) == ({"different": 2, "equal": 1}, 3)
    reported = "segment b, rule version 1, partition 0 as of 2026-11-25T00:00:00+00:00: the stream lacks 3 users"
    assert reported in caplog.text
    assert "user-" not in caplog.text
    assert checks.look(2) == [("b", 0), ("a", 1)]
    assert checks.mismatches() == 0


def test_differences_are_dropped_with_their_segment(checks: Checks) -> None:
    checks.answers = [2]
    checks.look()
    checks.context.segments.delete(ACME, AudienceName("a"), now_ms=3)
    checks.look()
    assert checks.mismatches() == 0


def test_impossible_check_keeps_findings_and_blocks_no_other(checks: Checks, caplog: pytest.LogCaptureFixture) -> None:
    checks.answers = [2, None, None]
    assert checks.look(3) == [("a", 0), ("b", 0), ("a", 0)]
    assert checks.mismatches() == 2
    assert checks.look(2) == [("b", 1), ("a", 1)]
    assert checks.results() == {"different": 1, "not_possible": 2, "equal": 2}
    assert "cannot check partition 0 of segment b: CUT_TIMEOUT" in caplog.text


def test_empty_catalog_needs_no_check(tmp_path: Path) -> None:
    none = Checks(tmp_path)
    assert (none.look(), none.results(), none.mismatches()) == ([], {}, 0)
    none.context.database.close()


@pytest.mark.parametrize(("every", "lanes"), [(0, 0), (10, 1)])
def test_checks_can_be_disabled(tmp_path: Path, every: int, lanes: int) -> None:
    checks = Checks(tmp_path, every=every)
    with closing(checks.context.database):
        others: Any = None
        found = other_lanes(
            checks.context,
            WorkerGroups.of(checks.context.settings),
            threading.Event(),
            Counters(),
            checks.of,
            others,
            list,
            CatalogWatch(lambda: 0),
        )
        assert len([lane for lane in found if lane.name == "segment-checks"]) == lanes
        assert len(checks.of.samples()) == lanes
