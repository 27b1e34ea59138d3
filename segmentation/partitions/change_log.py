"""Membership changes as messages, and the reader's rule for which messages of their log count."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from schemas.arrow import ARROW_TYPES
from schemas.columns import USER_ID
from schemas.ids import AudienceName, Partition
from schemas.rows import decode_rows, encode_rows
from schemas.segment_messages import ChangesMessage, MembershipChanges, OwnerStarted
from schemas.topics import CHUNK_MAX_ROWS
from segmentation.evaluation.batches import Changes
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import Emission

ENTERED = "entered"
EFFECTIVE_AT = "effective_at"
CHANGE_ROWS = pa.schema(
    [
        pa.field(USER_ID, pa.string(), nullable=False),
        pa.field(ENTERED, pa.bool_(), nullable=False),
        pa.field(EFFECTIVE_AT, ARROW_TYPES["timestamp"], nullable=False),
    ]
)
"""Schema of `MembershipChanges.rows`."""


def messages(
    emitted: Emission, *, partition: Partition, generation: int, first_seq: int
) -> Iterator[MembershipChanges]:
    """Split changes into messages of at most `CHUNK_MAX_ROWS` users."""
    changes, position = emitted.changes, emitted.position
    rows = pa.RecordBatch.from_arrays(
        [
            changes.user_ids,
            pa.array(changes.entered),
            pa.array(changes.effective_at).cast(CHANGE_ROWS.field(EFFECTIVE_AT).type),
        ],
        schema=CHANGE_ROWS,
    )
    for number, start in enumerate(range(0, rows.num_rows, CHUNK_MAX_ROWS)):
        chunk = rows.slice(start, CHUNK_MAX_ROWS)
        yield MembershipChanges(
            tenant=emitted.tenant,
            segment=AudienceName(changes.segment),
            rule_version=changes.rule_version,
            partition=partition,
            generation=generation,
            seq=first_seq + number,
            cause=changes.cause,
            at_us=position.at_us,
            events=position.events,
            profiles=position.profiles,
            activations=position.activations,
            count=chunk.num_rows,
            rows=encode_rows(chunk),
        )


def emission_of(message: MembershipChanges) -> Emission:
    """Inverse of `messages`, for one message. Raises ValueError if the rows contradict the message."""
    rows = decode_rows(message.rows)
    if rows.schema != CHANGE_ROWS or rows.num_rows != message.count:
        raise ValueError("the rows do not match the columns or the count of the message")
    return Emission(
        tenant=message.tenant,
        changes=Changes(
            segment=message.segment,
            rule_version=message.rule_version,
            user_ids=rows.column(USER_ID),
            entered=np.asarray(rows.column(ENTERED).to_numpy(zero_copy_only=False), np.bool_),
            effective_at=rows.column(EFFECTIVE_AT).cast(pa.int64()).to_numpy(),
            cause=message.cause,
        ),
        position=LogPosition(
            events=message.events,
            profiles=message.profiles,
            activations=message.activations,
            at_us=message.at_us,
        ),
    )


class ChangeLog:
    """The log of one partition, read in order; decides which changes count.

    Changes of a replaced owner do not count: a process that was frozen may continue to emit once it wakes. A duplicate
    message counts once. `generation`: that of the owner whose changes count now. If the log no longer has an owner's
    start, its changes count from the first available one.
    """

    def __init__(self, generation: int = -1, next_seq: int = 0) -> None:
        self.generation = generation
        self._next_seq = next_seq

    def counts(self, offset: int, message: ChangesMessage) -> bool:
        """True if these are changes that count."""
        if isinstance(message, OwnerStarted):
            self.generation, self._next_seq = offset, 0
            return False
        if (message.generation, message.seq) < (self.generation, self._next_seq):
            return False
        self.generation = message.generation
        self._next_seq = message.seq + 1
        return True
