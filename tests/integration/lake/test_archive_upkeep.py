"""Small archive files are merged, and unused ones removed: no row is lost, duplicated or moved."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Transaction

from connectors.lake import archive_compaction
from connectors.lake.archive import ActivityArchive
from connectors.lake.archive_compaction import MERGED_BYTES, MIB, MIN_FAN_IN, SMALL_BYTES, Compacted, merge_groups
from connectors.lake.archive_reading import archived_rows
from connectors.lake.archive_tables import ArchivedFile
from connectors.lake.archive_upkeep import DEFAULT_GRACE, Removed
from connectors.storage.access import S3Access
from connectors.storage.listing import delete_objects
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.platform.clock import now_ms
from schemas.activity import PROFILE_ROWS
from schemas.errors import FatalError, RetriableError
from schemas.ids import Partition, TenantName
from schemas.layout import ArchiveKey, split_s3_uri
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES
from segmentation.archiving import ARCHIVE_SCHEMAS
from tests.integration.lake.archiving import ACME, HERE, SCHEMAS, Bucket, change, event, values

SHOP = TenantName("shop")
OTHER = Partition(0)
SMALL, MIDDLE, LARGE = 1000, 2 * MIB, 9 * MIB


def soon() -> datetime:
    return datetime.now(UTC)


def when_over() -> datetime:
    return soon() + DEFAULT_GRACE + timedelta(minutes=1)


# Which files become one.


def files(*sizes: int, tenant: TenantName = ACME, partition: Partition = HERE) -> list[ArchivedFile]:
    return [
        ArchivedFile(
            uri=f"s3://lake/{tenant}/{partition}/{n}",
            key=ArchiveKey(
                topic=EVENTS, tenant=tenant, partition=partition, first_offset=n, end_offset=n + 1, content_hash="0"
            ),
            rows=1,
            bytes=size,
        )
        for n, size in enumerate(sizes)
    ]


def grouped(*some: Sequence[ArchivedFile]) -> list[list[int]]:
    return [[file.bytes for file in group] for group in merge_groups([file for one in some for file in one])]


def test_only_many_small_files_are_merged() -> None:
    assert grouped(files(*[SMALL] * (MIN_FAN_IN - 1))) == []
    assert grouped(files(*[SMALL] * MIN_FAN_IN)) == [[SMALL] * MIN_FAN_IN]


def test_files_of_other_tenants_and_partitions_are_not_merged_together() -> None:
    seven = [SMALL] * (MIN_FAN_IN - 1)
    assert grouped(files(*seven), files(*seven, tenant=SHOP), files(*seven, partition=OTHER)) == []
    assert grouped(files(*seven), files(*[SMALL] * 9, tenant=SHOP)) == [[SMALL] * 9]


def test_a_large_file_separates_its_neighbours() -> None:
    assert grouped(files(*[SMALL] * 5, LARGE, *[SMALL] * 5)) == []


def test_many_medium_files_are_merged_without_small_ones() -> None:
    assert grouped(files(*[MIDDLE] * 7, *[SMALL] * 9)) == [[SMALL] * 9]
    assert grouped(files(*[MIDDLE] * 7, *[SMALL] * 2)) == [[MIDDLE] * 7 + [SMALL] * 2]


def test_most_files_come_first() -> None:
    assert [len(g) for g in grouped(files(*[SMALL] * 9), files(*[SMALL] * 20, tenant=SHOP))] == [20, 9]


@given(sizes=st.lists(st.sampled_from([1, SMALL, MIB - 1, MIB, 5 * MIB, 8 * MIB - 1, 8 * MIB, 60 * MIB]), max_size=120))
def test_groups_consist_of_many_small_neighbours(sizes: list[int]) -> None:
    all_files = files(*sizes)
    groups = merge_groups(all_files)
    for group in groups:
        first = all_files.index(group[0])
        assert list(group) == all_files[first : first + len(group)]
        assert len(group) >= MIN_FAN_IN
        assert sum(file.bytes for file in group) <= MERGED_BYTES
        assert max(file.bytes for file in group) < SMALL_BYTES[-1]
    merged = [file.uri for group in groups for file in group]
    assert len(merged) == len(set(merged))


# Compaction on a real table.


def fill(archive: ActivityArchive, bucket: Bucket, ranges: int, first: int = 0, **where: Any) -> None:
    topic = where.get("topic", EVENTS)
    row = event if topic == EVENTS else change
    archive.append(
        topic,
        [
            bucket.write(10 * n, 10 * n + 10, [row(10 * n + 1), row(10 * n + 2)], **where)
            for n in range(first, first + ranges)
        ],
    )


def offsets(archive: ActivityArchive, bucket: Bucket, topic: str = EVENTS) -> list[int]:
    """Offsets of all rows, in a reader's order."""
    return rows_of(bucket.s3, archive.files(topic), topic)


