"""Ranges of offsets into the archive's tables: each record once, even if sent again, late, or by two at once."""

import threading
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Transaction

from connectors.lake.archive import ActivityArchive
from connectors.lake.archive_commit import Appended
from connectors.lake.archive_tables import iceberg_schema
from schemas.errors import RetriableError
from schemas.ids import Partition, TenantName
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES
from segmentation.archiving import ARCHIVE_SCHEMAS, Verdict
from tests.integration.lake.archiving import ACME, HERE, Bucket, change, event, values

SHOP = TenantName("shop")
OTHER = Partition(0)


def offsets(archive: ActivityArchive, bucket: Bucket, topic: str = EVENTS, **of: Any) -> list[int]:
    """Offsets of all rows that a reader finds, in order."""
    found: list[int] = []
    for file in archive.files(topic, **of):
        table = pq.read_table(file.uri.removeprefix("s3://"), filesystem=bucket.s3.filesystem())
        assert len(table) == file.rows
        found += table.column("offset").to_pylist()
    return sorted(found)


def became(appended: Appended) -> list[Verdict]:
    return list(appended.verdicts)


def test_archive_is_empty_before_the_first_commit(archive: ActivityArchive) -> None:
    assert archive.archived_to(EVENTS) == {}
    assert archive.files(EVENTS) == []


def test_appended_range_has_its_rows_and_end(archive: ActivityArchive, bucket: Bucket) -> None:
    appended = archive.append(EVENTS, [bucket.write(5, 10, [event(5), event(8)])])
    assert (became(appended), appended.archived_to, appended.files) == ([Verdict.APPEND], {HERE: 10}, 1)
    assert archive.archived_to(EVENTS) == {HERE: 10}
    assert offsets(archive, bucket) == [5, 8]
    [file] = archive.files(EVENTS)
    assert (file.key.tenant, file.key.partition, file.key.first_offset, file.key.end_offset) == (ACME, HERE, 5, 10)


def test_repeated_range_changes_nothing(archive: ActivityArchive, bucket: Bucket) -> None:
    first = bucket.write(0, 10, [event(1)])
    archive.append(EVENTS, [first, first])
    again = archive.append(EVENTS, [first])
    assert (became(again), again.archived_to, again.files) == ([Verdict.KNOWN], {HERE: 10}, 0)
    assert offsets(archive, bucket) == [1]


def test_overlapping_and_gapped_ranges_are_refused(archive: ActivityArchive, bucket: Bucket) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1)])])
    overlapping, behind_a_gap = bucket.write(5, 20, [event(11)]), bucket.write(11, 20, [event(12)])
    refused = archive.append(EVENTS, [overlapping, behind_a_gap])
    assert (became(refused), refused.archived_to) == ([Verdict.REFUSED, Verdict.REFUSED], {HERE: 10})
    assert refused.unusable == {}  # workers may cut them again
    assert offsets(archive, bucket) == [1]


def test_several_ranges_of_several_partitions_are_one_commit(archive: ActivityArchive, bucket: Bucket) -> None:
    ranges = [
        bucket.write(0, 10, [event(1)]),
        bucket.write(0, 5, [event(2)], partition=OTHER),
        bucket.write(20, 30, [event(25)]),  # refused
        bucket.write(10, 20, [event(11)]),
    ]
    appended = archive.append(EVENTS, ranges)
    assert became(appended) == [Verdict.APPEND, Verdict.APPEND, Verdict.REFUSED, Verdict.APPEND]
    assert archive.archived_to(EVENTS) == {HERE: 20, OTHER: 5}
    assert offsets(archive, bucket) == [1, 2, 11]
    assert offsets(archive, bucket, partition=OTHER) == [2]
    assert len(snapshots(archive, EVENTS)) == 1


def snapshots(archive: ActivityArchive, topic: str) -> list[Any]:
    table = archive._tables.find(topic)
    assert table is not None
    return list(table.metadata.snapshots)


def test_tenants_of_one_range_are_read_separately(archive: ActivityArchive, bucket: Bucket) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1), event(2, tenant=SHOP), event(3)])])
    assert offsets(archive, bucket, tenant=ACME) == [1, 3]
    assert offsets(archive, bucket, tenant=SHOP) == [2]
    assert offsets(archive, bucket, tenant=TenantName("nobody")) == []
    assert archive.archived_to(EVENTS) == {HERE: 10}


