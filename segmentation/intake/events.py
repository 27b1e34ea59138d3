"""Records of the events topic -> rows, events to forward to their partition, and refusals.

1. A record is decoded and checked: most single records together (`single_records`), all others one by one. An invalid
   one is refused, with a code and a reason for the dead letters.
2. The user of a single record belongs to one partition. If the record is in another one, a producer uses another
   partitioner: the event is forwarded, and counts where it arrives. A misplaced chunk is refused instead.
3. Every record has exactly one of these three outcomes, and the same records always have the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Final, cast

import numpy as np
import pyarrow as pa

from schemas.activity import EVENT_ROWS, PROPERTIES, PROPERTIES_TYPE, RECEIVED_AT, RECORD_MAX_BYTES, TENANT
from schemas.activity_columns import EVENT, EVENT_ID, OCCURRED_AT
from schemas.codec import CODEC
from schemas.columns import ORDINAL, USER_ID
from schemas.ids import Partition
from schemas.kernels import avro_records as avro
from schemas.kernels.members import ABSENT, INTEGER, NULL, OBJECT, STRING, Mask
from schemas.messages import EventChunk, EventRecord, PropertyValue
from schemas.partitioning import partitions_of
from segmentation.intake.chunk_rows import ChunkRows, by_offset, joined, repeated, rows_of_chunks
from segmentation.intake.decoding import check_key, decode
from segmentation.intake.identity import chunk_identities, record_identities
from segmentation.intake.json_records import event_of_json
from segmentation.intake.refusals import Refusal, RefusalCode, Refused
from segmentation.intake.row_faults import row_faults
from segmentation.intake.single_records import OPTIONAL_STRING, Shape, Singles, valid_singles
from segmentation.intake.tenants import Existed, any_tenant, require_tenant
from segmentation.intake.topic_records import Move, RecordBatch, TopicRecord, records_of, refused_records
from segmentation.intake.value_maps import maps_of_records, maps_without_nulls
from segmentation.intake.values import check_event

_SHAPE: Final = Shape(
    kinds={
        USER_ID: frozenset({STRING}),
        EVENT: frozenset({STRING}),
        OCCURRED_AT: frozenset({INTEGER, STRING}),
        PROPERTIES: frozenset({OBJECT, NULL, ABSENT}),
        EVENT_ID: OPTIONAL_STRING,
        TENANT: OPTIONAL_STRING,
    },
    avro_headers=CODEC.headers(EventRecord),
    avro_fields={
        USER_ID: avro.TEXT,
        EVENT: avro.TEXT,
        OCCURRED_AT: avro.LONG,
        PROPERTIES: avro.VALUES,
        EVENT_ID: avro.OPTIONAL_TEXT,
        TENANT: avro.TEXT,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventIntake:
    """Outcome of some records: `rows` (`EVENT_ROWS`, in order of offsets), and the others by offset.

    `records`: their number. `refused`: the records of `refusals`.
    """

    records: int
    rows: pa.RecordBatch
    moves: tuple[Move, ...]
    refusals: tuple[Refusal, ...]
    refused: tuple[TopicRecord, ...]


def ingest_events(
    found: Sequence[TopicRecord | RecordBatch], partitions: int, existed: Existed = any_tenant
) -> EventIntake:
    """Take records of one partition, ascending by offset; `partitions` is the P of the topic.

    Raises what `existed` raises, and `FatalError` BROKEN_BATCH.
    """
    if not found:
        return EventIntake(records=0, rows=joined([], EVENT_ROWS), moves=(), refusals=(), refused=())
    records = records_of(found)
    batches, taken = valid_singles(records, _SHAPE, partial(_rows_of_singles, partitions=partitions, existed=existed))
    others = [records[index] for index in np.flatnonzero(~taken).tolist()]
    moves: list[Move] = []
    refusals: list[Refusal] = []
    for single, consecutive in groupby(
        _messages(others, refusals, existed), key=lambda one: isinstance(one[1], EventRecord)
    ):
        if not single:
            for of_chunks in rows_of_chunks(cast(list[tuple[TopicRecord, EventChunk]], list(consecutive)), partitions):
                if isinstance(of_chunks, ChunkRows):
                    batches.append(_rows_of_chunks(of_chunks))
                else:
                    record, refused = of_chunks
                    refusals.append(refused.at(record.offset))
            continue
        singles = cast(list[tuple[TopicRecord, EventRecord]], list(consecutive))
        expected_partitions, _ = partitions_of(
            pa.array([event.user_id for _, event in singles], pa.string()), partitions
        )
        placed: list[tuple[TopicRecord, EventRecord]] = []
        for (record, event), partition in zip(singles, expected_partitions.tolist(), strict=True):
            if partition == record.partition:
                placed.append((record, event))
                continue
            try:
                moves.append(_move(record, event, Partition(partition)))
            except Refused as refused:
                refusals.append(refused.at(record.offset))
        if placed:
            batches.append(_rows_of_records(placed))
    in_order = tuple(sorted(refusals, key=lambda refusal: refusal.offset))
    return EventIntake(
        records=len(records),
        rows=by_offset(batches, EVENT_ROWS),
        moves=tuple(moves),
        refusals=in_order,
        refused=refused_records(others, in_order),
    )


def _rows_of_singles(singles: Singles, partitions: int, existed: Existed) -> tuple[pa.RecordBatch, Mask]:
    user_ids, tenants, event_ids = singles.texts(USER_ID), singles.tenants(), singles.texts(EVENT_ID)
    us, doubtful = singles.times()
    properties, doubtful_properties = singles.maps(PROPERTIES, PROPERTIES_TYPE, nulls=False)
    doubtful |= doubtful_properties | singles.doubtful(user_ids, tenants, partitions, existed)
    offsets, n = pa.array(singles.offsets), len(singles)
    fixed = {
        USER_ID: user_ids,
        EVENT: singles.texts(EVENT),
        OCCURRED_AT: pa.array(us).cast(EVENT_ROWS.field(OCCURRED_AT).type),
        EVENT_ID: event_ids,
    }
    doubtful[list(row_faults("events", list(fixed.items()), singles.received_at_us))] = True
    arrays = [
        tenants,
        *fixed.values(),
        pa.array(record_identities(event_ids, singles.records.topic, singles.records.partition, offsets)),
        properties,
        offsets,
        pa.array(singles.received_at_us).cast(EVENT_ROWS.field(RECEIVED_AT).type),
        pa.nulls(n, pa.string()),
        pa.nulls(n, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENT_ROWS), doubtful


def _messages(
    records: Sequence[TopicRecord], refusals: list[Refusal], existed: Existed
) -> Iterator[tuple[TopicRecord, EventRecord | EventChunk]]:
    """The valid messages; invalid ones are added to `refusals`."""
    for record in records:
        try:
            message = _event_message(record)
            require_tenant(message.tenant, record.received_at_us, existed)
            yield record, message
        except Refused as refused:
            refusals.append(refused.at(record.offset))


def _event_message(record: TopicRecord) -> EventRecord | EventChunk:
    if record.value is None:
        raise Refused(RefusalCode.NO_VALUE, "an event cannot be deleted by a record without a value")
    message = decode(record.value, record.topic, event_of_json)
    if isinstance(message, EventRecord):
        check_event(message, record.received_at_us)
        check_key(record, message.user_id)
    elif not isinstance(message, EventChunk):
        raise Refused(RefusalCode.UNDECODABLE, f"a {type(message).__name__} does not belong in {record.topic}")
    return message


def _rows_of_records(records: Sequence[tuple[TopicRecord, EventRecord]]) -> pa.RecordBatch:
    carriers, events = [record for record, _ in records], [event for _, event in records]
    event_ids = pa.array([e.event_id for e in events], pa.string())
    offsets = pa.array([r.offset for r in carriers], pa.int64())
    arrays = [
        pa.array([e.tenant for e in events], pa.string()),
        pa.array([e.user_id for e in events], pa.string()),
        pa.array([e.event for e in events], pa.string()),
        pa.array([e.occurred_at_us for e in events], pa.int64()).cast(EVENT_ROWS.field(OCCURRED_AT).type),
        event_ids,
        pa.array(record_identities(event_ids, carriers[0].topic, carriers[0].partition, offsets)),
        maps_of_records([_present(e.properties) for e in events], PROPERTIES_TYPE),
        offsets,
        pa.array([r.received_at_us for r in carriers], pa.int64()).cast(EVENT_ROWS.field(RECEIVED_AT).type),
        pa.nulls(len(carriers), pa.string()),
        pa.nulls(len(carriers), pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENT_ROWS)


def _present(properties: Mapping[str, PropertyValue | None]) -> Mapping[str, PropertyValue]:
    """Drop null properties, which mean the same as absent ones."""
    return {name: value for name, value in properties.items() if value is not None}


def _move(record: TopicRecord, event: EventRecord, partition: Partition) -> Move:
    """The event for the right partition. Without an id it gets one from its origin, so that a second copy counts once.

    Raises `Refused` if the copy would be too large to be accepted.
    """
    event_id = event.event_id or f"{record.topic}/{record.partition}/{record.offset}"
    value = CODEC.encode(replace(event, event_id=event_id))
    if len(value) > RECORD_MAX_BYTES:
        reason = (
            f"the user belongs to partition {partition}, but encoded as Avro the record is too large to be sent there"
        )
        raise Refused(RefusalCode.WRONG_PARTITION, reason)
    return Move(offset=record.offset, partition=partition, key=event.user_id.encode(), value=value)


def _rows_of_chunks(found: ChunkRows[EventChunk]) -> pa.RecordBatch:
    rows, counts = found.rows, found.counts
    has_ids = EVENT_ID in rows.schema.names
    event_id = rows.column(EVENT_ID) if has_ids else pa.nulls(rows.num_rows, pa.string())
    first = len((ORDINAL, USER_ID, EVENT, OCCURRED_AT)) + has_ids
    sources = [chunk.source for _, chunk in found.chunks]
    received_at = np.repeat([record.received_at_us for record, _ in found.chunks], counts)
    arrays = [
        repeated([chunk.tenant for _, chunk in found.chunks], counts),
        rows.column(USER_ID),
        rows.column(EVENT),
        rows.column(OCCURRED_AT),
        event_id,
        pa.array(chunk_identities(event_id, sources, counts, rows.column(ORDINAL))),
        maps_without_nulls(rows.schema.names[first:], rows.columns[first:], rows.num_rows, PROPERTIES_TYPE),
        pa.array(np.repeat([record.offset for record, _ in found.chunks], counts)),
        pa.array(received_at).cast(EVENT_ROWS.field(RECEIVED_AT).type),
        repeated(sources, counts),
        rows.column(ORDINAL),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENT_ROWS)
