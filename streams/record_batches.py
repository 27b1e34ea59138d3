"""Record batches as a whole, instead of record by record: an object for each record costs more than all that follows.

For a consumer whose `value_deserializer` is `as_whole_batches`, aiokafka yields one `WholeBatch` for a batch. It still
checks checksums, and skips aborted transactions and the broker's own markers. Batches that are not as producers and
brokers usually make them come record by record: those in older formats, with times of the producer, or with records
missing, as after compaction.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords

from streams.decompression import (
    DecompressionLimitError,
    LimitedBatch,
    LimitedBatches,
    can_decompress,
    decompress,
    stand_in,
)

_SIZE: Final = struct.Struct(">qi")
"""Base offset, and the bytes that follow."""
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""https://kafka.apache.org/documentation/#recordbatch"""
_MAGIC: Final = 2
_CODEC: Final = 0b111
_LOG_APPEND_TIME: Final = 0b1000


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeBatch:
    """A batch in the place of its last record. Its records, from offset `base` on, are in `value`, decompressed.

    Those below `first` have been read before. `timestamp`: when the broker appended the batch, in milliseconds.
    """

    base: int
    first: int
    offset: int
    timestamp: int
    timestamp_type: int
    value: bytes


def as_whole_batches(value: Any) -> Any:
    """Marks consumers that take whole batches."""
    return value


def read_whole_batches() -> None:
    """Let aiokafka yield whole batches to marked consumers of this process. Batches must be limited already."""
    fetcher.PartitionRecords = _PartitionRecords


class _PartitionRecords(PartitionRecords):  # type: ignore[misc]
    """aiokafka's iterator over the records that were fetched of a partition."""

    def __init__(  # aiokafka's signature
        self,
        tp: Any,
        records: Any,
        aborted_transactions: Any,
        fetch_offset: int,
        key_deserializer: Any,
        value_deserializer: Any,
        check_crcs: bool,  # noqa: FBT001
        isolation_level: int,
    ) -> None:
        if value_deserializer is as_whole_batches:
            records, value_deserializer = _WholeBatches(records), None
        super().__init__(
            tp,
            records,
            aborted_transactions,
            fetch_offset,
            key_deserializer,
            value_deserializer,
            check_crcs,
            isolation_level,
        )

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        if isinstance(record, WholeBatch):
            return replace(record, first=max(record.base, self.next_fetch_offset))
        return super()._consumer_record(tp, record)


class _WholeBatches:
    """The batches that were fetched."""

    def __init__(self, batches: LimitedBatches) -> None:
        self._batches = batches
        self._at = 0
        self.has_next = batches.has_next

    def next_batch(self) -> "_Batch | None":
        if (batch := self._batches.next_batch()) is None:
            return None
        start = self._at
        _, size = _SIZE.unpack_from(self._batches.fetched, start)
        self._at = start + _SIZE.size + size
        return _Batch(batch, memoryview(self._batches.fetched)[start : self._at])


class _Batch:
    """aiokafka's batch, whose only record is the whole batch."""

    def __init__(self, batch: LimitedBatch, packed: memoryview) -> None:
        self._batch = batch
        self._packed = packed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        base, _, _, magic, _, attributes, last, _, appended_at, _, _, _, count = _HEADER.unpack_from(self._packed)
        usual = magic == _MAGIC and attributes & _LOG_APPEND_TIME and count == last + 1
        if not usual or not can_decompress(attributes & _CODEC):
            return iter(self._batch)
        try:
            value = decompress(bytes(self._packed[_HEADER.size :]), attributes & _CODEC)
        except DecompressionLimitError as exc:
            return iter([stand_in(self._batch, exc)])
        return iter(
            [
                WholeBatch(
                    base=base,
                    first=base,
                    offset=base + last,
                    timestamp=appended_at,
                    timestamp_type=1,
                    value=value,
                )
            ]
        )