def test_long_tenant_name_has_its_own_partition(archive: ActivityArchive, bucket: Bucket) -> None:
    long, longer = TenantName("t" * 62), TenantName("t" * 63)
    archive.append(EVENTS, [bucket.write(0, 10, [event(1, tenant=long), event(2, tenant=longer)])])
    assert offsets(archive, bucket, tenant=long) == [1]
    assert offsets(archive, bucket, tenant=longer) == [2]


def test_a_range_without_rows_moves_the_end(archive: ActivityArchive, bucket: Bucket) -> None:
    assert became(archive.append(EVENTS, [bucket.write(0, 10)])) == [Verdict.APPEND]
    archive.append(EVENTS, [bucket.write(10, 20, [event(15)])])
    assert (archive.archived_to(EVENTS), offsets(archive, bucket)) == ({HERE: 20}, [15])


def test_events_and_profiles_have_separate_tables(archive: ActivityArchive, bucket: Bucket) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1)])])
    archive.append(PROFILES, [bucket.write(0, 7, [change(2)], topic=PROFILES)])
    assert (archive.archived_to(EVENTS), archive.archived_to(PROFILES)) == ({HERE: 10}, {HERE: 7})
    assert offsets(archive, bucket, PROFILES) == [2]


@pytest.mark.parametrize("topic", ACTIVITY_TOPICS)
def test_table_and_files_share_field_ids(archive: ActivityArchive, bucket: Bucket, topic: str) -> None:
    archive.append(topic, [bucket.write(0, 1, topic=topic)])
    table = archive._tables.find(topic)
    assert table is not None
    assert table.schema().as_struct() == iceberg_schema(topic).as_struct()
    assert [field.name for field in table.schema().fields] == ARCHIVE_SCHEMAS[topic].names


def test_iceberg_reader_finds_the_written_rows(archive: ActivityArchive, bucket: Bucket) -> None:
    row = event(1, event_id="o-1", source="s", ordinal=7, properties=values({"a'\"b": 1.5, "日本": "x", "gift": True}))
    archive.append(EVENTS, [bucket.write(0, 10, [row, event(2, tenant=SHOP)])])
    table = archive._tables.find(EVENTS)
    assert table is not None
    [read] = table.scan(row_filter="tenant = 'acme'").to_arrow().to_pylist()
    whole = pa.Table.from_pylist([{**row, "partition": HERE}], ARCHIVE_SCHEMAS[EVENTS]).to_pylist()
    assert [read] == whole


def test_recreated_topic_is_refused_until_the_old_one_returns(archive: ActivityArchive, bucket: Bucket) -> None:
    """Offsets of the new topic begin at 0, so the archive would take its records for those it has."""
    archive.append(EVENTS, [bucket.write(0, 10, [event(1)])], topic_id="a")
    with pytest.raises(RetriableError, match="TOPIC_REPLACED"):
        archive.append(EVENTS, [bucket.write(0, 5, [event(2)])], topic_id="b")
    with pytest.raises(RetriableError, match="TOPIC_REPLACED"):
        archive.archived_to(EVENTS, topic_id="b")
    assert offsets(archive, bucket) == [1]
    assert archive.archived_to(EVENTS, topic_id="a") == {HERE: 10}
    assert became(archive.append(EVENTS, [bucket.write(10, 20)], topic_id="a")) == [Verdict.APPEND]


# Ranges that no worker writes.


