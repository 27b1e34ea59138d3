"""The past of a partition as a worker reads it: exactly the rows between two offsets, in order."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from connectors.lake import archive_reading
from connectors.lake.activity_history import ActivityHistory
from connectors.lake.archive import ActivityArchive
from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from connectors.storage.listing import delete_objects
from schemas.activity import EVENT_ROWS, PROFILE_ROWS
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import AudienceName, Partition, TenantName, Version
from schemas.layout import split_s3_uri
from schemas.partitioning import partition_of
from schemas.topics import EVENTS, PROFILES
from segmentation.versions import AudienceRef
from tests.integration.lake.archiving import ACME, HERE, NOON, Bucket, change, event, later, values
from tests.integration.lake.support import Parts, audience, request, users

SHOP = TenantName("shop")
OTHER = Partition(0)
PARTITIONS = 4
NAMES = [f"user-{n}" for n in range(40)]


@pytest.fixture
def history(archive: ActivityArchive, bucket: Bucket, store: IcebergVersionStore) -> ActivityHistory:
    return ActivityHistory(archive=archive, versions=store, find_audience=unknown, s3=bucket.s3)


def unknown(*_: str) -> AudienceRef:
    raise UserError("UNKNOWN_AUDIENCE", "there is none")


def rows_of(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for batch in batches:
        assert batch.schema.equals(schema, check_metadata=True)
        rows += batch.to_pylist()
    return rows


def offsets(batches: Iterable[pa.RecordBatch], schema: pa.Schema = EVENT_ROWS) -> list[int]:
    return [row["offset"] for row in rows_of(batches, schema)]


def names(arrays: Iterable[pa.StringArray]) -> list[str]:
    return sorted(name for array in arrays for name in array.to_pylist())


def test_history_is_empty_before_the_first_commit(history: ActivityHistory, archive: ActivityArchive) -> None:
    assert archive.archived_to(EVENTS) == {}
    assert list(history.known_users(ACME, HERE, events=9, profiles=9)) == []
    assert list(history.events(ACME, HERE, before=9)) == []
    assert list(history.profiles(ACME, HERE, before=9)) == []


def test_partitions_have_separate_ends(archive: ActivityArchive, bucket: Bucket) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1)]), bucket.write(0, 3, partition=OTHER)])
    archive.append(PROFILES, [bucket.write(0, 7, [change(2, tenant=SHOP)], topic=PROFILES)])
    assert archive.archived_to(EVENTS) == {HERE: 10, OTHER: 3}
    assert archive.archived_to(PROFILES) == {HERE: 7}


def test_events_round_trip_through_the_archive(
    history: ActivityHistory, archive: ActivityArchive, bucket: Bucket
) -> None:
    written = [
        event(1, properties=values({"total": 1.5, "coupon": "日本", "gift": True})),
        event(2, "bob", event="view", occurred_at=later(-1.000001), event_id="e-1", identity=-5),
        event(3, source="s3://in/a.csv", ordinal=7, received_at=later(3)),
    ]
    archive.append(EVENTS, [bucket.write(0, 10, written)])
    batch = pa.RecordBatch.from_pylist(written, schema=EVENT_ROWS)
    assert rows_of(history.events(ACME, HERE, before=10), EVENT_ROWS) == batch.to_pylist()


def test_events_are_limited_to_tenant_partition_and_offsets(
    history: ActivityHistory, archive: ActivityArchive, bucket: Bucket
) -> None:
    archive.append(
        EVENTS,
        [
            bucket.write(0, 10, [event(1), event(4), event(8), event(9, tenant=SHOP)]),
            bucket.write(10, 20, [event(10), event(15)]),
            bucket.write(20, 30, [event(20), event(25)]),
            bucket.write(0, 30, [event(5)], partition=OTHER),
        ],
    )
    assert offsets(history.events(ACME, HERE, before=30)) == [1, 4, 8, 10, 15, 20, 25]
    assert offsets(history.events(ACME, HERE, first=4, before=20)) == [4, 8, 10, 15]
    assert offsets(history.events(ACME, HERE, first=10, before=25)) == [10, 15, 20]
    assert offsets(history.events(SHOP, HERE, before=30)) == [9]
    assert offsets(history.events(ACME, OTHER, before=30)) == [5]
    assert offsets(history.events(ACME, HERE, first=10, before=10)) == []


def test_events_with_other_names_and_older_events_are_skipped(
    history: ActivityHistory, archive: ActivityArchive, bucket: Bucket
) -> None:
    noon_us = int(NOON.timestamp()) * 1_000_000
    archive.append(
        EVENTS,
        [
            bucket.write(0, 10, [event(1), event(2, event="view", occurred_at=later(1)), event(3, event="gone")]),
            bucket.write(10, 20, [event(11, occurred_at=later(-60)), event(12, occurred_at=later(-0.000001))]),
            bucket.write(20, 30, [event(21, occurred_at=later(0.000001))]),
        ],
    )
    assert offsets(history.events(ACME, HERE, before=30, names=["view", "order"])) == [1, 2, 11, 12, 21]
    assert offsets(history.events(ACME, HERE, before=30, since_us=noon_us)) == [2, 21]
    assert offsets(history.events(ACME, HERE, before=30, since_us=noon_us - 1)) == [1, 2, 3, 21]
    assert offsets(history.events(ACME, HERE, before=30, names=["order"], since_us=noon_us)) == [21]
    assert offsets(history.events(ACME, HERE, before=30, names=[])) == []


def test_files_with_only_older_events_are_not_read(
    history: ActivityHistory, archive: ActivityArchive, bucket: Bucket
) -> None:
    old = bucket.write(0, 10, [event(1, occurred_at=later(-60))])
    archive.append(EVENTS, [old, bucket.write(10, 20, [event(11)])])
    delete_objects(bucket.s3.client(), bucket.name, [split_s3_uri(uri)[1] for uri in old.files])
    assert offsets(history.events(ACME, HERE, before=20, since_us=int(NOON.timestamp() - 60) * 1_000_000)) == [11]
    with pytest.raises(FatalError, match="LAKE_FILE_MISSING"):
        list(history.events(ACME, HERE, before=20))


def test_profiles_are_read_in_order_of_application(
    history: ActivityHistory, archive: ActivityArchive, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a chunk, which is one record, spans several batches."""
    monkeypatch.setattr(archive_reading, "BATCH_ROWS", 7)
    chunk = [change(3, f"u{n % 3}", ordinal=n, source="s", attributes=values({"n": float(n)})) for n in range(50)]
    written = [
        [change(1, attributes=values({"plan": "pro", "since": NOON, "born": NOON.date()})), *chunk],
        [change(60, deleted=True), change(61, attributes=values({"plan": None}))],
        [change(70)],
    ]
    ranges = [
        bucket.write(first, end, rows, topic=PROFILES)
        for first, end, rows in zip([0, 60, 70], [60, 70, 80], written, strict=True)
    ]
    archive.append(PROFILES, ranges)
    expected = pa.RecordBatch.from_pylist([row for rows in written for row in rows], schema=PROFILE_ROWS).to_pylist()
    assert rows_of(history.profiles(ACME, HERE, before=80), PROFILE_ROWS) == expected
    assert rows_of(history.profiles(ACME, HERE, first=3, before=61), PROFILE_ROWS) == expected[1:52]


