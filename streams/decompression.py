"""A limit on decompressed record batches: brokers limit only the compressed size, and aiokafka nothing.

A batch of 100 KB may decompress to gigabytes each time it is read, and no worker would ever get past it. If one
decompresses to more than `BATCH_MAX_BYTES`, a single record replaces all of its records, at the offset of the first:
`schemas.codec.OVERSIZE_MARKER` and the batch as fetched. Its other offsets hold no record.
"""

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Final, cast

import cramjam
import pyarrow as pa
import zstandard
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from schemas.codec import BATCH_MAX_BYTES, OVERSIZE_MARKER

PIECE_BYTES: Final = 1024 * 1024
GZIP_WINDOW: Final = 31
XERIAL_HEADER_BYTES: Final = 16


class DecompressionLimitError(Exception):
    """`packed`: the compressed batch, which decompresses to more than `BATCH_MAX_BYTES`."""

    def __init__(self, packed: bytes) -> None:
        super().__init__(f"a batch of {len(packed)} bytes decompresses to more than {BATCH_MAX_BYTES}")
        self.packed = packed


def limit_batches() -> None:
    """Apply the limit to aiokafka in this process."""
    decoders = sys.modules[DefaultRecordBatch.__module__]
    for name, decode in _DECODERS.values():
        setattr(decoders, f"{name}_decode", decode)
    fetcher.MemoryRecords = LimitedBatches


def _limited(unpack: Callable[[memoryview], Iterable[bytes]]) -> Callable[[Any], bytes]:
    def limited(packed: Any) -> bytes:
        pieces, size = [], 0
        for piece in unpack(memoryview(packed)):
            size += len(piece)
            if size > BATCH_MAX_BYTES:
                raise DecompressionLimitError(bytes(packed))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    return limited


def unpack_gzip(packed: memoryview) -> Iterator[bytes]:
    """The content of all members, in pieces. Raises `EOFError` if the last one is cut off."""
    rest = bytes(packed)
    while rest:  # members, one after the other
        member = zlib.decompressobj(GZIP_WINDOW)
        while not member.eof:
            if not (piece := member.decompress(rest, PIECE_BYTES)) and not member.unconsumed_tail and not member.eof:
                raise EOFError("a gzip batch is truncated")
            yield piece
            rest = member.unconsumed_tail
        rest = member.unused_data


def _zstd(packed: memoryview) -> Iterator[bytes]:
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        while piece := reader.read(PIECE_BYTES):
            yield piece


def _lz4(packed: memoryview) -> Iterator[bytes]:
    with pa.CompressedInputStream(pa.BufferReader(packed), "lz4") as reader:
        while piece := reader.read(PIECE_BYTES):
            yield piece


def _snappy(packed: Any) -> bytes:
    """Check the sizes first: Snappy states the length of each block."""
    if sum(map(cramjam.snappy.decompress_raw_len, _snappy_blocks(memoryview(packed)))) > BATCH_MAX_BYTES:
        raise DecompressionLimitError(bytes(packed))
    return cast(bytes, codec.snappy_decode(packed))


def _snappy_blocks(packed: memoryview) -> Iterator[memoryview]:
    if not codec._detect_xerial_stream(packed):  # noqa: SLF001  # snappy has no one format
        yield packed
        return
    offset = XERIAL_HEADER_BYTES
    while offset < len(packed):
        size = int.from_bytes(packed[offset : offset + 4], "big")
        yield packed[offset + 4 : offset + 4 + size]
        offset += 4 + size


_DECODERS: Final[Mapping[int, tuple[str, Callable[[Any], bytes]]]] = {
    1: ("gzip", _limited(unpack_gzip)),
    2: ("snappy", _snappy),
    3: ("lz4", _limited(_lz4)),
    4: ("zstd", _limited(_zstd)),
}
"""By Kafka's numbers, with aiokafka's names."""


def can_decompress(codec_number: int) -> bool:
    """True for no compression as well."""
    return codec_number == 0 or codec_number in _DECODERS


def decompress(packed: bytes, codec_number: int) -> bytes:
    """The records of a batch. Raises `DecompressionLimitError`, and as the codec does."""
    return _DECODERS[codec_number][1](packed) if codec_number else packed


class LimitedBatches:
    """aiokafka's `MemoryRecords`, with limited batches."""

    def __init__(self, fetched: bytes) -> None:
        self.fetched = fetched
        self._records = MemoryRecords(fetched)
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> "LimitedBatch | None":
        """The next batch. None: there is none."""
        batch = self._records.next_batch()
        return None if batch is None else LimitedBatch(batch)


class LimitedBatch:
    """aiokafka's batch, replaced by one record if it decompresses too far."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(self._batch)
        except DecompressionLimitError as exc:
            return iter([stand_in(self._batch, exc)])


def stand_in(batch: Any, error: DecompressionLimitError) -> Any:
    """The record that replaces those of a batch."""
    return SimpleNamespace(
        offset=batch.base_offset,
        timestamp=batch.max_timestamp,
        timestamp_type=batch.timestamp_type,
        key=None,
        value=OVERSIZE_MARKER + error.packed,
        headers=(),
        checksum=None,
    )