def rows_of(s3: S3Access, some: Sequence[ArchivedFile], topic: str = EVENTS) -> list[int]:
    return [o for file in some for rows in archived_rows(s3, file, SCHEMAS[topic]) for o in rows["offset"].to_pylist()]


def expected(ranges: int) -> list[int]:
    return [10 * n + m for n in range(ranges) for m in (1, 2)]


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    return tmp_path / "temp"


def test_merged_file_keeps_rows_and_order(
    archive: ActivityArchive, bucket: Bucket, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_compaction, "ROW_GROUP_ROWS", 5)
    fill(archive, bucket, 10)
    fill(archive, bucket, 3, partition=OTHER)
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=10, after=1)
    assert rows_of(bucket.s3, archive.files(EVENTS, partition=HERE)) == expected(10)
    assert rows_of(bucket.s3, archive.files(EVENTS, partition=OTHER)) == expected(3)
    [file] = archive.files(EVENTS, partition=HERE)
    assert (file.key.first_offset, file.key.end_offset, file.rows) == (0, 100, 20)
    assert archive.archived_to(EVENTS) == {HERE: 100, OTHER: 30}
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=0, after=0)
    assert list(temp.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "sizes"), [({"ROW_GROUP_ROWS": 6}, [6, 6, 6, 2]), ({"ROW_GROUP_BYTES": 1}, [2] * 10)]
)
def test_merged_file_has_full_row_groups_with_distinct_users(
    archive: ActivityArchive,
    bucket: Bucket,
    temp: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    sizes: list[int],
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(archive_compaction, name, limit)
    fill(archive, bucket, 10)
    archive.compact(EVENTS, temp_directory=temp)
    [file] = archive.files(EVENTS)
    footer = pq.read_metadata(file.uri.removeprefix("s3://"), filesystem=bucket.s3.filesystem())
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    assert [group.num_rows for group in groups] == sizes
    users = [group.column(ARCHIVE_SCHEMAS[EVENTS].names.index("user_id")) for group in groups]
    assert {(one.path_in_schema, one.has_dictionary_page) for one in users} == {("user_id", True)}


def test_all_columns_survive(archive: ActivityArchive, bucket: Bucket, temp: Path) -> None:
    rows = [
        change(n, f"u{n}", attributes=values({"n": float(n), "plan": None, "born": NOON_DATE}), source="s", ordinal=n)
        for n in range(9)
    ]
    archive.append(PROFILES, [bucket.write(n, n + 1, [row], topic=PROFILES) for n, row in enumerate(rows)])

    def read() -> list[dict[str, Any]]:
        found = archive.files(PROFILES)
        return [row for f in found for batch in archived_rows(bucket.s3, f, PROFILE_ROWS) for row in batch.to_pylist()]

    before = read()
    assert archive.compact(PROFILES, temp_directory=temp).after == 1
    assert read() == before
    assert len(before) == 9


NOON_DATE = datetime(2026, 11, 25, tzinfo=UTC).date()


def test_appends_continue_after_a_merge(archive: ActivityArchive, bucket: Bucket, temp: Path) -> None:
    fill(archive, bucket, 8)
    archive.compact(EVENTS, temp_directory=temp)
    fill(archive, bucket, 8, first=8)
    assert offsets(archive, bucket) == expected(16)
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=9, after=1)
    assert offsets(archive, bucket) == expected(16)