def test_known_users_have_events_or_profiles_below_the_offsets(
    history: ActivityHistory, archive: ActivityArchive, bucket: Bucket
) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1), event(2), event(3, "bob"), event(4, "eve", tenant=SHOP)])])
    archive.append(PROFILES, [bucket.write(0, 10, [change(1, "carl"), change(2, "dora")], topic=PROFILES)])
    assert names(history.known_users(ACME, HERE, events=10, profiles=10)) == ["alice", "bob", "carl", "dora"]
    assert names(history.known_users(ACME, HERE, events=3, profiles=2)) == ["alice", "carl"]
    assert names(history.known_users(SHOP, HERE, events=10, profiles=10)) == ["eve"]


def test_history_outage_is_reported_as_an_outage(
    archive: ActivityArchive, bucket: Bucket, store: IcebergVersionStore
) -> None:
    archive.append(EVENTS, [bucket.write(0, 10, [event(1)])])
    nowhere = replace(bucket.s3, endpoint="http://127.0.0.1:1", timeout_s=1.0)
    history = ActivityHistory(archive=archive, versions=store, find_audience=unknown, s3=nowhere)
    with pytest.raises(RetriableError, match="LAKE_UNAVAILABLE"):
        list(history.events(ACME, HERE, before=10))


# Members of versions.


