"""Local files for rows that wait for the end of their import. They die with the worker: Kafka still has the records.

A file is an uncompressed Arrow file with one record batch per chunk, read by mapping it into memory.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import pyarrow as pa

from schemas.digest import Digest
from schemas.ids import Seq

PREFIX: Final = "spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChunk:
    """A chunk that only this worker has. `size`: the bytes of its rows; `offset`: that of its record."""

    seq: Seq
    digest: Digest
    size: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferedChunk(KeptChunk):
    """A chunk in memory."""

    batch: pa.RecordBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledChunks:
    """A file of the spool, and its chunks in order."""

    path: Path
    chunks: tuple[KeptChunk, ...]


class Spool:
    """The files of one worker, in a folder of its own below `temp`. Every call blocks."""

    def __init__(self, temp: Path) -> None:
        self._temp = temp

    @cached_property
    def _folder(self) -> Path:
        self._temp.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-", dir=self._temp))

    def write(self, chunks: Sequence[BufferedChunk]) -> SpooledChunks:
        """Write chunks of one group to a new file. Raises `OSError`, and leaves no file then."""
        descriptor, name = tempfile.mkstemp(suffix=".arrow", dir=self._folder)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file, pa.ipc.new_file(file, chunks[0].batch.schema) as writer:
                for chunk in chunks:
                    writer.write_batch(chunk.batch)
        except BaseException:
            path.unlink()
            raise
        kept = (KeptChunk(seq=c.seq, digest=c.digest, size=c.size, offset=c.offset) for c in chunks)
        return SpooledChunks(path=path, chunks=tuple(kept))


def read_spooled(spooled: SpooledChunks) -> list[BufferedChunk]:
    """The chunks of a file. Their rows stay in the file, which may be removed meanwhile."""
    with pa.ipc.open_file(pa.memory_map(str(spooled.path))) as reader:
        return [
            BufferedChunk(
                seq=chunk.seq, digest=chunk.digest, size=chunk.size, offset=chunk.offset, batch=reader.get_batch(number)
            )
            for number, chunk in enumerate(spooled.chunks)
        ]


def rows_of(chunks: Sequence[BufferedChunk]) -> pa.Table:
    """The rows of chunks of one group."""
    return pa.Table.from_batches([chunk.batch for chunk in chunks])
