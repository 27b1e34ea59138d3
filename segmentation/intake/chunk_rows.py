"""The rows of a chunk of events or profiles, held against everything that a single record is held against.

One bad row refuses its chunk: who sends chunks has checked the rows before.
"""

import numpy as np
import pyarrow as pa

from schemas.activity import MAX_PROPERTIES, SOURCE_MAX_CHARACTERS
from schemas.activity_columns import columns_fault
from schemas.arrow import schema_of
from schemas.columns import ORDINAL, USER_ID, ImportKind, RowSchema
from schemas.errors import UserError
from schemas.messages import EventChunk, ProfileChunk
from schemas.partitioning import partitions_of
from schemas.rows import chunk_fault, decode_rows
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.row_faults import row_faults
from segmentation.intake.topic_record import TopicRecord
from segmentation.intake.values import check_tenant, check_text


def rows_of_chunk(chunk: EventChunk | ProfileChunk, record: TopicRecord, partitions: int) -> pa.RecordBatch:
    """The rows: _ordinal, user_id, [event, occurred_at, perhaps event_id,] and a column for each value.

    Raises `Refused`.
    """
    if chunk.partition != record.partition:
        raise Refused(
            RefusalCode.WRONG_PARTITION, f"a chunk for partition {chunk.partition} in partition {record.partition}"
        )
    check_tenant(chunk.tenant)
    check_text(chunk.source, RefusalCode.BROKEN_CHUNK, "the source", SOURCE_MAX_CHARACTERS)
    batch, schema = _decoded(chunk)
    kind: ImportKind = "events" if isinstance(chunk, EventChunk) else "profiles"
    if fault := columns_fault(kind, schema.columns):
        raise Refused(RefusalCode.BROKEN_CHUNK, fault)
    if len(schema.columns) > MAX_PROPERTIES:
        reason = f"{len(schema.columns)} columns; at most {MAX_PROPERTIES} are allowed"
        raise Refused(RefusalCode.TOO_MANY_PROPERTIES, reason)
    ordinals = batch.column(ORDINAL)
    if ordinals.null_count or (np.diff(ordinals.to_numpy()) <= 0).any():
        raise Refused(RefusalCode.BROKEN_CHUNK, f"{ORDINAL} does not go up from row to row")
    columns = [(name, batch.column(name)) for name in schema.names]
    if faults := row_faults(kind, columns, record.received_at_us):
        row = min(faults)
        raise _in_row(batch, row, faults[row][1])
    partition_of, _ = partitions_of(batch.column(USER_ID), partitions)
    for row in np.flatnonzero(partition_of != record.partition)[:1].tolist():
        reason = f"the user belongs to partition {partition_of[row]}"
        raise _in_row(batch, row, Refused(RefusalCode.WRONG_PARTITION, reason))
    return batch


def _decoded(chunk: EventChunk | ProfileChunk) -> tuple[pa.RecordBatch, RowSchema]:
    try:
        batch = decode_rows(chunk.rows)
        schema = schema_of(batch.schema)
        fault = chunk_fault(chunk, batch, schema)
    except (pa.ArrowException, StopIteration, OSError, ValueError, UserError) as exc:
        raise Refused(RefusalCode.BROKEN_CHUNK, f"{type(exc).__name__}: {exc}"[:500]) from exc
    if fault is not None:
        raise Refused(RefusalCode.BROKEN_CHUNK, fault)
    return batch, schema


def _in_row(batch: pa.RecordBatch, row: int, refused: Refused) -> Refused:
    return Refused(refused.code, f"row {batch.column(ORDINAL)[row].as_py()}: {refused.reason}")