def members_of(
    store: IcebergVersionStore, archive: ActivityArchive, s3: S3Access, ref: AudienceRef, version: int, partitions: int
) -> list[list[str]]:
    def find(tenant: TenantName, name: AudienceName) -> AudienceRef:
        return ref if (tenant, name) == (ref.tenant, ref.audience) else unknown()

    history = ActivityHistory(archive=archive, versions=store, find_audience=find, s3=s3)
    return [
        names(history.members(ref.tenant, ref.audience, Version(version), Partition(p), partitions))
        for p in range(partitions)
    ]


def expected_members(partitions: int) -> list[list[str]]:
    return [sorted(n for n in NAMES if partition_of(n, partitions) == p) for p in range(partitions)]


@pytest.mark.parametrize("cut_into", [PARTITIONS, 2], ids=["as it is asked for", "otherwise"])
def test_members_of_a_partition_are_found_in_any_layout(
    store: IcebergVersionStore, archive: ActivityArchive, s3: S3Access, cut_into: int
) -> None:
    ref = audience()
    import_request = request(ref, (), "0")
    parts = Parts(s3).write(ref, import_request.import_id, users(*NAMES), partitions=cut_into)
    store.publish(replace(import_request, parts=parts, partitions=cut_into))
    assert members_of(store, archive, s3, ref, 1, PARTITIONS) == expected_members(PARTITIONS)


def test_members_of_a_compacted_version_are_found_in_files_of_all_partitions(
    store: IcebergVersionStore, archive: ActivityArchive, s3: S3Access
) -> None:
    ref = audience()
    import_request = request(ref, (), "0")
    parts = Parts(s3).write(ref, import_request.import_id, users(*NAMES), partitions=PARTITIONS)
    store.publish(replace(import_request, parts=parts, partitions=PARTITIONS))
    store.compact(ref, operation_id=request(ref, (), "1").import_id, at=NOON, target_bytes=2**20)
    assert members_of(store, archive, s3, ref, 2, PARTITIONS) == expected_members(PARTITIONS)


def test_missing_version_or_audience_has_no_members(
    store: IcebergVersionStore, archive: ActivityArchive, s3: S3Access
) -> None:
    ref = audience()
    assert members_of(store, archive, s3, ref, 1, PARTITIONS) == [[]] * PARTITIONS  # nothing was published
    import_request = request(ref, (), "0")
    store.publish(replace(import_request, parts=Parts(s3).write(ref, import_request.import_id, users(*NAMES))))
    assert members_of(store, archive, s3, ref, 2, PARTITIONS) == [[]] * PARTITIONS
    history = ActivityHistory(archive=archive, versions=store, find_audience=unknown, s3=s3)
    assert list(history.members(ref.tenant, ref.audience, Version(1), HERE, PARTITIONS)) == []


def test_audience_deleted_during_a_read_can_be_requested_again(
    store: IcebergVersionStore, archive: ActivityArchive, s3: S3Access
) -> None:
    ref = audience()
    import_request = request(ref, (), "0")
    store.publish(replace(import_request, parts=Parts(s3).write(ref, import_request.import_id, users(*NAMES))))
    history = ActivityHistory(archive=archive, versions=store, find_audience=lambda *_: ref, s3=s3)
    reading = history.members(ref.tenant, ref.audience, Version(1), OTHER, PARTITIONS)
    next(reading)
    store.drop(ref)
    with pytest.raises(RetriableError, match="was removed while it was being read"):
        list(reading)
    assert list(history.members(ref.tenant, ref.audience, Version(1), OTHER, PARTITIONS)) == []


def test_missing_file_of_an_existing_version_is_a_fault(
    store: IcebergVersionStore, archive: ActivityArchive, s3: S3Access
) -> None:
    ref = audience()
    import_request = request(ref, (), "0")
    parts = Parts(s3).write(ref, import_request.import_id, users(*NAMES))
    store.publish(replace(import_request, parts=parts))
    bucket, key = split_s3_uri(parts[0].uri)
    s3.client().delete_object(Bucket=bucket, Key=key)
    with pytest.raises(FatalError, match="LAKE_FILE_MISSING"):
        members_of(store, archive, s3, ref, 1, PARTITIONS)
