"""Reconciliation is exact: the set of seqs, the sum of counts and the sum of digests, or PartitionFailed."""

from dataclasses import replace

import pytest

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, Partition, Seq, TenantName
from schemas.messages import ImportAborted, ImportEnded, ImportStarted, UserChunk
from segmentation.progress import (
    AnnounceAgain,
    Drop,
    Effect,
    GroupKey,
    Keep,
    Merge,
    Progress,
    Report,
    Skip,
    step,
)

SCHEMA = RowSchema()
IMPORT = JobId("0" * 26)
KEY = GroupKey(import_id=IMPORT, attempt=Attempt(1), partition=Partition(0))


def digest(count: int, total: int) -> Digest:
    return Digest(schema_id=SCHEMA.schema_id, count=count, sum0=total, sum1=2 * total)


def chunk(seq: int, *, count: int = 10, total: int = 7) -> UserChunk:
    return UserChunk(
        import_id=IMPORT,
        attempt=Attempt(1),
        partition=Partition(0),
        seq=Seq(seq),
        count=count,
        digest=digest(count, total + seq),
        rows=b"",
    )


def ended(chunks: int, records: int, total: int) -> ImportEnded:
    return ImportEnded(
        tenant=TenantName("acme"),
        audience=AudienceName("vip"),
        import_id=IMPORT,
        attempt=Attempt(1),
        partition=Partition(0),
        partitions=4,
        columns=SCHEMA,
        data_prefix="s3://lake/data/",
        chunks=chunks,
        records=records,
        digest=digest(records, total),
    )


STARTED = ImportStarted(
    tenant=TenantName("acme"),
    audience=AudienceName("vip"),
    import_id=IMPORT,
    attempt=Attempt(1),
    partition=Partition(0),
    partitions=4,
    kind="audience",
    mode="replace",
    source="s3://inbox/acme/vip/f.csv",
    columns=SCHEMA,
)
ABORTED = ImportAborted(import_id=IMPORT, attempt=Attempt(1), partition=Partition(0), reason="cancelled")


def after(*messages: ImportStarted | UserChunk | ImportEnded | ImportAborted) -> tuple[Progress, list[Effect]]:
    state, effects = Progress(key=KEY), []
    for message in messages:
        state, effect = step(state, message)
        effects.append(effect)
    return state, effects


def test_chunks_in_any_order_and_twice_reconcile() -> None:
    marker = ended(3, 30, 7 + 8 + 9)
    _, effects = after(STARTED, chunk(2), chunk(0), chunk(2), chunk(1), marker)
    assert effects == [Skip(why="start"), Keep(), Keep(), Skip(why="duplicate"), Keep(), Merge(marker=marker)]


def test_a_partition_without_chunks_reconciles() -> None:
    marker = ended(0, 0, 0)
    assert after(STARTED, marker)[1][-1] == Merge(marker=marker)


def test_missing_chunks_are_named() -> None:
    _, effects = after(chunk(1), ended(4, 40, 34))
    report = effects[-1]
    assert isinstance(report, Report)
    assert (report.failure.missing_count, report.failure.missing) == (3, (0, 2, 3))
    assert report.failure.expected == digest(40, 34)
    assert report.failure.actual == digest(10, 8)
    assert report.failure.reason == "3 of 4 chunks are missing; 10 records, but the marker declares 40"


def test_only_the_first_hundred_missing_chunks_are_listed() -> None:
    report = after(ended(5_000, 50_000, 1))[1][-1]
    assert isinstance(report, Report)
    assert (report.failure.missing_count, report.failure.missing) == (5_000, tuple(range(100)))


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        (ended(1, 20, 15), "1 chunks have a seq past the 1 that were sent"),
        (ended(2, 21, 15), "20 records, but the marker declares 21"),
        (ended(2, 20, 16), "the digest differs from the marker's"),
        (
            replace(ended(2, 20, 15), records=19),
            "the marker declares 19 records, but its digest 20; 20 records, but the marker declares 19",
        ),
    ],
    ids=["one chunk too many", "one record too few", "other rows", "a marker at odds with itself"],
)
def test_inconsistent_group_fails(marker: ImportEnded, reason: str) -> None:
    report = after(chunk(0), chunk(1), marker)[1][-1]
    assert isinstance(report, Report)
    assert report.failure.reason == reason


def test_chunks_with_another_schema_do_not_count() -> None:
    foreign = replace(chunk(0), digest=Digest(schema_id="f" * 16, count=10, sum0=7, sum1=14))
    report = after(foreign, ended(1, 10, 7))[1][-1]
    assert isinstance(report, Report)
    assert "1 chunks have another schema" in report.failure.reason


def test_conflicting_contents_of_one_seq_fail() -> None:
    _, effects = after(chunk(0), chunk(0, total=99), ended(1, 10, 7))
    assert effects[1] == Skip(why="conflict")
    assert isinstance(effects[2], Report)
    assert effects[2].failure.reason == "seq 0 came with two different contents"


def test_repeated_marker_gives_the_same_result() -> None:
    marker = ended(2, 20, 15)
    lost, effects = after(chunk(0), marker)
    assert step(lost, marker)[1] == effects[-1]
    whole, effects = after(chunk(0), chunk(1), marker)
    assert step(whole, marker)[1] == effects[-1]


def test_a_chunk_after_the_marker_changes_nothing() -> None:
    state, effects = after(chunk(0), ended(2, 20, 15), chunk(1), ended(2, 20, 15))
    assert effects[2] == Skip(why="settled")
    assert isinstance(effects[3], Report)
    assert state.outcome == "failed"


def test_after_the_part_is_announced_the_marker_announces_again() -> None:
    state = Progress.resume(KEY, finished=True)
    assert step(state, ended(1, 10, 7))[1] == AnnounceAgain()
    assert step(state, chunk(0))[1] == Skip(why="settled")


def test_abort_drops_the_group_and_later_zombie_chunks() -> None:
    _, effects = after(chunk(0), ABORTED, chunk(1), ended(2, 20, 15), ABORTED)
    assert effects[1:] == [Drop(), Skip(why="aborted"), Skip(why="aborted"), Drop()]


def test_new_owner_continues_from_staged_runs() -> None:
    state = Progress.resume(KEY, staged=[(Seq(0), chunk(0).digest), (Seq(0), chunk(0).digest)])
    state, effect = step(state, chunk(0))
    assert effect == Skip(why="duplicate")
    state, effect = step(state, chunk(1))
    assert effect == Keep()
    assert step(state, ended(2, 20, 15))[1] == Merge(marker=ended(2, 20, 15))


def test_conflicting_runs_do_not_reconcile() -> None:
    state = Progress.resume(KEY, staged=[(Seq(0), digest(10, 7)), (Seq(0), digest(10, 8))])
    assert isinstance(step(state, ended(1, 10, 7))[1], Report)


def test_a_message_of_another_attempt_is_refused() -> None:
    with pytest.raises(ValueError, match="does not belong"):
        step(Progress(key=KEY), replace(chunk(0), attempt=Attempt(2)))
