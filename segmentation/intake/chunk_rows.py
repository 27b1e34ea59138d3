"""Checks the rows of a chunk of events or profiles by the same rules as single records.

One bad row refuses its chunk, since the sender of a chunk has checked the rows before. So nearly all chunks are valid,
and several are checked at a time; each is checked alone only if something is wrong with one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.activity import MAX_PROPERTIES, OFFSET, SOURCE_MAX_CHARACTERS
from schemas.activity_columns import columns_fault
from schemas.arrow import arrow_schema, schema_of
from schemas.columns import ORDINAL, USER_ID, ImportKind, RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.messages import EventChunk, ProfileChunk
from schemas.partitioning import partitions_of
from schemas.row_digest import row_hashes
from schemas.rows import chunk_fault, decode_rows
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.row_faults import row_faults
from segmentation.intake.texts import check_text
from segmentation.intake.topic_records import TopicRecord
from segmentation.intake.values import check_tenant

C = TypeVar("C", EventChunk, ProfileChunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRows(Generic[C]):
    """The rows of some chunks, concatenated, and the number of rows in each.

    Columns: _ordinal, user_id, [event, occurred_at, possibly event_id,] and one for each value.
    """

    chunks: Sequence[tuple[TopicRecord, C]]
    counts: npt.NDArray[np.int64]
    rows: pa.RecordBatch


def rows_of_chunks(
    chunks: Sequence[tuple[TopicRecord, C]], partitions: int
) -> Iterator[ChunkRows[C] | tuple[TopicRecord, Refused]]:
    """Groups of valid chunks with all their rows, and refused chunks, in order of arrival."""
    decoded: list[tuple[TopicRecord, C, pa.RecordBatch | Refused]] = []
    for record, chunk in chunks:
        try:
            decoded.append((record, chunk, _decoded(chunk, record)))
        except Refused as refused:
            decoded.append((record, chunk, refused))
    for schema, consecutive in groupby(decoded, key=lambda one: None if isinstance(one[2], Refused) else one[2].schema):
        group = list(consecutive)
        combined = None if schema is None else _combined([(r, c) for r, c, _ in group], [b for *_, b in group])
        if combined is not None and _are_valid(combined, partitions):
            yield combined
            continue
        for record, chunk, batch in group:
            try:
                if isinstance(batch, Refused):
                    raise batch
                _check(chunk, record, batch, partitions)
                yield _combined([(record, chunk)], [batch])
            except Refused as refused:
                yield record, refused


def _combined(chunks: Sequence[tuple[TopicRecord, C]], batches: Sequence[pa.RecordBatch]) -> ChunkRows[C]:
    counts = np.array([batch.num_rows for batch in batches])
    return ChunkRows(chunks=chunks, counts=counts, rows=pa.concat_batches(batches))


def _are_valid(combined: ChunkRows[C], partitions: int) -> bool:
    """True if `_check` would find no fault in any of the chunks. May be False for valid ones."""
    rows, kind = combined.rows, _kind(combined.chunks[0][1])
    try:
        schema = schema_of(rows.schema)
    except (ValueError, UserError):
        return False
    received_at_us = np.repeat([record.received_at_us for record, _ in combined.chunks], combined.counts)
    return (
        rows.schema.equals(arrow_schema(schema, ordinal=True))
        and _schema_fault(kind, schema) is None
        and _match_declared_sums(combined, schema)
        and not row_faults(kind, [(name, rows.column(name)) for name in schema.names], received_at_us)
        and _in_right_partition(combined, partitions)
    )


def _match_declared_sums(combined: ChunkRows[C], schema: RowSchema) -> bool:
    """Check counts, digests, and that ordinals ascend in each chunk."""
    counts, ordinals = combined.counts, combined.rows.column(ORDINAL)
    if not counts.all() or ordinals.null_count:
        return False
    starts = np.cumsum(counts) - counts
    sums = [np.add.reduceat(hashes, starts).tolist() for hashes in row_hashes(combined.rows, schema)]
    for (_, chunk), count, sum0, sum1 in zip(combined.chunks, counts.tolist(), *sums, strict=True):
        digest = Digest(schema_id=schema.schema_id, count=count, sum0=sum0, sum1=sum1)
        if chunk.count != count or chunk.digest != digest:
            return False
    rises = np.diff(ordinals.to_numpy()) > 0
    rises[starts[1:] - 1] = True  # from one chunk to the next
    return bool(rises.all())


def _in_right_partition(combined: ChunkRows[C], partitions: int) -> bool:
    partition_of, _ = partitions_of(combined.rows.column(USER_ID), partitions)
    here = np.repeat([record.partition for record, _ in combined.chunks], combined.counts)
    return bool((partition_of == here).all())


def _check(chunk: EventChunk | ProfileChunk, record: TopicRecord, batch: pa.RecordBatch, partitions: int) -> None:
    """Check one chunk. Raises `Refused`."""
    try:
        schema = schema_of(batch.schema)
        fault = chunk_fault(chunk, batch, schema)
    except (pa.ArrowException, ValueError, UserError) as exc:
        raise _broken(exc) from exc
    if fault is not None:
        raise Refused(RefusalCode.BROKEN_CHUNK, fault)
    kind = _kind(chunk)
    if (refused := _schema_fault(kind, schema)) is not None:
        raise refused
    ordinals = batch.column(ORDINAL)
    if ordinals.null_count or (np.diff(ordinals.to_numpy()) <= 0).any():
        raise Refused(RefusalCode.BROKEN_CHUNK, f"{ORDINAL} does not increase from row to row")
    columns = [(name, batch.column(name)) for name in schema.names]
    if faults := row_faults(kind, columns, record.received_at_us):
        row = min(faults)
        raise _in_row(batch, row, faults[row][1])
    partition_of, _ = partitions_of(batch.column(USER_ID), partitions)
    for row in np.flatnonzero(partition_of != record.partition)[:1].tolist():
        reason = f"the user belongs to partition {partition_of[row]}"
        raise _in_row(batch, row, Refused(RefusalCode.WRONG_PARTITION, reason))


def _schema_fault(kind: ImportKind, schema: RowSchema) -> Refused | None:
    if fault := columns_fault(kind, schema.columns):
        return Refused(RefusalCode.BROKEN_CHUNK, fault)
    if len(schema.columns) > MAX_PROPERTIES:
        reason = f"{len(schema.columns)} columns; at most {MAX_PROPERTIES} are allowed"
        return Refused(RefusalCode.TOO_MANY_PROPERTIES, reason)
    return None


def _decoded(chunk: EventChunk | ProfileChunk, record: TopicRecord) -> pa.RecordBatch:
    if chunk.partition != record.partition:
        raise Refused(
            RefusalCode.WRONG_PARTITION, f"a chunk for partition {chunk.partition} in partition {record.partition}"
        )
    check_tenant(chunk.tenant)
    check_text(chunk.source, RefusalCode.BROKEN_CHUNK, "the source", SOURCE_MAX_CHARACTERS)
    try:
        return decode_rows(chunk.rows)
    except (pa.ArrowException, StopIteration, OSError, ValueError) as exc:
        raise _broken(exc) from exc


def _broken(exc: Exception) -> Refused:
    return Refused(RefusalCode.BROKEN_CHUNK, f"{type(exc).__name__}: {exc}"[:500])


def _kind(chunk: EventChunk | ProfileChunk) -> ImportKind:
    return "events" if isinstance(chunk, EventChunk) else "profiles"


def _in_row(batch: pa.RecordBatch, row: int, refused: Refused) -> Refused:
    return Refused(refused.code, f"row {batch.column(ORDINAL)[row].as_py()}: {refused.reason}")


def repeated(values: Sequence[str], counts: npt.NDArray[np.int64]) -> pa.StringArray:
    """Each value repeated by its count."""
    if len(set(values)) == 1:
        return pa.repeat(pa.scalar(values[0], pa.string()), int(counts.sum()))
    return pa.array(values, pa.string()).take(pa.array(np.repeat(np.arange(len(values)), counts)))


def joined(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """All rows as one batch; copied only if there are several."""
    if len(batches) == 1:
        return batches[0]
    return pa.concat_batches(batches or [pa.RecordBatch.from_pylist([], schema=schema)])


def by_offset(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """All rows as one batch, ascending by offset; the rows of one record keep their order."""
    rows = joined(batches, schema)
    offsets = rows.column(OFFSET).to_numpy()
    if (offsets[1:] >= offsets[:-1]).all():
        return rows
    return rows.take(pa.array(np.argsort(offsets, kind="stable")))
