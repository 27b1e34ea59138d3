"""Rows of a chunk as bytes: an Arrow IPC stream with exactly one record batch."""

import pyarrow as pa

from schemas.columns import RowSchema
from schemas.messages import EventChunk, ExportChunk, ProfileChunk, UserChunk
from schemas.row_digest import digest_rows


def encode_rows(batch: pa.RecordBatch) -> bytes:
    """Arrow IPC stream of one batch; uncompressed, since the producer compresses whole record sets."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def decode_rows(data: bytes) -> pa.RecordBatch:
    """The batch of `encode_rows`, sharing memory with `data`. Raises `pa.ArrowInvalid` on broken bytes."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        batch = reader.read_next_batch()
    batch.validate(full=True)
    return batch


Chunk = UserChunk | EventChunk | ProfileChunk | ExportChunk


def chunk_fault(chunk: Chunk, batch: pa.RecordBatch, schema: RowSchema) -> str | None:
    """Why a decoded chunk is not what it says it is, or none: columns, count and digest are all compared."""
    expected = schema.arrow(ordinal=not isinstance(chunk, ExportChunk))
    if not batch.schema.equals(expected):
        return f"columns are {batch.schema.names}, not {expected.names}"
    if batch.num_rows != chunk.count:
        return f"{batch.num_rows} rows, the chunk says {chunk.count}"
    actual = digest_rows(batch, schema)
    return None if actual == chunk.digest else f"digest {actual}, the chunk says {chunk.digest}"
