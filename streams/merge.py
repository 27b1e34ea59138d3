"""Merges staged rows of one partition: sorted by user_id (bytes), one per user, the one with the highest ordinal.

Three ways to sort, chosen by size and equal in result: in memory; range by range from disk (`streams.ranges`); and with
DuckDB, which spills, if a range has little more than one id. All feed the same `_last_of_each_user`, which drops all
but the last row of a user from sorted rows. Rows are counted and hashed as they are written or dropped: a merge proves
that it did one or the other with each row that the end marker promised.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.storage.duck import DuckLimits, connect
from schemas.arrow import arrow_schema
from schemas.columns import ORDINAL, USER_ID, RowSchema
from schemas.digest import Digest
from schemas.row_digest import digest_rows
from segmentation.sorting import sort_strings
from streams.ranges import sorted_in_ranges

ROWS_AT_ONCE: Final = 64 * 1024
ROW_GROUP_ROWS: Final = 128 * 1024
IN_MEMORY_BYTES: Final = 16 * 1024 * 1024
"""More rows are sorted on disk, range by range, which takes about as long and needs less memory."""
IN_MEMORY_FACTOR: Final = 3
"""Memory of an in-memory merge as a multiple of its rows: the rows, the sorted rows, indices and the encoded part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedPart:
    """A part written to `path`. `kept` is the digest of the written rows, `read` that of these and the dropped ones."""

    path: Path
    size: int
    content_hash: str
    read: Digest
    kept: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class SpillingSort:
    """How to sort rows on disk: their approximate size in bytes, and what DuckDB may use if it is needed.

    Memory and temp space are in bytes.
    """

    rows_bytes: int
    memory_bytes: int
    temp_bytes: int
    threads: int


def merge_rows(
    tables: Iterable[pa.Table], schema: RowSchema, folder: Path, *, spilling: SpillingSort | None
) -> MergedPart | None:
    """Sort and deduplicate rows ([_ordinal, user_id, columns...]) into a Parquet file in `folder`. None without rows.

    `spilling=None` sorts in memory.
    """
    rows = _sorted_in_memory(tables) if spilling is None else _sorted_on_disk(tables, schema, folder, spilling)
    path = folder / "part.parquet"
    kept, dropped = _Digester(schema), _Digester(schema)
    written = map(kept.count, (t.select(list(schema.names)) for t in _last_of_each_user(rows, dropped.count)))
    with pq.ParquetWriter(path, arrow_schema(schema), **_writer_options(schema)) as writer:
        for table in _in_row_groups(written):
            writer.write_table(table.cast(arrow_schema(schema)), row_group_size=ROW_GROUP_ROWS)
    if kept.digest.count == 0:
        return None
    return MergedPart(
        path=path,
        size=path.stat().st_size,
        content_hash=_file_hash(path),
        read=kept.digest + dropped.digest,
        kept=kept.digest,
    )


class _Digester:
    """Adds up the digest of tables."""

    def __init__(self, schema: RowSchema) -> None:
        self._schema = schema
        self.digest = Digest(schema_id=schema.schema_id)

    def count(self, table: pa.Table) -> pa.Table:
        """Count the rows of a table, and return it."""
        self.digest += digest_rows(table, self._schema)
        return table


def _sorted_in_memory(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    parts = list(tables)
    if not parts:
        return
    table = pa.concat_tables(parts).combine_chunks()
    parts.clear()
    ordinals = table.column(ORDINAL).to_numpy()
    order = pa.array(sort_strings(table.column(USER_ID).combine_chunks(), ordinals))
    table = table.drop_columns(ORDINAL)
    for start in range(0, table.num_rows, ROWS_AT_ONCE):
        yield table.take(order.slice(start, ROWS_AT_ONCE)).combine_chunks()


def _sorted_on_disk(
    tables: Iterable[pa.Table], schema: RowSchema, folder: Path, spilling: SpillingSort
) -> Iterator[pa.Table]:
    ranges = folder / "ranges"
    ranges.mkdir()
    return sorted_in_ranges(
        tables,
        spilling.rows_bytes,
        ranges,
        sort_in_memory=_sorted_in_memory,
        sort_unsplittable=lambda rows: _sorted_by_duckdb(rows, schema, folder, spilling),
    )


def _sorted_by_duckdb(
    tables: Iterable[pa.Table], schema: RowSchema, folder: Path, spilling: SpillingSort
) -> Iterator[pa.Table]:
    spill = Path(tempfile.mkdtemp(prefix="sort-", dir=folder))
    limits = DuckLimits(
        memory_bytes=spilling.memory_bytes,
        threads=spilling.threads,
        temp_directory=spill,
        temp_bytes=spilling.temp_bytes,
    )
    with connect(limits) as connection:
        batches = (batch for table in tables for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE))
        reader = pa.RecordBatchReader.from_batches(arrow_schema(schema, ordinal=True), batches)
        connection.register("staged", reader)
        # VARCHAR compares by its UTF-8 bytes, as Arrow does.
        result = connection.execute(f"SELECT * FROM staged ORDER BY {USER_ID}, {ORDINAL}")  # noqa: S608  # constants
        for batch in result.to_arrow_reader(ROWS_AT_ONCE):
            yield pa.Table.from_batches([batch])


def _last_of_each_user(tables: Iterable[pa.Table], drop: Callable[[pa.Table], object]) -> Iterator[pa.Table]:
    """Rows sorted by (user_id, _ordinal) -> the last of each user; the others are passed to `drop`.

    The last row of a table waits for the next table.
    """
    pending: pa.Table | None = None
    for table in tables:
        if table.num_rows == 0:
            continue
        ids = table.column(USER_ID)
        if pending is not None:
            if pending.column(USER_ID)[0].as_py() == ids[0].as_py():
                drop(pending)
            else:
                yield pending
        is_last = pc.not_equal(ids.slice(1), ids.slice(0, table.num_rows - 1))
        others = table.slice(0, table.num_rows - 1)
        if pc.all(is_last).as_py():
            yield others
        else:  # filtering copies every row
            drop(others.filter(pc.invert(is_last)))
            yield others.filter(is_last)
        pending = table.slice(table.num_rows - 1)
    if pending is not None:
        yield pending


def _in_row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= ROW_GROUP_ROWS:
            combined = pa.concat_tables(waiting)
            full = rows - rows % ROW_GROUP_ROWS
            yield combined.slice(0, full)
            waiting, rows = [combined.slice(full)], rows - full
    if rows:
        yield pa.concat_tables(waiting)


def _writer_options(schema: RowSchema) -> dict[str, object]:
    return {
        "compression": "zstd",
        "compression_level": 1,  # level 3 takes twice as long for a few per cent
        "use_dictionary": [c.name for c in schema.columns],  # ids are distinct: a dictionary would only cost
        "write_statistics": True,
    }


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:32]
