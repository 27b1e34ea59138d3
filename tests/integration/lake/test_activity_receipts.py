"""What the archive says of an imported file of events or profiles."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from connectors.lake.activity_receipts import ActivityReceipts, StoredRows
from connectors.lake.archive import ActivityArchive
from connectors.storage.listing import delete_objects
from schemas.errors import FatalError
from schemas.ids import Partition, TenantName
from schemas.layout import split_s3_uri
from schemas.topics import EVENTS, PROFILES
from tests.examples import examples
from tests.integration.lake.archiving import ACME, HERE, Bucket, change, event, later
from tests.integration.lake.support import limits

OTHER = Partition(0)
FILE = "s3://in/it's.csv?versionId=1"


@pytest.fixture
def receipts(archive: ActivityArchive, bucket: Bucket, tmp_path: Path) -> ActivityReceipts:
    return ActivityReceipts(archive=archive, s3=bucket.s3, limits=limits(tmp_path))


def row(offset: int, ordinal: int, event_id: str | None = None, source: str = FILE, **given: Any) -> dict[str, Any]:
    """A row of a file: its identity is its event id, or else its position in the file."""
    identity = hash(event_id) if event_id else hash((source, ordinal))
    return event(offset, source=source, ordinal=ordinal, event_id=event_id, identity=identity, **given)


def stored(receipts: ActivityReceipts, topic: str = EVENTS, **since: int) -> Mapping[Partition, StoredRows]:
    return receipts.stored(topic, ACME, (FILE,), since={HERE: since.get("since", 0)})


def counts(rows: int, ordinals: int, new: int) -> StoredRows:
    return StoredRows(rows=rows, ordinals=ordinals, new=new)


def test_unsent_source_has_no_rows(receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket) -> None:
    assert stored(receipts) == {}
    archive.append(EVENTS, [bucket.write(0, 10, [event(1), row(2, 0, source="s3://in/another.csv")])])
    assert stored(receipts) == {}


def test_rows_are_counted_in_each_partition_of_the_tenant(
    receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket
) -> None:
    archive.append(
        EVENTS,
        [
            bucket.write(0, 10, [row(1, 0), row(1, 3), event(2), row(3, 9, tenant=TenantName("shop"))]),
            bucket.write(10, 20, [row(11, 5)]),
            bucket.write(0, 10, [row(4, 1)], partition=OTHER),
        ],
    )
    assert stored(receipts) == {HERE: counts(3, 3, 3), OTHER: counts(1, 1, 1)}


def test_rows_resent_by_an_attempt_count_once(
    receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket
) -> None:
    archive.append(EVENTS, [bucket.write(0, 9, [row(1, 0), row(1, 1)]), bucket.write(9, 19, [row(10, 0), row(10, 2)])])
    assert stored(receipts) == {HERE: counts(4, 3, 3)}


def test_event_is_new_if_its_first_record_has_the_source(
    receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket
) -> None:
    single = event(1, event_id="a", identity=hash("a"))
    ranges = [
        bucket.write(0, 10, [single, row(2, 7, "b", source="s3://in/older.csv")]),
        bucket.write(10, 20, [row(11, 0, "a"), row(11, 1, "b"), row(11, 2, "c"), row(11, 3, "c"), row(11, 4)]),
        bucket.write(
            20, 30, [row(21, 7, "c", source="s3://in/newer.csv"), event(22, event_id="c", identity=hash("c"))]
        ),
    ]
    archive.append(EVENTS, ranges)
    assert stored(receipts) == {HERE: counts(5, 5, 2)}


def test_events_differing_in_user_name_or_time_are_distinct(
    receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket
) -> None:
    def single(offset: int, user: str = "alice", **given: Any) -> dict[str, Any]:
        return event(offset, user, event_id="a", identity=hash("a"), **given)

    near = [single(1, "bob"), single(2, event="view"), single(3, occurred_at=later(0.000001))]
    archive.append(EVENTS, [bucket.write(0, 10, near), bucket.write(10, 20, [row(11, 0, "a")])])
    assert stored(receipts) == {HERE: counts(1, 1, 1)}


@pytest.mark.parametrize("ids", [["a", "b"], [None, None]], ids=["with ids", "without ids"])
def test_resent_source_adds_nothing_new(
    receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket, ids: Sequence[str | None]
) -> None:
    first = bucket.write(0, 10, [row(1, 0, ids[0])])
    archive.append(EVENTS, [first, bucket.write(10, 20, [row(11, 0, ids[0]), row(11, 1, ids[1])])])
    assert stored(receipts) == {HERE: counts(3, 2, 2)}
    assert stored(receipts, since=10) == {HERE: counts(2, 2, 1)}
    assert stored(receipts, since=12) == {}
    assert stored(receipts, since=20) == {}


def test_changes_of_profiles_are_all_new(receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket) -> None:
    rows = [
        change(1, source=FILE, ordinal=0),
        change(1, source=FILE, ordinal=1),
        change(2),
        change(3, source=FILE, ordinal=1),
    ]
    archive.append(PROFILES, [bucket.write(0, 10, rows, topic=PROFILES)])
    assert stored(receipts, PROFILES) == {HERE: counts(3, 2, 2)}


def test_missing_file_is_named(receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket) -> None:
    written = bucket.write(0, 10, [row(1, 0)])
    archive.append(EVENTS, [written])
    delete_objects(bucket.s3.client(), bucket.name, [split_s3_uri(uri)[1] for uri in written.files])
    with pytest.raises(FatalError, match="LAKE_FILE_MISSING"):
        stored(receipts)


Row = tuple[int, int, str | None, int]
"""Source (0: ours, 2: a single record), ordinal, event id, user."""


@examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from(["a", "b", None]), st.integers(0, 1)),
        max_size=12,
    ),
    cut=st.integers(0, 12),
    since=st.integers(0, 12),
)
def test_counts_match_an_in_memory_reader(
    receipts: ActivityReceipts, archive: ActivityArchive, bucket: Bucket, rows: Iterable[Row], cut: int, since: int
) -> None:
    start = archive.archived_to(EVENTS).get(HERE, 0)
    tenant = TenantName(f"t{start}")
    written, seen, mine, new = [], set(), [], 0
    for offset, (source, ordinal, event_id, user) in enumerate(rows, start):
        ours = source == 0 and offset >= start + since
        name = [FILE, "s3://in/another.csv", None][source]
        identity = hash(event_id or (name, ordinal if source < 2 else offset))
        of_row = {
            "event_id": event_id,
            "identity": identity,
            "source": name,
            "ordinal": ordinal if source < 2 else None,
        }
        written.append(event(offset, f"u{user}", tenant=tenant, **of_row))
        new += ours and (user, identity) not in seen
        seen.add((user, identity))
        mine += [ordinal] if ours else []
    ranges = [
        bucket.write(first, end, [r for r in written if first <= r["offset"] < end])
        for first, end in ((start, start + cut), (start + cut, start + 13))
        if first < end
    ]
    archive.append(EVENTS, ranges)
    found = receipts.stored(EVENTS, tenant, (FILE,), since={HERE: start + since})
    assert found == ({HERE: counts(len(mine), len(set(mine)), new)} if mine else {})
