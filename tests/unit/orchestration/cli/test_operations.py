"""The pure parts of the operations: specs, keys, sums, what fsck compares."""

from datetime import UTC, datetime
from typing import cast

import pytest

from orchestration.catalog.records import Audience, Retention
from orchestration.cli.rendering import kept_text, value_pairs
from orchestration.cli.spec_changes import spec_changes
from orchestration.operations.audiences import changed_retention
from orchestration.operations.dry_run import counts_of
from orchestration.operations.fsck import check_snapshots, check_versions, receipt_problem
from orchestration.operations.submit import upload_key
from schemas.columns import Column, ImportMode, RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.ids import Attempt, AudienceName, JobId, TenantName, Version
from schemas.import_spec import ImportSpec
from schemas.messages import JobState
from segmentation.versions import VersionInfo
from tests.unit.orchestration.cli.jobs import JOB, job


def test_only_given_options_change_the_spec() -> None:
    kept = ImportSpec(id_column="email", max_reject_share=0.1)
    changes = spec_changes(columns=["age:long=Age"], mode="append")
    assert kept.with_changes(changes) == ImportSpec(
        id_column="email", max_reject_share=0.1, mode="append", columns=(Column(name="age", type="long", source="Age"),)
    )


def test_allow_shrink_removes_the_guard() -> None:
    assert spec_changes(allow_shrink=True) == {"max_shrink_percent": None}
    assert spec_changes(max_shrink=0) == {"max_shrink_percent": 0}


@pytest.mark.parametrize("text", ["age:long=Age", "city", "seen:timestamp=Last seen"])
def test_column_option_round_trips(text: str) -> None:
    assert Column.parse(text).notation == text


def test_upload_key_keeps_the_end_of_a_long_name() -> None:
    key = upload_key(TenantName("default"), AudienceName("vip"), JOB.job_id, "é" * 2000 + ".csv.gz")
    assert len(key.encode()) <= 1024
    assert key.startswith(f"uploads/default/vip/{JOB.job_id}/")
    assert key.endswith(".csv.gz")


@pytest.mark.parametrize(
    ("mode", "added", "removed", "kept", "members"),
    [("replace", 3, 6, 4, 7), ("append", 3, 0, 10, 13), ("remove", 0, 4, 6, 6)],
)
def test_sums_of_each_mode_add_up(mode: str, added: int, removed: int, kept: int, members: int) -> None:
    counts = counts_of(cast(ImportMode, mode), base_members=10, distinct=7, common=4, base_version=Version(2))
    assert (counts.added, counts.removed, counts.kept, counts.members) == (added, removed, kept, members)
    assert counts.fault() is None


def test_receipts_and_dry_runs_show_nulls_empty_columns_and_changed_members() -> None:
    found = {"nulls_by_column": {"age": 1200, "city": 0, "plan": 5000}, "emptied_columns": ["plan"]}
    assert value_pairs(found) == [
        ("nulls", "age 1,200, plan 5,000"),
        ("warning", "no values any more in plan, which had some in the version before"),
    ]
    assert value_pairs({"nulls_by_column": {"age": 0}, "emptied_columns": None}) == [("nulls", "none")]
    assert value_pairs({}) == []  # a receipt of an earlier release
    assert kept_text({"kept": 5000, "updated": 1200}) == "5,000 (1,200 changed)"
    assert kept_text({"kept": 5000, "updated": None}) == "5,000"


def test_retention_keeps_at_least_one_version() -> None:
    assert changed_retention(Retention(), {"versions": 3}) == Retention(versions=3, days=30)
    with pytest.raises(UserError, match="BAD_RETENTION"):
        changed_retention(Retention(), {"versions": 0})


