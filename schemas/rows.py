"""Rows of a chunk as bytes: an Arrow IPC stream with exactly one record batch."""

import struct
from typing import Final

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.messages import EventChunk, ExportChunk, ProfileChunk, UserChunk
from schemas.row_digest import digest_rows

MESSAGE_HEADER: Final = 2
BATCH_COMPRESSION: Final = 3
"""Indices of two fields in the tables of Arrow's metadata."""


def encode_rows(batch: pa.RecordBatch) -> bytes:
    """Arrow IPC stream of one batch; uncompressed, since the producer compresses whole record sets."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def decode_rows(data: bytes) -> pa.RecordBatch:
    """The batch of `encode_rows`, sharing memory with `data`. Raises `pa.ArrowInvalid` on broken bytes.

    The batch takes no more memory than its bytes: compressed data is refused unread. And no bytes stay unread: a second
    batch, or bytes after the end, are refused.
    """
    try:
        _check_plain(data)
    except struct.error as exc:
        raise pa.ArrowInvalid(f"the metadata of the rows is broken: {exc}") from exc
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        batch = reader.read_next_batch()
    if len(set(batch.schema.names)) < batch.num_columns:
        raise pa.ArrowInvalid("two columns of the rows have the same name")
    batch.validate(full=True)
    return batch


def _check_plain(data: bytes) -> None:
    """Check for one batch without the field `compression`: Arrow would decompress it before any check.

    https://github.com/apache/arrow/blob/main/format/Message.fbs: tables Message and RecordBatch. Raises struct.error
    if metadata is truncated.
    """
    stream, batches = pa.BufferReader(data), 0
    for message in pa.ipc.MessageReader.open_stream(stream):
        if message.type == "schema":
            continue
        metadata = message.metadata.to_pybytes()
        header = _field(metadata, int.from_bytes(metadata[:4], "little"), MESSAGE_HEADER)
        batch = header + int.from_bytes(metadata[header : header + 4], "little")
        if message.type != "record batch" or _field(metadata, batch, BATCH_COMPRESSION):
            raise pa.ArrowInvalid("the rows are compressed or dictionary-encoded, which a chunk does not allow")
        batches += 1
    if batches > 1 or stream.tell() < len(data):
        raise pa.ArrowInvalid(f"the rows are {batches} batches, or more data follows; a chunk has one batch")


def _field(data: bytes, table: int, index: int) -> int:
    """Position of a field in a flatbuffer table; 0 if absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    entry = 4 + 2 * index
    offset = struct.unpack_from("<H", data, vtable + entry)[0] if entry < size else 0
    return table + offset if offset else 0


Chunk = UserChunk | EventChunk | ProfileChunk | ExportChunk


def chunk_fault(chunk: Chunk, batch: pa.RecordBatch, schema: RowSchema) -> str | None:
    """The mismatch between a decoded chunk and its metadata: columns, count and digest. None if they agree."""
    expected = arrow_schema(schema, ordinal=not isinstance(chunk, ExportChunk))
    if not batch.schema.equals(expected):
        return f"columns are {batch.schema.names}, not {expected.names}"
    if batch.num_rows != chunk.count:
        return f"{batch.num_rows} rows, but the chunk declares {chunk.count}"
    actual = digest_rows(batch, schema)
    return None if actual == chunk.digest else f"digest {actual}, but the chunk declares {chunk.digest}"
