"""Batches that marked consumers get as a whole, in the way that aiokafka reads a fetch."""

from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from schemas.codec import BATCH_MAX_BYTES, OVERSIZE_MARKER
from schemas.ids import Partition
from schemas.topics import EVENTS
from segmentation.intake.topic_records import RecordBatch, records_of
from streams.decompression import limit_batches
from streams.record_batches import WholeBatch, as_whole_batches, read_whole_batches

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 8, 16, 32
APPENDED_AT_MS = 1_795_608_000_000
PRODUCER = 7
ABORT_MARKER = b"\0\0\0\0"


@pytest.fixture(autouse=True)
def whole() -> Iterator[None]:
    as_it_was = fetcher.PartitionRecords, fetcher.MemoryRecords
    limit_batches()
    read_whole_batches()
    yield
    fetcher.PartitionRecords, fetcher.MemoryRecords = as_it_was


def batch(  # as a broker stores it
    *values: bytes | None,
    base: int = 0,
    codec: str = "none",
    attributes: int = LOG_APPEND_TIME,
    offsets: list[int] | None = None,
    key: bytes = b"ann",
) -> bytes:
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], 0, PRODUCER, 0, 0, 2**30)
    for offset, value in zip(offsets or range(len(values)), values, strict=True):
        assert builder.append(offset, 1_000 + offset, key, value, [("h", b"x")]) is not None
    made = bytearray(builder.build())
    made[:8] = base.to_bytes(8, "big")
    made[22] |= attributes
    if attributes & LOG_APPEND_TIME:
        made[35:43] = APPENDED_AT_MS.to_bytes(8, "big")
    made[17:21] = calc_crc32c(bytes(made[21:])).to_bytes(4, "big")
    return bytes(made)


def read(
    *batches: bytes, offset: int = 0, aborted: list[tuple[int, int]] | None = None, deserializer: Any = as_whole_batches
) -> list[Any]:
    place = TopicPartition(EVENTS, 0)
    records = fetcher.MemoryRecords(b"".join(batches))
    found = fetcher.PartitionRecords(place, records, aborted, offset, None, deserializer, True, READ_COMMITTED)
    return list(found)


def inside(one: WholeBatch) -> list[tuple[int, bytes | None, bytes | None]]:
    records = records_of(
        [
            RecordBatch(
                topic=EVENTS,
                partition=Partition(0),
                base=one.base,
                first=one.first,
                end=one.offset + 1,
                received_at_us=one.timestamp * 1000,
                body=one.value,
            )
        ]
    )
    assert {record.received_at_us for record in map(records.__getitem__, range(len(records)))} == {one.timestamp * 1000}
    return [(record.offset, record.key, record.value) for record in map(records.__getitem__, range(len(records)))]


@pytest.mark.parametrize("codec", CODECS)
def test_batch_takes_the_offset_of_its_last_record(codec: str) -> None:
    values = [b"", b"one", None, bytes(range(256)) * 40_000, b"last"]
    first, second = read(batch(*values, codec=codec, base=10), batch(b"next", codec=codec, base=15))
    assert (first.base, first.first, first.offset, first.timestamp) == (10, 0 + 10, 14, APPENDED_AT_MS)
    assert inside(first) == [(10 + n, b"ann", value) for n, value in enumerate(values)]
    assert inside(second) == [(15, b"ann", b"next")]


def test_batch_excludes_records_before_the_position() -> None:
    (found,) = read(batch(b"a", b"b", b"c", base=10), offset=11)
    assert inside(found) == [(11, b"ann", b"b"), (12, b"ann", b"c")]


def test_aborted_records_and_control_markers_are_skipped() -> None:
    found = read(
        batch(b"aborted", base=0, attributes=LOG_APPEND_TIME | TRANSACTIONAL),
        batch(None, base=1, attributes=LOG_APPEND_TIME | TRANSACTIONAL | CONTROL, key=ABORT_MARKER),
        batch(b"committed", base=2, attributes=LOG_APPEND_TIME | TRANSACTIONAL),
        batch(None, base=3, attributes=LOG_APPEND_TIME | TRANSACTIONAL | CONTROL, key=b"\0\0\0\1"),
        batch(b"plain", base=4),
        aborted=[(PRODUCER, 0)],
    )
    assert [inside(one) for one in found] == [[(2, b"ann", b"committed")], [(4, b"ann", b"plain")]]


@pytest.mark.parametrize(
    "unusual",
    [
        batch(b"a", b"c", offsets=[0, 2]),
        batch(b"a", b"c", attributes=0),
    ],
    ids=["a record missing, as after compaction", "the producer's times"],
)
def test_unusual_batch_is_read_record_by_record(unusual: bytes) -> None:
    found = read(unusual, batch(b"next", base=3))
    assert [type(one).__name__ for one in found] == ["ConsumerRecord", "ConsumerRecord", "WholeBatch"]
    assert [one.value for one in found[:2]] == [b"a", b"c"]


def test_unmarked_consumers_get_single_records() -> None:
    assert [one.value for one in read(batch(b"a", b"b"), deserializer=None)] == [b"a", b"b"]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_oversized_batch_becomes_one_record(codec: str) -> None:
    bomb = batch(b"good", b"\0" * BATCH_MAX_BYTES, codec=codec, base=1)
    before, stands, behind = read(batch(b"before"), bomb, batch(b"behind", base=3))
    assert (inside(before), inside(behind)) == ([(0, b"ann", b"before")], [(3, b"ann", b"behind")])
    assert (stands.offset, stands.value[: len(OVERSIZE_MARKER)]) == (1, OVERSIZE_MARKER)


def test_corrupt_and_truncated_batches_are_not_read() -> None:
    good, next_ = batch(b"a", b"b"), batch(b"c", base=2)
    assert len(read(good, next_[:-1])) == 1
    with pytest.raises(CorruptRecordException):
        read(good, next_[:-1] + bytes([next_[-1] ^ 1]))
