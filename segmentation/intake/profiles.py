"""Records of the profiles topic -> changes of profiles in order, and refusals.

As for events (`events`), except that a misplaced record is refused: forwarded, it would change places among the user's
changes, of which the last one wins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final, cast

import numpy as np
import pyarrow as pa

from schemas.activity import ATTRIBUTES, ATTRIBUTES_TYPE, PROFILE_ROWS, RECEIVED_AT, TENANT
from schemas.activity_columns import DELETED
from schemas.codec import CODEC
from schemas.columns import ORDINAL, USER_ID
from schemas.kernels import avro_records as avro
from schemas.kernels.members import ABSENT, FALSE, NULL, OBJECT, STRING, TRUE, Mask
from schemas.messages import ProfileChunk, ProfileRecord
from schemas.partitioning import partitions_of
from segmentation.intake.chunk_rows import ChunkRows, by_offset, joined, repeated, rows_of_chunks
from segmentation.intake.decoding import check_key, decode
from segmentation.intake.json_records import profile_of_json
from segmentation.intake.refusals import Refusal, RefusalCode, Refused
from segmentation.intake.row_faults import deleted_rows, row_faults
from segmentation.intake.single_records import OPTIONAL_STRING, Shape, Singles, valid_singles
from segmentation.intake.tenants import Existed, any_tenant, require_tenant
from segmentation.intake.topic_records import RecordBatch, TopicRecord, records_of, refused_records
from segmentation.intake.value_maps import maps_of_columns, maps_of_records
from segmentation.intake.values import check_profile

FIRST_ATTRIBUTE = 2
"""Index of the first attribute in a chunk, after _ordinal and user_id; that column may be `deleted` instead."""


_SHAPE: Final = Shape(
    kinds={
        USER_ID: frozenset({STRING}),
        ATTRIBUTES: frozenset({OBJECT, NULL, ABSENT}),
        DELETED: frozenset({TRUE, FALSE, ABSENT}),
        TENANT: OPTIONAL_STRING,
    },
    avro_headers=CODEC.headers(ProfileRecord),
    avro_fields={USER_ID: avro.TEXT, ATTRIBUTES: avro.VALUES, DELETED: avro.BOOLEAN, TENANT: avro.TEXT},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileIntake:
    """Outcome of some records: `rows` (`PROFILE_ROWS`, in the order in which they apply), and the others.

    `records`: their number. `refused`: the records of `refusals`.
    """

    records: int
    rows: pa.RecordBatch
    refusals: tuple[Refusal, ...]
    refused: tuple[TopicRecord, ...]


def ingest_profiles(
    found: Sequence[TopicRecord | RecordBatch], partitions: int, existed: Existed = any_tenant
) -> ProfileIntake:
    """Take records of one partition, ascending by offset; `partitions` is the P of the topic.

    Raises what `existed` raises, and `FatalError` BROKEN_BATCH.
    """
    if not found:
        return ProfileIntake(records=0, rows=joined([], PROFILE_ROWS), refusals=(), refused=())
    records = records_of(found)
    batches, taken = valid_singles(records, _SHAPE, partial(_rows_of_singles, partitions=partitions, existed=existed))
    others = [records[index] for index in np.flatnonzero(~taken).tolist()]
    refusals: list[Refusal] = []
    for single, consecutive in groupby(
        _messages(others, refusals, existed), key=lambda one: isinstance(one[1], ProfileRecord)
    ):
        if not single:
            for of_chunks in rows_of_chunks(
                cast(list[tuple[TopicRecord, ProfileChunk]], list(consecutive)), partitions
            ):
                if isinstance(of_chunks, ChunkRows):
                    batches.append(_rows_of_chunks(of_chunks))
                else:
                    record, refused = of_chunks
                    refusals.append(refused.at(record.offset))
            continue
        singles = cast(list[tuple[TopicRecord, ProfileRecord]], list(consecutive))
        expected_partitions, _ = partitions_of(
            pa.array([change.user_id for _, change in singles], pa.string()), partitions
        )
        placed = list(zip(singles, expected_partitions.tolist(), strict=True))
        refusals += [_misplaced(record, p) for (record, _), p in placed if p != record.partition]
        batches.append(_rows_of_records([one for one, p in placed if p == one[0].partition]))
    in_order = tuple(sorted(refusals, key=lambda refusal: refusal.offset))
    return ProfileIntake(
        records=len(records),
        rows=by_offset(batches, PROFILE_ROWS),
        refusals=in_order,
        refused=refused_records(others, in_order),
    )


def _rows_of_singles(singles: Singles, partitions: int, existed: Existed) -> tuple[pa.RecordBatch, Mask]:
    user_ids, tenants, n = singles.texts(USER_ID), singles.tenants(), len(singles)
    deleted = singles.is_kind(DELETED, TRUE)
    attributes, doubtful = singles.maps(ATTRIBUTES, ATTRIBUTES_TYPE, nulls=True)
    doubtful |= singles.doubtful(user_ids, tenants, partitions, existed)
    doubtful |= deleted & (np.diff(attributes.offsets.to_numpy()) > 0)
    doubtful[list(row_faults("profiles", [(USER_ID, user_ids)], 0))] = True
    arrays = [
        tenants,
        user_ids,
        pa.array(deleted),
        attributes,
        pa.array(singles.offsets),
        pa.array(singles.received_at_us).cast(PROFILE_ROWS.field(RECEIVED_AT).type),
        pa.nulls(n, pa.string()),
        pa.nulls(n, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=PROFILE_ROWS), doubtful


def _messages(
    records: Sequence[TopicRecord], refusals: list[Refusal], existed: Existed
) -> Iterator[tuple[TopicRecord, ProfileRecord | ProfileChunk]]:
    """The valid messages; invalid ones are added to `refusals`."""
    for record in records:
        try:
            message = _profile_message(record)
            require_tenant(message.tenant, record.received_at_us, existed)
            yield record, message
        except Refused as refused:
            refusals.append(refused.at(record.offset))


def _profile_message(record: TopicRecord) -> ProfileRecord | ProfileChunk:
    if record.value is None:
        message: object = _deletion(record.key)
    else:
        message = decode(record.value, record.topic, profile_of_json)
    if isinstance(message, ProfileRecord):
        check_profile(message)
        check_key(record, message.user_id)
    elif not isinstance(message, ProfileChunk):
        raise Refused(RefusalCode.UNDECODABLE, f"a {type(message).__name__} does not belong in {record.topic}")
    return message


def _deletion(key: bytes | None) -> ProfileRecord:
    """Meaning of a record without a value: the key is deleted, as in Kafka, in the default tenant."""
    if key is None:
        raise Refused(RefusalCode.NO_VALUE, "a record has neither key nor value")
    try:
        return ProfileRecord(user_id=key.decode(), deleted=True)
    except UnicodeDecodeError as exc:
        raise Refused(RefusalCode.BAD_USER_ID, "the key is not the user id in UTF-8") from exc


def _misplaced(record: TopicRecord, expected: int) -> Refusal:
    return Refusal(
        offset=record.offset,
        code=RefusalCode.WRONG_PARTITION,
        reason=f"the user belongs to partition {expected}, not {record.partition}: the producer must "
        "partition by murmur2 of the key (librdkafka: partitioner=murmur2_random)",
    )


def _rows_of_records(singles: Sequence[tuple[TopicRecord, ProfileRecord]]) -> pa.RecordBatch:
    arrays = [
        pa.array([change.tenant for _, change in singles], pa.string()),
        pa.array([change.user_id for _, change in singles], pa.string()),
        pa.array([change.deleted for _, change in singles], pa.bool_()),
        maps_of_records([change.attributes for _, change in singles], ATTRIBUTES_TYPE),
        pa.array([record.offset for record, _ in singles], pa.int64()),
        pa.array([record.received_at_us for record, _ in singles], pa.int64()).cast(
            PROFILE_ROWS.field(RECEIVED_AT).type
        ),
        pa.nulls(len(singles), pa.string()),
        pa.nulls(len(singles), pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=PROFILE_ROWS)


def _rows_of_chunks(found: ChunkRows[ProfileChunk]) -> pa.RecordBatch:
    rows, counts = found.rows, found.counts
    values = dict(zip(rows.schema.names[FIRST_ATTRIBUTE:], rows.columns[FIRST_ATTRIBUTE:], strict=True))
    deleted = deleted_rows(values, rows.num_rows)
    values.pop(DELETED, None)
    received_at = np.repeat([record.received_at_us for record, _ in found.chunks], counts)
    arrays = [
        repeated([chunk.tenant for _, chunk in found.chunks], counts),
        rows.column(USER_ID),
        pa.array(deleted),
        maps_of_columns(list(values), list(values.values()), rows.num_rows, ATTRIBUTES_TYPE, empty_rows=deleted),
        pa.array(np.repeat([record.offset for record, _ in found.chunks], counts)),
        pa.array(received_at).cast(PROFILE_ROWS.field(RECEIVED_AT).type),
        repeated([chunk.source for _, chunk in found.chunks], counts),
        rows.column(ORDINAL),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=PROFILE_ROWS)
