import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.activity import EVENT_ROWS, PROFILE_ROWS
from schemas.ids import Partition
from schemas.segment_messages import ArchiveWritten
from schemas.topics import EVENTS, PROFILES
from segmentation.archiving import ARCHIVE_SCHEMAS, ArchiveFile, Verdict, archive_files, verdict
from tests.unit.segmentation.intake.sending import NOON

HERE = Partition(3)


def event(tenant: str, offset: int, **given: Any) -> dict[str, Any]:
    row = {"tenant": tenant, "user_id": "alice", "event": "order", "occurred_at": NOON, "identity": offset}
    return {**row, "properties": [], "offset": offset, "received_at": NOON, **given}


def written(*rows: dict[str, Any], first: int = 0, end: int = 10) -> list[ArchiveFile]:
    table = pa.Table.from_pylist(list(rows), schema=EVENT_ROWS)
    return list(archive_files(EVENTS, HERE, table, first_offset=first, end_offset=end))


def rows_of(file: ArchiveFile) -> pa.Table:
    return pq.read_table(io.BytesIO(file.content))


def test_each_tenant_gets_its_own_ordered_file() -> None:
    acme, shop = written(event("acme", 1), event("shop", 2), event("acme", 4))
    assert (acme.key.tenant, rows_of(acme).column("offset").to_pylist()) == ("acme", [1, 4])
    assert (shop.key.tenant, rows_of(shop).column("offset").to_pylist()) == ("shop", [2])


def test_a_range_without_rows_has_no_files() -> None:
    assert written() == []


def test_archive_file_holds_every_field_and_the_partition() -> None:
    row = event("acme", 1, properties=[("a'\"b", {"double": None, "string": "日本", "boolean": None})], ordinal=7)
    [file] = written(row)
    read = rows_of(file)
    assert read.drop_columns(["partition"]).to_pylist() == pa.Table.from_pylist([row], EVENT_ROWS).to_pylist()
    assert read.column("partition").to_pylist() == [3]
    assert read.schema.names == ARCHIVE_SCHEMAS[EVENTS].names


def test_profile_changes_are_archived() -> None:
    row = {"tenant": "acme", "user_id": "alice", "deleted": True, "attributes": [], "offset": 1, "received_at": NOON}
    table = pa.Table.from_pylist([row], schema=PROFILE_ROWS)
    [file] = archive_files(PROFILES, HERE, table, first_offset=0, end_offset=2)
    assert str(file.key).startswith("activity/profiles/data/acme/00003/")
    assert rows_of(file).column("deleted").to_pylist() == [True]


def test_equal_rows_make_equal_files() -> None:
    assert written(event("acme", 1)) == written(event("acme", 1))
    names = {str(file.key) for file in (*written(event("acme", 1)), *written(event("acme", 1, user_id="bob")))}
    assert len(names) == 2


def test_archive_field_ids_never_change() -> None:
    """Existing tables identify their columns by these numbers: a new column takes the next one, at the end."""
    [file] = written(event("acme", 1))
    columns = pq.ParquetFile(io.BytesIO(file.content)).schema_arrow
    assert [int(field.metadata[b"PARQUET:field_id"]) for field in columns] == [*range(1, 13)]
    of_map = [columns.field("properties").type.key_field, columns.field("properties").type.item_field]
    assert [int(field.metadata[b"PARQUET:field_id"]) for field in of_map] == [13, 14]
    assert [int(field.metadata[b"PARQUET:field_id"]) for field in of_map[1].type] == [15, 16, 17]
    numbers = [int(field.metadata[b"PARQUET:field_id"]) for field in ARCHIVE_SCHEMAS[PROFILES]]
    assert numbers == [*range(1, 10)]


@pytest.mark.parametrize(
    ("first", "end", "archived_to", "becomes"),
    [
        (0, 10, None, Verdict.APPEND),
        (7, 10, None, Verdict.APPEND),  # earlier records are lost
        (10, 20, 10, Verdict.APPEND),
        (0, 10, 10, Verdict.KNOWN),
        (3, 9, 10, Verdict.KNOWN),
        (9, 20, 10, Verdict.REFUSED),  # overlaps
        (11, 20, 10, Verdict.REFUSED),  # leaves a gap
    ],
)
def test_range_is_appended_at_the_end_of_the_table(
    first: int, end: int, archived_to: int | None, becomes: Verdict
) -> None:
    range_ = ArchiveWritten(topic=EVENTS, partition=HERE, first_offset=first, end_offset=end, files=())
    assert verdict(range_, archived_to) is becomes