def test_range_appended_during_an_exchange_is_kept(
    archive: ActivityArchive, bucket: Bucket, catalog_url: str, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(archive, bucket, 8)
    other = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name)
    commit, overtaken = Transaction.commit_transaction, iter([True])

    def overtake(self: Transaction) -> Any:
        if next(overtaken, False):
            fill(other, bucket, 1, first=8)
        return commit(self)

    monkeypatch.setattr(Transaction, "commit_transaction", overtake)
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=8, after=1)
    assert offsets(archive, bucket) == expected(9)
    assert archive.archived_to(EVENTS) == {HERE: 90}
    other.close()


def test_files_exchanged_by_another_process_are_skipped(
    archive: ActivityArchive, bucket: Bucket, catalog_url: str, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(archive, bucket, 8)
    other = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name)
    commit, overtaken = Transaction.commit_transaction, iter([True])

    def overtake(self: Transaction) -> Any:
        if next(overtaken, False):
            assert other.compact(EVENTS, temp_directory=temp).after == 1
        return commit(self)

    monkeypatch.setattr(Transaction, "commit_transaction", overtake)
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=0, after=0)
    assert offsets(archive, bucket) == expected(8)
    other.close()


def lose_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    commit, lost = Transaction.commit_transaction, iter([True])

    def commit_and_lose(self: Transaction) -> Any:
        answer = commit(self)
        if next(lost, False):
            raise OSError("connection reset")
        return answer

    monkeypatch.setattr(Transaction, "commit_transaction", commit_and_lose)


def test_exchange_with_a_lost_answer_is_found(
    archive: ActivityArchive, bucket: Bucket, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(archive, bucket, 8)
    lose_an_answer(monkeypatch)
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=8, after=1)
    assert offsets(archive, bucket) == expected(8)
    assert len(archive.files(EVENTS)) == 1


@pytest.mark.faults("races three writers until it has met their conflicts")
def test_concurrent_appends_compactions_and_expiry_lose_and_duplicate_nothing(
    bucket: Bucket, catalog_url: str, temp: Path
) -> None:
    done = threading.Event()
    failed: list[BaseException] = []

    def run(work: Any) -> None:
        mine = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name)
        try:
            work(mine)
        except BaseException as exc:  # noqa: BLE001
            failed.append(exc)
        finally:
            mine.close()

    def append(mine: ActivityArchive) -> None:
        for n in range(25):
            fill(mine, bucket, 1, first=n)
        done.set()

    def keep_up(mine: ActivityArchive) -> None:
        while not done.is_set():
            mine.compact(EVENTS, temp_directory=temp)
            mine.expire(EVENTS, now=soon(), grace=timedelta(seconds=1))

    threads = [threading.Thread(target=run, args=(work,)) for work in (append, keep_up, keep_up)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    archive = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name)
    assert offsets(archive, bucket) == expected(25)
    assert len(archive.files(EVENTS)) < 25
    archive.close()


def test_file_that_contradicts_the_table_is_not_merged(archive: ActivityArchive, bucket: Bucket, temp: Path) -> None:
    fill(archive, bucket, 8)
    first, second = (split_s3_uri(file.uri)[1] for file in archive.files(EVENTS)[:2])
    one_row = bucket.write(100, 110, [event(101)]).files[0]
    bucket.s3.client().copy_object(
        Bucket=bucket.name, Key=first, CopySource={"Bucket": bucket.name, "Key": split_s3_uri(one_row)[1]}
    )
    with pytest.raises(FatalError, match=r"LAKE_MISMATCH: .* have 15 rows, but the table lists 16"):
        archive.compact(EVENTS, temp_directory=temp)
    delete_objects(bucket.s3.client(), bucket.name, [second])
    with pytest.raises(FatalError, match="LAKE_FILE_MISSING"):
        archive.compact(EVENTS, temp_directory=temp)


