"""Decodes bytes of an import topic to a message and its rows, or to the reason why they are invalid."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from faust.types import TP

from schemas.arrow import arrow_schema, schema_of
from schemas.codec import CODEC, UndecodableError
from schemas.columns import Column, RowSchema
from schemas.dead_letters import dead_letter
from schemas.ids import Partition
from schemas.messages import DeadLetter, ImportAborted, ImportEnded, ImportMessage, ImportStarted, UserChunk
from schemas.row_digest import digest_rows
from schemas.rows import chunk_fault, decode_rows
from segmentation.sorting import sort_strings
from streams.lanes import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One record as a lane delivered it."""

    lane: Lane
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()

    def dead_letter(self, reason: str, now_us: int) -> DeadLetter:
        """The record as a dead letter."""
        return dead_letter(
            topic=self.lane.tp.topic,
            partition=Partition(self.lane.tp.partition),
            offset=self.offset,
            key=self.key,
            value=self.value,
            reason=reason,
            now_us=now_us,
        )


def decode_import_message(value: bytes | None, tp: TP) -> ImportMessage:
    """Decode a record. Raises `UndecodableError`, also for a message that belongs to another topic or partition."""
    message = CODEC.decode(value)
    if not isinstance(message, ImportStarted | UserChunk | ImportEnded | ImportAborted):
        raise UndecodableError(f"a {type(message).__name__} does not belong in {tp.topic}")
    if message.partition != tp.partition:
        raise UndecodableError(
            f"{type(message).__name__} for partition {message.partition} in partition {tp.partition}"
        )
    return message


def rows_or_fault(chunk: UserChunk) -> pa.RecordBatch | str:
    """The rows of a chunk, or the reason why they contradict the chunk's metadata."""
    try:
        batch = decode_rows(chunk.rows)
        fault = chunk_fault(chunk, batch, schema_of(batch.schema))
    except (pa.ArrowException, StopIteration, OSError, ValueError) as exc:
        return f"broken rows: {type(exc).__name__}: {exc}"[:500]
    return batch if fault is None else fault


def warm_up() -> None:
    """Load the compiled kernels, so that the first import does not wait for them."""
    schema = RowSchema(columns=(Column(name="n", type="long"),))
    batch = pa.record_batch({"user_id": ["b", "a"], "n": [1, None]}, schema=arrow_schema(schema))
    digest_rows(batch, schema)
    sort_strings(batch.column(0))