DIGEST = Digest(schema_id="0123456789abcdef", count=2, sum0=1, sum1=2)
AUDIENCE = Audience(
    audience_id=JobId("01jdcz0000000000000000000b"),
    tenant=TenantName("default"),
    name=AudienceName("vip"),
    spec=ImportSpec(),
    retention=Retention(),
    created_at_ms=0,
)
INFO = VersionInfo(
    version=Version(1),
    snapshot_id=11,
    import_id=JOB.job_id,
    attempt=Attempt(1),
    mode="replace",
    order_key="1",
    partitions=1,
    partitioner="murmur2",
    row_schema=RowSchema(),
    members=2,
    digest=DIGEST,
    base_version=None,
    source_version=None,
    counts=None,
    published_at=datetime(2026, 1, 1, tzinfo=UTC),
)
RECEIPT: dict[str, object] = {
    "mode": "replace",
    "version": 1,
    "snapshot_id": 11,
    "rows": 3,
    "accepted": 3,
    "rejected": 0,
    "rejected_by_code": {},
    "duplicates": 1,
    "distinct": 2,
    "members": 2,
    "digest": str(DIGEST),
    "partitions": [{"records": 3, "distinct": 2, "distinct_digest": str(DIGEST)}],
}
OUTCOME = {"version": 1, "snapshot_id": 11, "members": 2, "digest": str(DIGEST)}


def test_receipt_equal_to_the_snapshot_is_no_finding() -> None:
    assert receipt_problem(job(state="READY", outcome=OUTCOME), RECEIPT, INFO) is None


@pytest.mark.parametrize(
    ("receipt", "outcome", "code"),
    [
        (None, OUTCOME, "RECEIPT_MISSING"),
        ({**RECEIPT, "rows": 4}, OUTCOME, "RECEIPT_WRONG"),
        ({**RECEIPT, "snapshot_id": 12}, OUTCOME, "RECEIPT_WRONG"),
        (RECEIPT, {**OUTCOME, "members": 3}, "RECEIPT_WRONG"),
        (RECEIPT, None, "RECEIPT_WRONG"),
    ],
)
def test_receipt_or_outcome_that_differs_from_the_snapshot_is_found(
    receipt: dict[str, object] | None, outcome: dict[str, object] | None, code: str
) -> None:
    problem = receipt_problem(job(state="READY", outcome=outcome), receipt, INFO)
    assert problem is not None
    assert problem[0] == code


@pytest.mark.parametrize(
    ("state", "code", "severity"),
    [
        (None, "SNAPSHOT_WITHOUT_JOB", "wrong"),
        ("FAILED", "SNAPSHOT_OF_FAILED_JOB", "wrong"),
        ("CANCELLED", "SNAPSHOT_OF_FAILED_JOB", "wrong"),
        ("SUPERSEDED", "SNAPSHOT_OF_FAILED_JOB", "wrong"),
        ("PUBLISHING", "PUBLISH_UNFINISHED", "note"),
        ("BUILDING", "PUBLISH_UNFINISHED", "note"),
    ],
)
def test_a_version_whose_job_is_not_ready_is_found(state: str | None, code: str, severity: str) -> None:
    jobs = {} if state is None else {JOB.job_id: job(state=cast(JobState, state))}
    [finding] = check_snapshots(AUDIENCE, [INFO], jobs)
    assert (finding.code, finding.severity) == (code, severity)


def test_a_version_of_a_ready_job_is_no_finding() -> None:
    assert list(check_snapshots(AUDIENCE, [INFO], {JOB.job_id: job(state="READY")})) == []


@pytest.mark.parametrize(
    ("expired", "pins", "codes"),
    [(0, {}, ["VERSION_MISSING"]), (1, {}, []), (1, {1}, ["PINNED_VERSION_MISSING"]), (5, {}, [])],
)
def test_absent_version_is_missing_unless_expired(expired: int, pins: set[int], codes: list[str]) -> None:
    ready = job(state="READY", outcome=OUTCOME)
    found = check_versions(AUDIENCE, [ready], {}, expired=expired, pins={Version(pin) for pin in pins})
    assert [finding.code for finding in found] == codes


def test_a_pinned_version_that_is_kept_is_no_finding() -> None:
    ready = job(state="READY", outcome=OUTCOME)
    found = check_versions(AUDIENCE, [ready], {JOB.job_id: INFO}, expired=1, pins={Version(1)})
    assert list(found) == []