def test_unmergeable_group_does_not_block_others(archive: ActivityArchive, bucket: Bucket, temp: Path) -> None:
    fill(archive, bucket, 9)
    fill(archive, bucket, 8, partition=OTHER)
    delete_objects(bucket.s3.client(), bucket.name, [split_s3_uri(archive.files(EVENTS, partition=HERE)[0].uri)[1]])
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=8, after=1)
    with pytest.raises(FatalError, match="LAKE_FILE_MISSING"):
        archive.compact(EVENTS, temp_directory=temp)


def test_constantly_losing_exchange_reports_a_conflict(
    bucket: Bucket, catalog_url: str, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    archive = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name, sleep=waits.append)
    fill(archive, bucket, 8)

    def lose(*_: object) -> None:
        raise CommitFailedException

    monkeypatch.setattr(Transaction, "commit_transaction", lose)
    with pytest.raises(RetriableError, match="20 consecutive commits lost") as error:
        archive.compact(EVENTS, temp_directory=temp)
    assert (error.value.code, len(waits)) == ("ARCHIVE_CONFLICT", 19)
    archive.close()


# What is removed, and when.


def snapshots(archive: ActivityArchive) -> int:
    table = archive._tables.find(EVENTS)
    assert table is not None
    return len(table.metadata.snapshots)


def test_append_snapshots_expire_at_once_and_exchange_snapshots_after_the_grace(
    archive: ActivityArchive, bucket: Bucket, temp: Path
) -> None:
    for n in range(8):
        fill(archive, bucket, 1, first=n)
    archive.compact(EVENTS, temp_directory=temp)
    fill(archive, bucket, 1, first=8)
    fill(archive, bucket, 1, first=9)
    assert snapshots(archive) == 11
    assert archive.expire(EVENTS, now=soon()) == 8  # keeps the current snapshot, the exchange, and the one before it
    assert archive.expire(EVENTS, now=soon()) == 0
    assert archive.expire(EVENTS, now=when_over()) == 2
    assert snapshots(archive) == 1
    assert offsets(archive, bucket) == expected(10)


