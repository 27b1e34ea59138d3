"""How a moving job is shown: stages, partitions, one line for a log."""

from dataclasses import replace
from typing import Any

import pytest

from orchestration.catalog.records import JobError, PartitionProgress, StageProgress
from orchestration.cli.rendering import job_line, job_lines, local_line, partition_lines, places_line
from orchestration.cli.screen import LineScreen
from orchestration.operations.follow import JobView, PartitionView, partition_views, stage_views
from orchestration.operations.job_records import view_record
from schemas.ids import Attempt
from schemas.records import as_record
from tests.unit.orchestration.cli.jobs import EVIDENCE, JOB, job


def stage(name: str, at_ms: int = 2000, **record: Any) -> dict[str, StageProgress]:
    given = {"done": 0, "total": 0, "unit": "rows", "rows": 0, "partitions": [], "started_at_ms": 0, **record}
    return {name: StageProgress(stage=name, record=given, at_ms=at_ms)}


def materialised(partition: int, records: int, *, at_ms: int = 3000) -> PartitionProgress:
    return PartitionProgress(
        job_id=JOB.job_id,
        attempt=Attempt(1),
        partition=partition,
        materialised=True,
        record={"records": records},
        at_ms=at_ms,
    )


def test_running_stage_shows_rate_and_remaining_time() -> None:
    verifying = job(state="VERIFYING")
    [verify, *others] = stage_views(verifying, 0, stage("verify", done=250, total=1000, unit="bytes"), [], 2000)
    assert (verify.state, verify.rate, verify.left_s) == ("running", 125.0, 6.0)
    assert [(s.name, s.state) for s in others] == [
        ("import", "waiting"),
        ("materialise", "waiting"),
        ("publish", "waiting"),
    ]


def test_started_stage_shows_its_target_if_it_has_a_choice() -> None:
    appending = job(state="PUBLISHING", mode="append", attempt=Attempt(1), evidence=EVIDENCE)
    reports = stage("verify", place="function") | stage("import", place="task") | stage("build", place="machine")
    views = stage_views(appending, 4, reports, [], 2000)
    assert {s.name: s.place for s in views} == {
        "verify": "function",
        "import": "task",
        "materialise": None,
        "build": "machine",
        "publish": None,
    }
    assert places_line([as_record(s) for s in views]) == "verify in a function, import in a task, build on a machine"
    of_an_earlier_release = stage_views(appending, 4, stage("verify"), [], 2000)
    assert places_line([as_record(s) for s in of_an_earlier_release]) == ""


def test_partitions_materialise_during_sending() -> None:
    importing = job(state="IMPORTING", attempt=Attempt(1), evidence=EVIDENCE)
    reports = stage("import", done=80, total=100, rows=80, partitions=[60, 20])
    views = stage_views(importing, 1, reports, [materialised(0, 60)], 4000)
    assert [(s.name, s.state, s.done) for s in views[1:3]] == [
        ("import", "running", 80),
        ("materialise", "running", 60),
    ]
    assert partition_views(importing, reports, [materialised(0, 60)], 4000) == (
        PartitionView(partition=0, expected=60, sent=60, taken=60, lag=0, rate=20.0, state="materialised"),
        PartitionView(partition=1, expected=40, sent=20, taken=0, lag=None, rate=None, state=None),
    )


def test_each_partition_shows_lag_rate_and_remaining_time() -> None:
    waiting = job(state="AWAITING", attempt=Attempt(1), evidence=EVIDENCE)
    reports = stage("import", done=100, total=100, rows=100, partitions=[60, 40]) | stage(
        "materialise", partitions=[30, 10], lag=[3, 6], attempt=1
    )
    assert partition_views(waiting, reports, [], 2000) == (
        PartitionView(partition=0, expected=60, sent=60, taken=30, lag=3, rate=15.0, left_s=2.0),
        PartitionView(partition=1, expected=40, sent=40, taken=10, lag=6, rate=5.0, left_s=6.0),
    )
    [materialise] = [s for s in stage_views(waiting, 2, reports, [], 2000) if s.name == "materialise"]
    assert (materialise.done, materialise.rate, materialise.left_s) == (40, 20.0, 3.0)


def test_progress_of_an_older_attempt_is_not_shown() -> None:
    again = job(state="IMPORTING", attempt=Attempt(2), evidence=EVIDENCE)
    reports = stage("import") | stage("materialise", partitions=[30, 10], lag=[3, 6], attempt=1)
    assert [(p.taken, p.lag) for p in partition_views(again, reports, [], 2000)] == [(0, None), (0, None)]


def test_ended_job_shows_no_remaining_time() -> None:
    cancelled = job(state="CANCELLED", attempt=Attempt(1), evidence=EVIDENCE)
    reports = stage("import", partitions=[60, 40]) | stage("materialise", partitions=[30, 10], lag=[3, 6], attempt=1)
    assert [p.left_s for p in partition_views(cancelled, reports, [], 2000)] == [None, None]