def test_range_with_a_mismatched_file_is_never_appended(archive: ActivityArchive, bucket: Bucket) -> None:
    good = bucket.write(0, 10, [event(1)])
    outside = bucket.write(0, 10, [event(11)])
    elsewhere = bucket.write(0, 10, [event(1)], partition=OTHER)
    [file] = good.files
    garbage = file.replace("/0000", "/0000", 1).rpartition("-")[0] + "-ab.parquet"
    bucket.s3.client().put_object(Bucket=bucket.name, Key=garbage.split("/", 3)[3], Body=b"PAR1 no PAR1")
    of_profiles = bucket.write(0, 10, [change(1)], topic=PROFILES).files[0]
    disguised = file.rpartition("-")[0] + "-cd.parquet"
    copy = bucket.s3.client().get_object(Bucket=bucket.name, Key=of_profiles.split("/", 3)[3])["Body"].read()
    bucket.s3.client().put_object(Bucket=bucket.name, Key=disguised.split("/", 3)[3], Body=copy)
    moved = file.replace("/acme/", "/shop/")
    whole = bucket.s3.client().get_object(Bucket=bucket.name, Key=file.split("/", 3)[3])["Body"].read()
    bucket.s3.client().put_object(Bucket=bucket.name, Key=moved.split("/", 3)[3], Body=whole)
    missing = file.rpartition("-")[0] + "-ef.parquet"
    footless = file.rpartition("-")[0] + "-0a.parquet"
    footer = int.from_bytes(whole[-8:-4], "little")
    footless_body = whole[: -8 - footer] + b"\xff" * footer + whole[-8:]
    bucket.s3.client().put_object(Bucket=bucket.name, Key=footless.split("/", 3)[3], Body=footless_body)
    bad = {
        "does not exist": replace(good, files=(missing,)),
        "from offset [11] to [11]": outside,
        "of this range": replace(good, files=elsewhere.files),
        "ArrowInvalid": replace(good, files=(garbage,)),
        "OSError": replace(good, files=(footless,)),
        "ValueError": replace(good, files=(disguised,)),
        "of partition 3 of acme": replace(good, files=(moved,)),
        "listed twice": replace(good, files=(file, file)),
        "is empty": replace(good, first_offset=10),
        "not a file of this range": replace(good, files=("s3://another/" + file.split("/", 3)[3],)),
    }
    for number, why in enumerate(archive.append(EVENTS, list(bad.values())).unusable.values()):
        assert list(bad)[number] in why
    assert archive.archived_to(EVENTS) == {}
    assert became(archive.append(EVENTS, [*bad.values(), good])) == [Verdict.REFUSED] * len(bad) + [Verdict.APPEND]
    assert offsets(archive, bucket) == [1]


# Crashes and competitors.


class Died(BaseException):
    """The process ends here."""


def test_committer_death_before_the_commit_changes_nothing(
    archive: ActivityArchive, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:

    written = bucket.write(0, 10, [event(1)])
    archive.append(EVENTS, [bucket.write(0, 5, partition=OTHER)])

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(SqlCatalog, "commit_table", die)
        with pytest.raises(Died):
            archive.append(EVENTS, [written])
    assert (archive.archived_to(EVENTS), offsets(archive, bucket)) == ({OTHER: 5}, [])
    assert became(archive.append(EVENTS, [written])) == [Verdict.APPEND]
    assert offsets(archive, bucket) == [1]


def test_archive_commit_with_a_lost_answer_is_found(
    archive: ActivityArchive, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:

    commit, lost = SqlCatalog.commit_table, iter([True])

    def commit_and_lose(*arguments: Any) -> Any:
        answer = commit(*arguments)
        if next(lost, False):
            raise OSError("connection reset")
        return answer

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_and_lose)
    appended = archive.append(EVENTS, [bucket.write(0, 10, [event(1)])])
    assert (became(appended), appended.archived_to) == ([Verdict.KNOWN], {HERE: 10})
    assert offsets(archive, bucket) == [1]


@pytest.mark.parametrize("rows", [[event(1)], []], ids=["rows", "no rows"])
def test_overtaken_archive_commit_is_planned_again(
    archive: ActivityArchive, bucket: Bucket, catalog_url: str, monkeypatch: pytest.MonkeyPatch, rows: list[Any]
) -> None:
    """Even if neither has files: an end never goes back."""

    archive.append(EVENTS, [bucket.write(0, 1)])
    other = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name)
    longer, shorter = bucket.write(1, 20, rows), bucket.write(1, 10, rows)
    commit, overtaken = Transaction.commit_transaction, iter([True])

    def overtake(self: Transaction) -> Any:
        if next(overtaken, False):
            other.append(EVENTS, [longer])
        return commit(self)

    monkeypatch.setattr(Transaction, "commit_transaction", overtake)
    assert became(archive.append(EVENTS, [shorter])) == [Verdict.KNOWN]
    assert archive.archived_to(EVENTS) == {HERE: 20}
    assert offsets(archive, bucket) == [row["offset"] for row in rows]
    other.close()


def test_concurrent_committers_append_each_range_once(
    archive: ActivityArchive, bucket: Bucket, catalog_url: str
) -> None:
    ranges = [bucket.write(10 * n, 10 * n + 10, [event(10 * n)]) for n in range(4)]
    failed: list[BaseException] = []

    def append() -> None:
        mine = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name)
        try:
            for written in ranges:
                while archive_end(mine) < written.end_offset:
                    mine.append(EVENTS, [written])
        except BaseException as exc:  # noqa: BLE001
            failed.append(exc)
        finally:
            mine.close()

    def archive_end(mine: ActivityArchive) -> int:
        return mine.archived_to(EVENTS).get(HERE, 0)

    committers = [threading.Thread(target=append) for _ in range(2)]
    for committer in committers:
        committer.start()
    for committer in committers:
        committer.join()
    assert failed == []
    assert archive.archived_to(EVENTS) == {HERE: 40}
    assert offsets(archive, bucket) == [0, 10, 20, 30]