def test_archive_expiry_with_a_lost_answer_reports_its_snapshots(
    archive: ActivityArchive, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(archive, bucket, 1)
    fill(archive, bucket, 1, first=1)
    lose_an_answer(monkeypatch)
    assert archive.expire(EVENTS, now=soon()) == 1
    assert snapshots(archive) == 1


def test_overtaken_archive_expiry_is_planned_again(
    archive: ActivityArchive, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(archive, bucket, 1)
    fill(archive, bucket, 1, first=1)
    commit, overtaken = Transaction.commit_transaction, iter([True])

    def overtake(self: Transaction) -> Any:
        if next(overtaken, False):
            fill(archive, bucket, 1, first=2)
            raise CommitFailedException
        return commit(self)

    monkeypatch.setattr(Transaction, "commit_transaction", overtake)
    assert archive.expire(EVENTS, now=soon()) == 2
    assert offsets(archive, bucket) == expected(3)


def test_replaced_files_are_kept_for_the_grace_of_readers(archive: ActivityArchive, bucket: Bucket, temp: Path) -> None:
    """Even old files: their age counts from the exchange."""
    fill(archive, bucket, 8)
    found = archive.files(EVENTS)
    archive.compact(EVENTS, temp_directory=temp)
    fill(archive, bucket, 1, first=8)
    archive.expire(EVENTS, now=soon())
    archive.remove_garbage(EVENTS, now=soon() + timedelta(days=365))
    assert rows_of(bucket.s3, found) == expected(8)
    archive.expire(EVENTS, now=when_over())
    removed = archive.remove_garbage(EVENTS, now=when_over())
    assert removed.files > 8
    assert removed.bytes > 0
    with pytest.raises(FatalError, match="LAKE_FILE_MISSING"):
        rows_of(bucket.s3, found)
    assert offsets(archive, bucket) == expected(9)
    assert archive.remove_garbage(EVENTS, now=when_over()) == Removed(files=0, bytes=0)


def test_appendable_files_are_kept_and_late_ones_removed(archive: ActivityArchive, bucket: Bucket) -> None:
    ahead, late = bucket.write(20, 30, [event(21)]), bucket.write(0, 5, [event(1)])
    unknown = bucket.write(0, 5, [event(1)], partition=OTHER)
    assert archive.remove_garbage(EVENTS, now=when_over()) == Removed(files=0, bytes=0)  # no table exists yet
    fill(archive, bucket, 1)
    assert archive.remove_garbage(EVENTS, now=soon()) == Removed(files=0, bytes=0)
    assert archive.remove_garbage(EVENTS, now=when_over()).files == 1
    left = bucket.keys("activity/events/data/")
    assert {split_s3_uri(uri)[1] for written in (ahead, unknown) for uri in written.files} < left
    assert split_s3_uri(late.files[0])[1] not in left
    fill(archive, bucket, 1, first=1)
    archive.append(EVENTS, [ahead])
    assert offsets(archive, bucket) == [*expected(2), 21]


def test_files_of_a_dead_compaction_are_removed_after_the_grace(
    archive: ActivityArchive, bucket: Bucket, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(archive, bucket, 8)

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "commit_transaction", die)
        with pytest.raises(Died):
            archive.compact(EVENTS, temp_directory=temp)
    assert offsets(archive, bucket) == expected(8)
    assert len(bucket.keys("activity/events/data/")) == 9
    assert archive.remove_garbage(EVENTS, now=soon()).files == 0
    archive.remove_garbage(EVENTS, now=when_over())
    assert len(bucket.keys("activity/events/data/")) == 8
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=8, after=1)


def test_foreign_and_unknown_objects_are_kept(archive: ActivityArchive, bucket: Bucket) -> None:
    fill(archive, bucket, 1)
    fill(archive, bucket, 1, topic=PROFILES)
    kept = ["activity/events/README", "activity/events/data/acme/x.parquet", "audiences/acme/x"]
    for key in kept:
        bucket.s3.client().put_object(Bucket=bucket.name, Key=key, Body=b"x")
    before = bucket.keys("activity/profiles/")
    archive.remove_garbage(EVENTS, now=when_over())
    assert bucket.keys("activity/profiles/") == before
    assert set(kept) < bucket.keys("")


def test_maintenance_before_the_first_commit_does_nothing(archive: ActivityArchive, temp: Path) -> None:
    assert archive.compact(EVENTS, temp_directory=temp) == Compacted(before=0, after=0)
    assert archive.expire(EVENTS, now=when_over()) == 0
    assert archive.remove_garbage(EVENTS, now=when_over()) == Removed(files=0, bytes=0)


# The control plane's thread.


def test_relay_maintains_both_tables(context: Context, bucket: Bucket) -> None:
    keeper = control_plane.archive_maintenance(context, threading.Event())
    for topic in ACTIVITY_TOPICS:
        fill(context.archive, bucket, 9, topic=topic)
    late = bucket.write(0, 5, [event(1)])
    keeper.maintain(now_ms())
    assert [len(context.archive.files(topic)) for topic in ACTIVITY_TOPICS] == [1, 1]
    assert split_s3_uri(late.files[0])[1] in bucket.keys("activity/")
    for step in (keeper.maintain, keeper.remove_garbage):
        step(int(when_over().timestamp() * 1000))
    assert split_s3_uri(late.files[0])[1] not in bucket.keys("activity/")
    assert [offsets(context.archive, bucket, topic) for topic in ACTIVITY_TOPICS] == [expected(9), expected(9)]
    assert snapshots(context.archive) == 1


def test_failed_maintenance_of_a_table_does_not_block_the_other(
    context: Context, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    for topic in ACTIVITY_TOPICS:
        for n in range(9):
            fill(context.archive, bucket, 1, first=n, topic=topic)
    delete_objects(bucket.s3.client(), bucket.name, [split_s3_uri(context.archive.files(EVENTS)[0].uri)[1]])
    control_plane.archive_maintenance(context, threading.Event()).maintain(now_ms())
    assert [len(context.archive.files(topic)) for topic in ACTIVITY_TOPICS] == [9, 1]
    assert f"archive maintenance of {EVENTS}: LAKE_FILE_MISSING" in caplog.text
    assert snapshots(context.archive) == 1
