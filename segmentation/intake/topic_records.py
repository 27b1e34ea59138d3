"""Records of an activity topic as received, and one to be forwarded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from schemas.dead_letters import dead_letter
from schemas.errors import FatalError
from schemas.ids import Partition
from schemas.kernels.compiling import kernel
from schemas.kernels.members import Bytes, Ints, Longs, joined
from schemas.kernels.varints import zigzag
from schemas.messages import DeadLetter
from segmentation.intake.refusals import Refusal

_NONE: Final = -1
"""The end of a key or a value that a record does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord:
    """One record of an activity topic. `received_at_us`: the broker's timestamp, microseconds since 1970 UTC.

    The topics have LogAppendTime, so every read of a record is checked against the same time.
    """

    topic: str
    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    received_at_us: int

    @property
    def first(self) -> int:
        """The offset, as of a batch of one record."""
        return self.offset

    @property
    def end(self) -> int:
        """The next offset."""
        return self.offset + 1

    def moved(self, by: int) -> "TopicRecord":
        """The record at another offset."""
        return replace(self, offset=self.offset + by)

    def __len__(self) -> int:
        return len(self.key or b"") + len(self.value or b"")

    def dead_letter(self, refusal: Refusal, now_us: int) -> DeadLetter:
        """The record as a dead letter."""
        return dead_letter(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            key=self.key,
            value=self.value,
            reason=str(refusal),
            now_us=now_us,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordBatch:
    """Records at `first` to `end` - 1 of an activity topic, in the bytes in which Kafka keeps them.

    `body`: the records of a batch (format v2), decompressed; the first of them has the offset `base`, and none is
    missing. A broker returns whole batches, so those below `first` may have been read before. All were received at one
    time.
    """

    topic: str
    partition: Partition
    base: int
    first: int
    end: int
    received_at_us: int
    body: bytes

    def moved(self, by: int) -> "RecordBatch":
        """The records at other offsets."""
        return replace(self, base=self.base + by, first=self.first + by, end=self.end + by)

    def __len__(self) -> int:
        return len(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecords:
    """Records of one partition, ascending by offset, as positions in one array (`schemas.kernels.members.joined`).

    Keys and values are data[start:end], int32[n]; an end of -1 means that there is none. `offsets`, `received_at_us`:
    int64[n].
    """

    topic: str
    partition: Partition
    data: Bytes
    size: int
    offsets: Longs
    received_at_us: Longs
    key_start: Ints
    key_end: Ints
    value_start: Ints
    value_end: Ints

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> TopicRecord:
        return TopicRecord(
            topic=self.topic,
            partition=self.partition,
            offset=int(self.offsets[index]),
            key=self._bytes(self.key_start[index], self.key_end[index]),
            value=self._bytes(self.value_start[index], self.value_end[index]),
            received_at_us=int(self.received_at_us[index]),
        )

    def _bytes(self, start: int, end: int) -> bytes | None:
        return None if end == _NONE else self.data[start:end].tobytes()


def records_of(found: Sequence[TopicRecord | RecordBatch]) -> TopicRecords:
    """All records of one partition, given in order (at least one). Raises `FatalError` BROKEN_BATCH."""
    data, size = joined([piece for one in found for piece in _pieces(one)])
    n = sum(one.end - one.first for one in found)
    offsets, received_at_us = np.empty(n, np.int64), np.empty(n, np.int64)
    key_start, key_end, value_start, value_end = (np.empty(n, np.int32) for _ in range(4))
    sources = np.array([_source(one) for one in found], np.int64)
    broken = _locate(data, sources, offsets, received_at_us, key_start, key_end, value_start, value_end)
    if broken >= 0:
        topic, partition, base = found[broken].topic, found[broken].partition, int(sources[broken, BASE])
        raise FatalError(
            "BROKEN_BATCH",
            f"{topic}/{partition}: the batch of records at offset {base} is broken, although its checksum is right. "
            "Nothing of it was taken. To go on without it, move the offset of the group past it.",
            topic=topic,
            partition=partition,
            offset=base,
        )
    return TopicRecords(
        topic=found[0].topic,
        partition=found[0].partition,
        data=data,
        size=size,
        offsets=offsets,
        received_at_us=received_at_us,
        key_start=key_start,
        key_end=key_end,
        value_start=value_start,
        value_end=value_end,
    )


def refused_records(records: Sequence[TopicRecord], refusals: Sequence[Refusal]) -> tuple[TopicRecord, ...]:
    """The record of each refusal."""
    by_offset = {record.offset: record for record in records}
    return tuple(by_offset[refusal.offset] for refusal in refusals)


SIZE, BASE, FIRST, END, RECEIVED, KEY_SIZE, VALUE_SIZE = range(7)
"""What `_locate` knows of a batch or a record, whose bytes follow one another."""
_BATCH: Final = -2
"""KEY_SIZE of a batch."""


def _source(one: TopicRecord | RecordBatch) -> tuple[int, ...]:
    if isinstance(one, RecordBatch):
        return len(one.body), one.base, one.first, one.end, one.received_at_us, _BATCH, 0
    key, value = (_NONE if given is None else len(given) for given in (one.key, one.value))
    return len(one), one.offset, one.offset, one.end, one.received_at_us, key, value


def _pieces(one: TopicRecord | RecordBatch) -> tuple[bytes, ...]:
    return (one.body,) if isinstance(one, RecordBatch) else (one.key or b"", one.value or b"")


@kernel
def _locate(
    d: Bytes,
    sources: Longs,
    offsets: Longs,
    received_at_us: Longs,
    key_start: Ints,
    key_end: Ints,
    value_start: Ints,
    value_end: Ints,
) -> int:
    """Fill the arrays of `TopicRecords`. Returns the index of a source that is broken, or -1.

    https://kafka.apache.org/documentation/#record: length, attributes, timestamp delta, offset delta, key, value,
    headers. The last of these are skipped.
    """
    n = i = 0
    for s in range(len(sources)):
        stop = i + sources[s, SIZE]
        if sources[s, KEY_SIZE] != _BATCH:
            offsets[n] = sources[s, BASE]
            received_at_us[n] = sources[s, RECEIVED]
            key_start[n] = i
            i += max(sources[s, KEY_SIZE], 0)
            key_end[n] = i if sources[s, KEY_SIZE] >= 0 else _NONE
            value_start[n] = i
            value_end[n] = stop if sources[s, VALUE_SIZE] >= 0 else _NONE
            n += 1
            i = stop
            continue
        for offset in range(sources[s, BASE], sources[s, END]):
            size, i = zigzag(d, i, stop)
            if not 0 < size <= stop - i:
                return s
            after = i + size
            _, i = zigzag(d, i + 1, after)
            delta, i = zigzag(d, i, after)
            key_size, key_at = zigzag(d, i, after)
            if delta != offset - sources[s, BASE] or not _NONE <= key_size <= after - key_at:
                return s
            value_size, value_at = zigzag(d, key_at + max(key_size, 0), after)
            if not _NONE <= value_size <= after - value_at:
                return s
            headers, i = zigzag(d, value_at + max(value_size, 0), after)
            if headers < 0 or i > after:
                return s
            i = after
            if offset < sources[s, FIRST]:
                continue
            offsets[n] = offset
            received_at_us[n] = sources[s, RECEIVED]
            key_start[n] = key_at
            key_end[n] = key_at + key_size if key_size >= 0 else _NONE
            value_start[n] = value_at
            value_end[n] = value_at + value_size if value_size >= 0 else _NONE
            n += 1
        if i != stop:
            return s
    return -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A misplaced event, as the record to be sent to the right partition of its topic.

    The event counts where it is read again; its old offset may be committed once the broker has acknowledged the copy.
    Two copies are one event: if the event had no id, the copies have one from its origin.
    """

    offset: int  # in the wrong partition
    partition: Partition
    key: bytes
    value: bytes
