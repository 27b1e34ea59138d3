"""Turns rows of events and profiles into archive files, and decides whether a range of offsets enters the table.

A worker writes the files of a range and announces them; the archive's one committer adds ranges to the table, in order
and each once.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.activity import (
    ARCHIVE_PARTITION,
    ATTRIBUTES,
    EVENT_ROWS,
    OFFSET,
    PROFILE_ROWS,
    PROPERTIES,
    RECEIVED_AT,
    SOURCE,
    SOURCE_ORDINAL,
    TENANT,
)
from schemas.activity_columns import EVENT, OCCURRED_AT
from schemas.columns import USER_ID
from schemas.ids import Partition
from schemas.layout import ArchiveKey
from schemas.segment_messages import ArchiveWritten
from schemas.topics import EVENTS, PROFILES
from segmentation.intake.tenants import by_tenant

FIELD_ID: Final = b"PARQUET:field_id"
"""Arrow writes Iceberg's field ids into Parquet files through this metadata."""
ZSTD_LEVEL: Final = 1
DICTIONARY_COLUMNS: Final = (
    TENANT,
    EVENT,
    OFFSET,
    RECEIVED_AT,
    SOURCE,
    ARCHIVE_PARTITION,
    *(f"{maps}.key_value.{leaf}" for maps in (PROPERTIES, ATTRIBUTES) for leaf in ("key", "value.string")),
)
"""Dictionary-encoded columns. For users, ids and times Arrow would build and drop one: a third of the time."""
DICTIONARY_COLUMNS_IN_LARGE: Final[Mapping[str, Sequence[str]]] = {
    EVENTS: (*DICTIONARY_COLUMNS, USER_ID),
    PROFILES: DICTIONARY_COLUMNS,
}
"""The same for files with many rows, where most events belong to users with earlier ones."""
DELTA_COLUMNS: Final = (OCCURRED_AT, SOURCE_ORDINAL)
"""Columns whose values differ little from row to row."""
ROW_GROUP_ROWS: Final = 131_072
DICTIONARY_BYTES: Final = 8 * 1024 * 1024
"""Per column in a row group: some 200,000 users. Arrow's own limit is 1 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFile:
    """One file, stored under an unused key of the lake bucket (a used key holds the same bytes)."""

    key: ArchiveKey
    content: bytes


def archive_files(
    topic: str, partition: Partition, rows: pa.Table, *, first_offset: int, end_offset: int
) -> Iterator[ArchiveFile]:
    """One file per tenant in `rows` (`EVENT_ROWS` or `PROFILE_ROWS`, all of these offsets); no rows, no files."""
    for tenant, of_tenant in by_tenant(rows):
        content = archive_content(topic, partition, of_tenant)
        key = ArchiveKey(
            topic=topic,
            tenant=tenant,
            partition=partition,
            first_offset=first_offset,
            end_offset=end_offset,
            content_hash=hashlib.sha256(content).hexdigest()[:32],
        )
        yield ArchiveFile(key=key, content=content)


def archive_content(topic: str, partition: Partition, rows: pa.Table) -> bytes:
    """Rows of one tenant as zstd Parquet with `ARCHIVE_SCHEMAS`; equal batches give equal bytes."""
    partitions = pa.array(np.full(rows.num_rows, partition, np.int32))
    table = rows.append_column(ARCHIVE_PARTITION, partitions).cast(ARCHIVE_SCHEMAS[topic])
    sink = pa.BufferOutputStream()
    with archive_writer(sink, topic) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def archived_rows(topic: str, contents: Sequence[bytes]) -> pa.Table:
    """The rows of files made together by `archive_files`, in the order of their records."""
    tables = [pq.ParquetFile(pa.BufferReader(content)).read(columns=_ROWS[topic].names) for content in contents]
    rows = pa.concat_tables([table.cast(_ROWS[topic]) for table in tables])
    if len(contents) == 1:
        return rows
    return rows.take(pa.array(np.argsort(rows.column(OFFSET).to_numpy(), kind="stable")))


def archive_writer(where: pa.NativeFile | str, topic: str, *, large: bool = False) -> pq.ParquetWriter:
    """A writer of `ARCHIVE_SCHEMAS` batches in the archive's format. `large`: many rows, so that users repeat."""
    repeating = DICTIONARY_COLUMNS_IN_LARGE[topic] if large else DICTIONARY_COLUMNS
    return pq.ParquetWriter(
        where,
        ARCHIVE_SCHEMAS[topic],
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=[path for path in repeating if path.split(".")[0] in ARCHIVE_SCHEMAS[topic].names],
        dictionary_pagesize_limit=DICTIONARY_BYTES if large else None,
        column_encoding={name: "DELTA_BINARY_PACKED" for name in DELTA_COLUMNS if name in ARCHIVE_SCHEMAS[topic].names},
        store_schema=False,  # Iceberg's schema suffices, and footers of small files shrink by half
    )


class Verdict(Enum):
    """The decision on an announced range of a topic's table."""

    APPEND = "append"
    KNOWN = "known"  # a copy: the table has it
    REFUSED = "refused"  # it leaves a gap, or the table has a part of it: its worker writes new files


def verdict(written: ArchiveWritten, archived_to: int | None, log_epoch: int = 0) -> Verdict:
    """Decide by `archived_to`, below which the table has all records of the partition; None if it has no record yet.

    A range of another log epoch than the table's belongs to a log that no longer exists, whatever its
    positions.
    """
    if written.era != log_epoch:
        return Verdict.REFUSED
    if archived_to is not None and written.end_offset <= archived_to:
        return Verdict.KNOWN
    if archived_to is None or written.first_offset == archived_to:
        return Verdict.APPEND
    return Verdict.REFUSED


def _archive_schema(rows: pa.Schema) -> pa.Schema:
    numbers = itertools.count(1)
    return pa.schema(_numbered([*rows, pa.field(ARCHIVE_PARTITION, pa.int32(), nullable=False)], numbers))


def _numbered(fields: Sequence[pa.Field], numbers: Iterator[int]) -> list[pa.Field]:
    """Fields with ids, numbered as Iceberg does for a new table: all of one level, then the children of each."""
    given = [{FIELD_ID: str(next(numbers)).encode()} for _ in fields]
    return [
        pa.field(field.name, _numbered_type(field.type, numbers), nullable=field.nullable, metadata=metadata)
        for field, metadata in zip(fields, given, strict=True)
    ]


def _numbered_type(type_: pa.DataType, numbers: Iterator[int]) -> pa.DataType:
    if pa.types.is_map(type_):
        return pa.map_(*_numbered([type_.key_field, type_.item_field], numbers))
    return pa.struct(_numbered(list(type_), numbers)) if pa.types.is_struct(type_) else type_


_ROWS: Final[Mapping[str, pa.Schema]] = {EVENTS: EVENT_ROWS, PROFILES: PROFILE_ROWS}
ARCHIVE_SCHEMAS: Final[Mapping[str, pa.Schema]] = {topic: _archive_schema(rows) for topic, rows in _ROWS.items()}
"""Columns of the archive's files and tables, with Iceberg's field ids.

A new column goes to the end and takes the next free number."""
