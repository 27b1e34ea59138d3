"""Compressed batches as the workers' consumers decompress them: like aiokafka, up to a limit."""

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from schemas.codec import BATCH_MAX_BYTES, CODEC, OVERSIZE_MARKER, UndecodableError
from streams.decompression import limit_batches, unpack_gzip

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@pytest.fixture(autouse=True)
def limited() -> None:
    limit_batches()


def batch(compression: str, *values: bytes, base: int = 0) -> bytes:
    """A batch, as the broker stores it at an offset."""
    builder = DefaultRecordBatchBuilder(2, CODECS[compression], 0, -1, -1, -1, 2**30)
    for n, value in enumerate(values):
        assert builder.append(n, 1_000 + n, b"ann", value, []) is not None
    made = bytearray(builder.build())
    made[:8] = base.to_bytes(8, "big")
    return bytes(made)


def read(*batches: bytes, offset: int = 0) -> list[Any]:
    """Records that a consumer gets."""
    place = TopicPartition("muster.events", 0)
    records = fetcher.MemoryRecords(b"".join(batches))
    return list(fetcher.PartitionRecords(place, records, [], offset, None, None, True, 1))


@pytest.mark.parametrize("compression", CODECS)
def test_batches_decompress_to_their_input(compression: str) -> None:
    values = [b"", b"one", bytes(range(256)) * 40_000, b"last"]  # 10 MB, several pieces
    found = read(batch(compression, *values), batch(compression, b"next", base=4))
    assert [(r.offset, r.key, r.value) for r in found] == [(n, b"ann", v) for n, v in enumerate([*values, b"next"])]
    assert [r.timestamp for r in found] == [1_000, 1_001, 1_002, 1_003, 1_000]
    assert [r.offset for r in read(batch(compression, *values), offset=2)] == [2, 3]


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_oversized_batch_becomes_one_record_and_neighbours_are_read(compression: str) -> None:
    bomb = batch(compression, b"good", b"\0" * BATCH_MAX_BYTES, b"good", base=1)
    found = read(batch(compression, b"before"), bomb, batch(compression, b"behind", base=4))
    assert [(r.offset, r.value) for r in (found[0], found[2])] == [(0, b"before"), (4, b"behind")]
    stands = found[1]
    assert (stands.offset, stands.key, stands.value[: len(OVERSIZE_MARKER)]) == (1, None, OVERSIZE_MARKER)
    assert stands.value[len(OVERSIZE_MARKER) :] in bomb
    with pytest.raises(UndecodableError, match="a batch of records that decompresses to more than 33554432 bytes"):
        CODEC.decode(stands.value)


def test_gzip_members_concatenate_and_truncation_is_an_error() -> None:
    packed = gzip.compress(b"a" * 3_000_000) + gzip.compress(b"") + gzip.compress(b"b")
    assert b"".join(unpack_gzip(memoryview(packed))) == b"a" * 3_000_000 + b"b"

    def cut() -> Iterator[bytes]:
        return unpack_gzip(memoryview(packed[:-4]))

    with pytest.raises(EOFError, match="truncated"):
        list(cut())
