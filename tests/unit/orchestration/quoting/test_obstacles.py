"""Obstacles of a job, each found with a file that has just this fault."""

import pytest

from orchestration.quoting.quote import quote
from orchestration.quoting.work import Work
from schemas.records import as_record
from tests.unit.orchestration.quoting.figures import FREE, RATES, deployed

M = 1_000_000
H = 3600


def codes(work: Work, **settings: int) -> list[tuple[str, str | None]]:
    return [(found.code, found.stage) for found in quote(work, deployed(**settings), RATES, FREE).obstacles]


def said(work: Work, code: str, **settings: int) -> str:
    return next(
        found.message for found in quote(work, deployed(**settings), RATES, FREE).obstacles if found.code == code
    )


def test_large_file_has_no_obstacles() -> None:
    assert codes(Work(rows=1_000 * M, bytes=50_000 * M), workers=8) == []


def test_small_file_with_many_rows_exceeds_a_function() -> None:
    packed = Work(rows=520 * M, bytes=250 * M)  # 2 us of a core each, on 1.16 cores: 898 s and the start
    assert ("OVER_15_MINUTES", "verify") in codes(packed)
    assert said(packed, "OVER_15_MINUTES") == (
        "verify takes 15 min in a function, which may run for 15. Lower lambda_file_bytes, or run more workers"
    )
    assert "OVER_15_MINUTES" not in dict(codes(packed, lambda_file_bytes=0))


def test_stage_beyond_its_timeout_is_named() -> None:
    packed = Work(rows=500 * M, bytes=250 * M)
    in_a_task = dict.fromkeys(stage for code, stage in codes(packed, lambda_file_bytes=0) if code == "OVER_TIMEOUT")
    assert list(in_a_task) == ["verify", "import", "publish"]  # 300 s and one more for each 2, 0.5 and 4 MiB
    assert said(packed, "OVER_TIMEOUT", lambda_file_bytes=0) == (
        "verify takes 9 min; its limit for a file of this size is 7. Run more workers, or split the file"
    )


def test_stage_beyond_a_day_and_job_beyond_three_are_named() -> None:
    day = Work(rows=14_000 * M, bytes=700_000 * M)  # 8 us a row: 31 hours with one worker
    assert codes(day, workers=1, partitions=100) == [("OVER_24_HOURS", "import")]
    days = Work(rows=30_000 * M, bytes=1_500_000 * M)
    assert codes(days, workers=1, partitions=100) == [("OVER_24_HOURS", "import"), ("OVER_JOB_AGE", None)]
    assert said(days, "OVER_JOB_AGE", workers=1, partitions=1000) == (
        "all stages take 83.4 h; a job that is older than 72 h is ended. Run more workers, or split the file"
    )


LOWER_LAMBDA = "Lower lambda_file_bytes"
LOWER_FARGATE = "Give tasks more disk, or lower fargate_file_bytes"


@pytest.mark.parametrize(
    ("work", "settings", "stage", "words"),
    [
        (Work(rows=1000, bytes=250 * M, mode="append", base_members=50_000), {}, "build", LOWER_LAMBDA),  # long rows
        (Work(rows=1 * M, bytes=31_000 * M, copied=True), {}, "verify", LOWER_FARGATE),
        (
            Work(rows=600 * M, bytes=30_000 * M, mode="append", base_members=400 * M),
            {"partitions": 1},
            "build",
            LOWER_FARGATE,
        ),
        (
            Work(rows=1_000 * M, bytes=50_000 * M),
            {"partitions": 1},
            "materialise",
            "Give the topics more partitions, or the workers more disk",
        ),
    ],
)
def test_too_small_disk_is_named_with_the_remedy(work: Work, settings: dict[str, int], stage: str, words: str) -> None:
    found = [o for o in quote(work, deployed(**settings), RATES, FREE).obstacles if o.code == "OVER_DISK"]
    assert found[0].stage == stage
    assert words in found[0].message
    assert as_record(found[0]) == {"code": "OVER_DISK", "stage": stage, "message": found[0].message}


def test_sufficient_disk_is_not_named() -> None:
    assert codes(Work(rows=1 * M, bytes=250 * M, copied=True)) == []
    assert codes(Work(rows=600 * M, bytes=29_000 * M, copied=True), workers=8) == []