def test_slowest_of_many_partitions_are_shown() -> None:
    partitions = [PartitionView(partition=n, expected=100, sent=100, taken=n, rate=10.0, left_s=9.0) for n in range(17)]
    done = [*partitions[:2], *(replace(p, state="materialised") for p in partitions[2:])]
    lines = partition_lines([as_record(p) for p in done])
    assert lines == [
        "  partitions  15 of 17 materialised; the slowest 2",
        "     0 → sent 100 %  taken   0 %  0  10 rows/s  9 s left",
        "     1 → sent 100 %  taken   1 %  1  10 rows/s  9 s left",
    ]


def test_only_append_and_remove_have_a_build_stage() -> None:
    assert "build" not in [s.name for s in stage_views(job(state="AWAITING"), 2, {}, [], 0)]
    assert "build" in [s.name for s in stage_views(job(state="AWAITING", mode="append"), 2, {}, [], 0)]


def test_a_failed_job_shows_where_it_stopped() -> None:
    failed = job(state="FAILED", failed_in="VERIFYING", error=JobError(kind="user", code="X", message="x", detail={}))
    assert [s.state for s in stage_views(failed, 0, {}, [], 0)] == ["stopped", "waiting", "waiting", "waiting"]


def test_a_job_is_a_block_of_80_columns_and_a_line() -> None:
    waiting = job(state="AWAITING", attempt=Attempt(1), evidence=EVIDENCE)
    reports = stage("verify", done=1000, total=1000, unit="bytes", rows=110) | stage(
        "import", done=100, total=100, rows=100, partitions=[60, 40]
    )
    reports |= stage("materialise", partitions=[55, 8], lag=[1, 3], attempt=1)
    view = JobView(
        job=waiting,
        stages=stage_views(waiting, 2, reports, [materialised(0, 60)], 4000),
        partitions=partition_views(waiting, reports, [materialised(0, 60)], 4000),
    )
    shown = as_record(view_record(view, [], {}))
    assert job_lines(shown) == [
        "job 01jdcz0000000000000000000a  AWAITING",
        "  default/vip, replace, s3://inbox/default/vip/people.csv",
        "  verify      ━━━━━━━━━━━━━━━━ 100 %  110 rows  500 B/s",
        "  import      ━━━━━━━━━━━━━━━━ 100 %  100 rows  50 rows/s",
        "  materialise ━━━━━━━━━━──────  68 %  68 rows  17 rows/s  2 s left",
        "  publish     ────────────────",
        "  partitions  1 of 2 materialised",
        "     0 ✓ sent 100 %  taken 100 %  60  20 rows/s",
        "     1 → sent 100 %  taken  20 %  8  2 rows/s  16 s left  lag 3",
    ]
    assert job_line(shown) == (
        "job 01jdcz0000000000000000000a AWAITING; materialise 68 %, 68 rows, 17 rows/s, 2 s left; 1 of 2 partitions; "
        "partition 1 20 %, 2 rows/s, 16 s left, lag 3"
    )


def test_the_source_in_the_block_cannot_control_the_terminal() -> None:
    evil = job(source={"bucket": "b", "key": "x\x1b[2J" + "y" * 200, "size": 1})
    lines = job_lines(as_record(view_record(JobView(job=evil, stages=(), partitions=()), [], {})))
    assert all(line.isprintable() and len(line) <= 80 for line in lines)


def test_upload_is_a_stage() -> None:
    assert local_line("upload", 500, 1000, 2.0) == "  upload      ━━━━━━━━────────  50 %  500 B  250 B/s  2 s left"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_log_gets_at_most_one_line_a_second_and_the_last() -> None:
    written: list[str] = []
    clock = Clock()
    with LineScreen(written.append, clock) as screen:
        for clock.now, line in [(0.0, "a"), (0.2, "b"), (0.4, "c"), (1.1, "c"), (1.2, "c"), (1.5, "d"), (1.9, "e")]:
            screen.show([], line)
    assert written == ["a", "c", "e"]


@pytest.mark.parametrize("lines", [["a", "a", "a"], ["a"]])
def test_a_log_gets_no_line_twice(lines: list[str]) -> None:
    written: list[str] = []
    with LineScreen(written.append, Clock()) as screen:
        for line in lines:
            screen.show([], line)
    assert written == ["a"]


def test_job_without_workers_is_reported_on_screen_and_in_the_log() -> None:
    waiting = JobView(job=job(state="AWAITING"), stages=(), partitions=(), no_worker_s=14.2)
    shown = as_record(view_record(waiting, [], {}))
    assert job_lines(shown)[-1] == "  waiting: no worker for 14 s"
    assert job_line(shown).endswith("AWAITING; waiting: no worker for 14 s")
    assert "waiting" not in job_line({**shown, "no_worker_s": None})
