"""Avro object containers: a header with the schema, then blocks of rows, each compressed and followed by a marker.

https://avro.apache.org/docs/1.12.0/specification/#object-container-files. Rows have no places of their own in the
file, so a fault of their encoding is one of the whole file. A container does not say how many blocks it has: one that
was cut between two blocks is complete.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.sources import avro_kernel as kernel
from connectors.sources.arrow_rows import BATCH_ROWS, ArrowRows, unusable_schema
from connectors.sources.avro_schema import AvroSchema, read_schema
from connectors.sources.compression import INPUT_BYTES, RATIO_FREE_BYTES, ratio_exceeded
from connectors.sources.rejects import RejectBatch
from connectors.sources.suggestion import Chooser
from connectors.sources.typed_columns import array_of
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.kernels.strings import WORD_BYTES, strings
from schemas.kernels.values import MAX_US

HEADER_MAX_BYTES: Final = 32 * 1024 * 1024
BLOCK_MAX_BYTES: Final = 256 * 1024 * 1024
"""Of one block, before and after decompression. Writers begin a new one after 16 KiB to a few MiB."""
TOGETHER_BYTES: Final = 4 * 1024 * 1024
"""Content of blocks that are decoded together."""
SYNC_BYTES: Final = 16
MAGIC_BYTES: Final = 4
MAX_VALUES: Final = 4 * 1024 * 1024
"""Values that are decoded before they become a batch."""
CRC_BYTES: Final = 4
UUID_CHARACTERS: Final = 36


class AvroReader:
    """Iterate to get accepted batches and rejects, which have an ordinal but neither line nor offset.

    Raises `UserError` CORRUPT_FILE, TRUNCATED_FILE, UNKNOWN_FORMAT (a codec that is not read), BAD_HEADER,
    FILE_TOO_LARGE, COMPRESSION_BOMB, and those of `ArrowRows`.
    """

    def __init__(
        self,
        file: BinaryIO,
        spec: ImportSpec,
        *,
        max_decoded_bytes: int,
        max_ratio: float,
        choose: Chooser | None = None,
        received_at_us: int = MAX_US,
        report_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = file
        self._spec = spec
        self._max_decoded_bytes = max_decoded_bytes
        self._max_ratio = max_ratio
        self._choose = choose
        self._received_at_us = received_at_us
        self._report_progress = report_progress
        self._stored = 0
        self.bytes_decoded = 0

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        self._read(MAGIC_BYTES)
        metadata = self._metadata()
        sync = self._read(SYNC_BYTES)
        unpack = _codec(metadata.get(b"avro.codec", b"null"))
        schema = read_schema(metadata.get(b"avro.schema", b""))
        try:
            rows = ArrowRows(schema.file, self._spec, self._choose, self._received_at_us)
        except UserError:
            yield unusable_schema(schema.file)
            raise
        decoder = _Decoder(schema, rows.wanted, self._count)
        ordinal = 0
        blocks = self._blocks(sync, unpack)
        while some := _some(blocks):
            for arrays in decoder.batches(some):
                self._report_progress()
                yield from rows.results(ordinal, arrays)
                ordinal += len(arrays[0])

    def _blocks(self, sync: bytes, unpack: "Callable[[bytes, int], bytes]") -> "Iterator[_Block]":
        while (count := self._number(at_end=True)) is not None:
            size = self._number() or 0
            if count < 0 or size < 0:
                raise _corrupt(self._stored, "has a negative size")
            _check_size(size)
            stored = self._read(size)
            if self._read(SYNC_BYTES) != sync:
                raise _corrupt(self._stored, "does not end with the file's marker")
            try:
                content = unpack(stored, min(BLOCK_MAX_BYTES, self._max_decoded_bytes))
            except (zlib.error, pa.ArrowException, OSError, ValueError, EOFError) as exc:
                raise _corrupt(self._stored, f"cannot be decompressed ({type(exc).__name__})") from exc
            self._count(len(content))
            if count > len(content):
                raise _corrupt(self._stored, "declares more rows than it has bytes")
            yield _Block(content, count, self._stored)

    def _read(self, size: int) -> bytes:
        found = self._file.read(size)
        self._stored += len(found)
        if len(found) < size:
            raise UserError("TRUNCATED_FILE", "the Avro file ends within its header or a block")
        return found

    def _number(self, *, at_end: bool = False) -> int | None:
        """A varint of the container; None at the end of the file, if it may be there."""
        text = b""
        while not text or text[-1] >= 0x80:
            if at_end and not text:
                first = self._file.read(1)
                if not first:
                    return None
                self._stored += 1
                text = first
            else:
                text += self._read(1)
            if len(text) > 10:
                raise _corrupt(self._stored, "has a broken size")
        number, after = kernel.varint(np.frombuffer(text, np.uint8), 0, len(text))
        if after < 0:
            raise _corrupt(self._stored, "has a broken size")
        return int(number)

    def _metadata(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        while count := self._number():
            if count < 0:
                self._number()
            for _ in range(abs(count)):
                key = self._text()
                if key in found:
                    raise UserError("CORRUPT_FILE", "the header of the Avro file has a key twice")
                found[key] = self._text()
        return found

    def _text(self) -> bytes:
        size = self._number() or 0
        if size < 0:
            raise UserError("CORRUPT_FILE", "the header of the Avro file is damaged: it has a negative size")
        if self._stored + size > HEADER_MAX_BYTES:
            raise UserError(
                "BAD_HEADER", f"the header of the Avro file is larger than {HEADER_MAX_BYTES} bytes", fault="too_large"
            )
        return self._read(size)

    def _count(self, decoded: int) -> None:
        """Count bytes that are decoded, before they are. Raises `UserError` FILE_TOO_LARGE, COMPRESSION_BOMB."""
        self.bytes_decoded += decoded
        if self.bytes_decoded > self._max_decoded_bytes:
            raise UserError(
                "FILE_TOO_LARGE",
                f"the file holds more than {self._max_decoded_bytes} bytes when it is decompressed",
                limit_bytes=self._max_decoded_bytes,
            )
        if self.bytes_decoded > RATIO_FREE_BYTES and self.bytes_decoded > self._max_ratio * self._stored:
            raise ratio_exceeded(self._max_ratio, self._stored, self.bytes_decoded)


@dataclass(frozen=True, slots=True)
class _Block:
    """The content of a block, its number of rows, and where it ends in the file."""

    content: bytes
    count: int
    after: int


def _some(blocks: Iterator[_Block]) -> list[_Block]:
    """The next blocks, enough for a batch; none at the end. Arrays cost as much for a hundred rows as for thousands."""
    some: list[_Block] = []
    rows = size = 0
    while rows < BATCH_ROWS and size < TOGETHER_BYTES and (block := next(blocks, None)) is not None:
        some.append(block)
        rows += block.count
        size += len(block.content)
    return some


def _corrupt(after: int, why: str) -> UserError:
    return UserError("CORRUPT_FILE", f"the Avro file is damaged: the block before byte {after} {why}")


def _check_size(size: int) -> None:
    if size > BLOCK_MAX_BYTES:
        raise UserError(
            "FILE_TOO_LARGE",
            f"the Avro file has a block of more than {BLOCK_MAX_BYTES} bytes: write it with smaller blocks",
            limit_bytes=BLOCK_MAX_BYTES,
        )


def _codec(name: bytes) -> Callable[[bytes, int], bytes]:
    """Decompresses a block, to at most so many bytes."""
    codecs = {b"null": _stored, b"deflate": _deflate, b"zstandard": _zstandard, b"snappy": _snappy}
    if (found := codecs.get(name)) is None:
        shown = name[:20].decode("ascii", errors="backslashreplace")
        read = ", ".join(codec.decode() for codec in codecs)
        raise UserError("UNKNOWN_FORMAT", f"the Avro file is compressed with {shown!r}; read are {read}", found=shown)
    return found


def _stored(block: bytes, _limit: int) -> bytes:
    return block


def _deflate(block: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    out = stream.decompress(block, limit + 1)
    _check_size(len(out))
    # Some writers leave bytes of zlib's checksum after the data.
    if not stream.eof or not zlib.adler32(out).to_bytes(CRC_BYTES, "big").startswith(stream.unused_data):
        raise ValueError("not one whole stream")
    return out


def _zstandard(block: bytes, limit: int) -> bytes:
    if not block:
        raise ValueError("no frame")
    stream, pieces, size = pa.CompressedInputStream(pa.BufferReader(block), "zstd"), [b""], 0
    while size <= limit and (piece := stream.read(INPUT_BYTES)):
        pieces.append(piece)
        size += len(piece)
    _check_size(size)
    return b"".join(pieces)


def _snappy(block: bytes, _limit: int) -> bytes:
    """Without framing: the size of the content, its parts, and a checksum of it after them."""
    content, size, shift = block[:-CRC_BYTES], 0, 0
    for byte in content[:5]:
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    _check_size(size)
    out = bytes(pa.Codec("snappy").decompress(content, decompressed_size=size, asbytes=True))
    if zlib.crc32(out) != int.from_bytes(block[-CRC_BYTES:], "big"):
        raise ValueError("wrong checksum")
    return out


class _Decoder:
    """Turns blocks into arrays of the wanted columns."""

    def __init__(self, schema: AvroSchema, wanted: list[str], count_bytes: Callable[[int], None]) -> None:
        self._schema = schema
        self._count_bytes = count_bytes
        names = schema.file.names
        indexes = [names.index(name) for name in dict.fromkeys(wanted)]
        self._slots = np.full(len(names), -1, np.int32)
        self._slots[indexes] = np.arange(len(indexes), dtype=np.int32)
        self._columns = [(self._slots[names.index(name)], names.index(name)) for name in wanted]
        self._rows = min(BATCH_ROWS, max(1, MAX_VALUES // len(indexes)))
        shape = (len(indexes), self._rows)
        self._values = np.empty(shape, np.int64)
        self._starts, self._ends = np.empty(shape, np.int32), np.empty(shape, np.int32)
        self._nulls = np.empty(shape, np.uint8)
        self._stack = np.empty((kernel.STACK, 2), np.int64)
        self._fields = np.array(schema.fields, np.int64)

    def batches(self, blocks: Sequence[_Block]) -> Iterator[list[pa.Array]]:
        """The rows of consecutive blocks, a column for each wanted name. Raises `UserError` CORRUPT_FILE."""
        data = np.frombuffer(b"".join([*(block.content for block in blocks), bytes(WORD_BYTES)]), np.uint8)
        start = filled = 0
        for block in blocks:
            at, end, left = start, start + len(block.content), block.count
            while left:
                at, rows, fault = kernel.decode(
                    data, at, end, filled, min(left, self._rows - filled), self._fields, self._slots,
                    self._schema.nodes, self._schema.links, self._values, self._starts, self._ends, self._nulls,
                    self._stack,
                )  # fmt: skip
                filled += rows
                left -= rows
                if fault != kernel.OK:
                    raise _corrupt(block.after, f"is damaged, {left} rows before its end: {kernel.FAULTS[fault]}")
                if filled == self._rows:
                    yield self._arrays(data, filled, block.after)
                    filled = 0
            if at != end:
                raise _corrupt(block.after, "holds more bytes than its rows need")
            start = end
        if filled:
            yield self._arrays(data, filled, blocks[-1].after)

    def _arrays(self, data: npt.NDArray[np.uint8], n: int, after: int) -> list[pa.Array]:
        return [self._array(data, int(slot), field, n, after) for slot, field in self._columns]

    def _array(self, block: npt.NDArray[np.uint8], slot: int, field: int, n: int, after: int) -> pa.Array:
        values, starts, ends = self._values[slot, :n], self._starts[slot, :n], self._ends[slot, :n]
        nulls, type_, node = self._nulls[slot, :n], self._schema.file.field(field).type, self._schema.flat(field)
        if pa.types.is_decimal(type_):
            return _decimals(block, starts, ends, nulls, type_, after)
        if node.kind == kernel.ENUM:
            sizes = np.array([len(symbol.encode()) for symbol in node.symbols])
            self._count_bytes(int(sizes[values].sum()))
            return pa.array(node.symbols).take(pa.array(values, mask=nulls != 0))
        if node.kind in {kernel.FIXED, kernel.BYTES}:
            return _texts(block, starts, ends, nulls, binary_uuids=node.kind == kernel.FIXED)
        if node.kind == kernel.BOOLEAN:
            return pa.array(values != 0, mask=nulls != 0)
        stored = {kernel.FLOAT: np.uint32, kernel.INT: np.int32}.get(node.kind, np.int64)
        return array_of(values.astype(stored), nulls, type_)


def _decimals(
    block: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int32],
    nulls: npt.NDArray[np.uint8],
    type_: pa.DataType,
    after: int,
) -> pa.Array:
    out = np.empty((len(nulls), type_.byte_width), np.uint8)
    fit = kernel.integers(block, starts, ends, nulls, out) == len(nulls)
    valid = pa.py_buffer(np.packbits(nulls == 0, bitorder="little"))
    array = pa.Array.from_buffers(type_, len(nulls), [valid, pa.py_buffer(out)])
    try:
        array.validate(full=fit)
    except pa.ArrowInvalid:
        fit = False
    if not fit:
        raise _corrupt(after, "or one before it has a decimal with more digits than its type")
    return array


def _texts(
    block: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int32],
    nulls: npt.NDArray[np.uint8],
    *,
    binary_uuids: bool,
) -> pa.Array:
    n = len(nulls)
    valid = pa.py_buffer(np.packbits(nulls == 0, bitorder="little")) if nulls.any() else None
    if not binary_uuids:
        buffers = strings(block, starts, ends, n).buffers()[1:]
    else:
        offsets, text = np.empty(n + 1, np.int32), np.empty(UUID_CHARACTERS * n + 1, np.uint8)
        kernel.uuids(block, starts, nulls, offsets, text)
        buffers = [pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), n, [valid, *buffers])
