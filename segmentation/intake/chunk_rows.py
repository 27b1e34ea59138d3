"""The rows of a chunk of events or profiles, held against everything that a single record is held against.

Whole columns are looked over at once; what looks odd is judged by the rules of single records (`values`), so that both
ways in refuse the same. One bad row refuses its chunk: who sends chunks has checked the rows before.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import (
    EARLIEST_US,
    EVENT,
    EVENT_COLUMNS,
    EVENT_ID,
    MAX_AHEAD_US,
    MAX_PROPERTIES,
    NAME_MAX_CHARACTERS,
    OCCURRED_AT,
    PROPERTY_MAX_BYTES,
    PROPERTY_TYPES,
)
from schemas.arrow import schema_of
from schemas.buffers import string_buffers
from schemas.columns import ORDINAL, USER_ID, RowSchema
from schemas.errors import UserError
from schemas.ids import USER_ID_MAX_CHARACTERS
from schemas.messages import EventChunk, ProfileChunk
from schemas.partitioning import partitions_of
from schemas.rows import chunk_fault, decode_rows
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.topic_record import TopicRecord
from segmentation.intake.values import check_tenant, check_text, check_time, check_values


def rows_of_chunk(chunk: EventChunk | ProfileChunk, record: TopicRecord, partitions: int) -> pa.RecordBatch:
    """The rows: _ordinal, user_id, [event, occurred_at, event_id,] and a column for each value. Raises `Refused`."""
    if chunk.partition != record.partition:
        raise Refused(
            RefusalCode.WRONG_PARTITION, f"a chunk for partition {chunk.partition} in partition {record.partition}"
        )
    check_tenant(chunk.tenant)
    batch, schema = _decoded(chunk)
    fixed = EVENT_COLUMNS if isinstance(chunk, EventChunk) else ()
    if schema.columns[: len(fixed)] != fixed:
        names = ", ".join(f"{c.name} {c.type}" for c in fixed)
        raise Refused(RefusalCode.BROKEN_CHUNK, f"the columns behind {USER_ID} must begin with {names}")
    values = schema.columns[len(fixed) :]
    if len(values) > MAX_PROPERTIES:
        reason = f"{len(values)} properties; at most {MAX_PROPERTIES} are allowed"
        raise Refused(RefusalCode.TOO_MANY_PROPERTIES, reason)
    for column in values:
        if column.type not in PROPERTY_TYPES:
            raise Refused(
                RefusalCode.BAD_PROPERTY, f"the column {column.name} is {column.type}, not double, string or boolean"
            )
    for name in (ORDINAL, USER_ID, *(c.name for c in fixed if c.name != EVENT_ID)):
        if batch.column(name).null_count:
            raise Refused(RefusalCode.BROKEN_CHUNK, f"the column {name} has nulls")
    _check_texts(batch, USER_ID, RefusalCode.BAD_USER_ID, "the user id", USER_ID_MAX_CHARACTERS)
    if fixed:
        _check_texts(batch, EVENT, RefusalCode.BAD_EVENT, "the name of the event", NAME_MAX_CHARACTERS)
        _check_texts(batch, EVENT_ID, RefusalCode.BAD_EVENT_ID, "the event id", NAME_MAX_CHARACTERS)
        _check_times(batch, record.received_at_us)
    for column in values:
        _check_values(batch, column.name)
    _check_partitions(batch, record.partition, partitions)
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


def _check_texts(batch: pa.RecordBatch, name: str, code: RefusalCode, what: str, most: int) -> None:
    texts = batch.column(name)
    offsets, data = string_buffers(texts)
    sizes = np.diff(offsets)
    first = data[np.minimum(offsets[:-1], len(data) - 1)]
    # Blank texts begin with a byte that is no plain character, and there are at least as many bytes as characters.
    odd = (sizes == 0) | (sizes > most) | (first <= 32) | (first >= 127) | _with_nul(texts)
    for text in _distinct(texts, odd):
        try:
            check_text(text, code, what, most)
        except Refused as refused:
            raise _in_row(batch, pc.index(texts, text).as_py(), refused) from refused


def _check_times(batch: pa.RecordBatch, received_at_us: int) -> None:
    times = batch.column(OCCURRED_AT).cast(pa.int64()).to_numpy()
    for row in np.flatnonzero((times < EARLIEST_US) | (times > received_at_us + MAX_AHEAD_US))[:1].tolist():
        try:
            check_time(int(times[row]), received_at_us)
        except Refused as refused:
            raise _in_row(batch, row, refused) from refused


def _check_values(batch: pa.RecordBatch, name: str) -> None:
    values = batch.column(name)
    if pa.types.is_floating(values.type):
        odd = ~np.isfinite(values.fill_null(0.0).to_numpy())
    elif pa.types.is_string(values.type):
        odd = (np.diff(string_buffers(values)[0]) > PROPERTY_MAX_BYTES) | _with_nul(values)
    else:
        return
    for row in np.flatnonzero(odd).tolist():
        try:
            check_values({name: values[row].as_py()})
        except Refused as refused:
            raise _in_row(batch, row, refused) from refused


def _check_partitions(batch: pa.RecordBatch, partition: int, partitions: int) -> None:
    partition_of, _ = partitions_of(batch.column(USER_ID), partitions)
    for row in np.flatnonzero(partition_of != partition)[:1].tolist():
        refused = Refused(RefusalCode.WRONG_PARTITION, f"the user belongs to partition {partition_of[row]}")
        raise _in_row(batch, row, refused)


def _with_nul(texts: pa.StringArray) -> npt.NDArray[np.bool_]:
    offsets, data = string_buffers(texts)
    if (data[offsets[0] : offsets[-1]] != 0).all():
        return np.zeros(len(texts), np.bool_)
    found: npt.NDArray[np.bool_] = pc.match_substring(texts, "\0").fill_null(False).to_numpy(zero_copy_only=False)  # noqa: FBT003
    return found


def _distinct(texts: pa.StringArray, odd: npt.NDArray[np.bool_]) -> list[str]:
    """Each odd text once: names of events repeat, and in some languages all are odd."""
    if not odd.any():
        return []
    distinct: list[str] = pc.unique(texts.filter(pa.array(odd)).drop_null()).to_pylist()
    return distinct


def _in_row(batch: pa.RecordBatch, row: int, refused: Refused) -> Refused:
    return Refused(refused.code, f"row {batch.column(ORDINAL)[row].as_py()}: {refused.reason}")