def test_constantly_losing_committer_reports_a_conflict(
    bucket: Bucket, catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    waits: list[float] = []
    archive = ActivityArchive(catalog_url=catalog_url, s3=bucket.s3, bucket=bucket.name, sleep=waits.append)
    archive.append(EVENTS, [bucket.write(0, 1)])

    def lose(*_: object) -> None:
        raise CommitFailedException

    monkeypatch.setattr(SqlCatalog, "commit_table", lose)
    with pytest.raises(RetriableError, match="20 consecutive commits lost") as error:
        archive.append(EVENTS, [bucket.write(1, 2)])
    assert (error.value.code, len(waits)) == ("ARCHIVE_CONFLICT", 19)
    archive.close()


def test_catalog_outage_is_reported_as_an_outage(bucket: Bucket) -> None:
    away = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    archive = ActivityArchive(catalog_url=away, s3=bucket.s3, bucket=bucket.name)
    with pytest.raises(RetriableError, match="CATALOG_UNAVAILABLE"):
        archive.append(EVENTS, [bucket.write(0, 1)])


def test_rebased_topic_continues_after_the_archive(archive: ActivityArchive, bucket: Bucket) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1)])], topic_id="a")
    for _ in range(2):  # a second rebase moves nothing
        begun = archive.rebase(EVENTS, topic_id="b", starts={HERE: 4, OTHER: 0}, log_epoch=1)
        assert (begun.epoch, begun.base, begun.position(HERE, 4)) == (1, {HERE: 6, OTHER: 0}, 10)
    assert archive.log(EVENTS, topic_id="b") == begun
    with pytest.raises(RetriableError, match=r"TOPIC_REPLACED: .* muster segments rebase"):
        archive.log(EVENTS, topic_id="a")
    assert (archive.topic_id(EVENTS), archive.archived_to(EVENTS, topic_id="b")) == ("b", {HERE: 10})
    of_before = bucket.write(10, 20, [event(11)])
    assert became(archive.append(EVENTS, [of_before], topic_id="b")) == [Verdict.REFUSED]
    assert became(archive.append(EVENTS, [replace(of_before, era=1)], topic_id="b")) == [Verdict.APPEND]
    assert offsets(archive, bucket) == [1, 11]


def test_rebase_with_a_lost_answer_is_found(
    archive: ActivityArchive, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1)])], topic_id="a")
    commit, lost, commits = SqlCatalog.commit_table, iter([True]), []

    def commit_and_lose(*arguments: Any) -> Any:
        commits.append(commit(*arguments))
        if next(lost, False):
            raise OSError("connection reset")
        return commits[-1]

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_and_lose)
    begun = archive.rebase(EVENTS, topic_id="b", starts={HERE: 4}, log_epoch=1)
    assert (begun.epoch, begun.base, len(commits)) == (1, {HERE: 6}, 1)
    assert archive.log(EVENTS, topic_id="b") == begun


def test_empty_table_can_be_rebased(archive: ActivityArchive, bucket: Bucket) -> None:
    archive.rebase(PROFILES, topic_id="b", starts={HERE: 0}, log_epoch=3)
    assert (archive.log(PROFILES, topic_id="b").epoch, archive.archived_to(PROFILES)) == (3, {})
    written = replace(bucket.write(0, 5, [change(2)], topic=PROFILES), era=3)
    assert became(archive.append(PROFILES, [written], topic_id="b")) == [Verdict.APPEND]


def test_append_started_before_a_rebase_is_refused(
    archive: ActivityArchive, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1)])], topic_id="a")
    commit = Transaction.commit_transaction

    def begins_before(self: Transaction) -> Any:
        monkeypatch.setattr(Transaction, "commit_transaction", commit)
        archive.rebase(EVENTS, topic_id="b", starts={HERE: 0}, log_epoch=1)
        return commit(self)

    monkeypatch.setattr(Transaction, "commit_transaction", begins_before)
    with pytest.raises(RetriableError, match="TOPIC_REPLACED"):
        archive.append(EVENTS, [bucket.write(10, 20, [event(11)])], topic_id="a")
    assert (offsets(archive, bucket), archive.archived_to(EVENTS)) == ([1], {HERE: 10})
