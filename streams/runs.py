"""Staged runs: Parquet files of some chunks of one group. Rows keep their seq and their ordinal.

Columns: _seq int64, _ordinal int64, user_id, then those of the import, in order of seq. The footer lists the chunks
(`muster.chunks`: JSON [[seq, digest], ...]) and the bytes that the rows take in memory (`muster.row_bytes`).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.arrow import ARROW_TYPES
from schemas.columns import ORDINAL, USER_ID, Column, RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import Seq
from schemas.layout import RunKey
from segmentation.merging import RunTake, StagedRun
from segmentation.progress import GroupKey
from streams.staging import ObjectStore

SEQ: Final = "_seq"
_CHUNKS: Final = b"muster.chunks"
_ROW_BYTES: Final = b"muster.row_bytes"
_TAIL_BYTES: Final = 64 * 1024  # holds the footer of a run with a thousand chunks
_PARQUET_MAGIC: Final = b"PAR1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferedChunk:
    """A chunk in memory. `size` is what it takes there, in bytes; `offset` is where its record stands."""

    seq: Seq
    digest: Digest
    batch: pa.RecordBatch
    size: int
    offset: int


def encode_run(key: GroupKey, chunks: Sequence[BufferedChunk]) -> tuple[RunKey, bytes]:
    """Name and bytes of the run of some chunks; the same chunks make the same run."""
    ordered = sorted(chunks, key=lambda c: c.seq)
    table = pa.Table.from_batches([c.batch for c in ordered])
    seqs = np.repeat([c.seq for c in ordered], [c.batch.num_rows for c in ordered]).astype(np.int64)
    table = table.add_column(0, pa.field(SEQ, pa.int64(), nullable=False), pa.array(seqs))
    footer = {
        _CHUNKS: json.dumps([[c.seq, str(c.digest)] for c in ordered]),
        _ROW_BYTES: str(table.nbytes),
    }
    sink = pa.BufferOutputStream()
    # Speed matters more than size for what lives for seconds: ids do not compress, dictionaries only cost.
    pq.write_table(
        table.replace_schema_metadata(footer), sink, compression="lz4", use_dictionary=False, write_statistics=False
    )
    body = sink.getvalue().to_pybytes()
    run = RunKey(
        import_id=key.import_id,
        attempt=key.attempt,
        partition=key.partition,
        first_seq=ordered[0].seq,
        last_seq=ordered[-1].seq,
        content_hash=sha256(body).hexdigest()[:16],
    )
    return run, body


def read_footer(store: ObjectStore, bucket: str, key: RunKey) -> StagedRun | None:
    """What a run holds, from its footer alone; none when the run is gone."""
    tail = store.get_tail(bucket, str(key), _TAIL_BYTES)
    if tail is None:
        return None
    if (needed := _footer_bytes(tail, key)) > len(tail):
        tail = store.get_tail(bucket, str(key), needed)
        if tail is None:
            return None
    return _described(key, pq.read_metadata(pa.BufferReader(tail)).metadata or {})


def find_runs(store: ObjectStore, bucket: str, keys: Sequence[str]) -> list[StagedRun]:
    """The runs among some keys; those that are gone by now are left out."""
    runs = (read_footer(store, bucket, run) for run in map(RunKey.parse, keys) if run is not None)
    return [run for run in runs if run is not None]


def read_rows(store: ObjectStore, bucket: str, takes: Sequence[RunTake]) -> Iterator[pa.Table]:
    """Rows of the chosen chunks, one run at a time, without _seq. Raises `FatalError` STAGING_LOST."""
    for take in takes:
        body = store.get(bucket, str(take.run.key))
        if body is None:
            raise FatalError("STAGING_LOST", f"run {take.run.key} was removed under a merge", key=str(take.run.key))
        table = pq.read_table(pa.BufferReader(body)).replace_schema_metadata(None)
        if not take.whole:
            table = table.filter(pc.is_in(table.column(SEQ), value_set=pa.array(sorted(take.seqs), pa.int64())))
        yield table.drop_columns([SEQ])


def schema_of(rows: pa.Schema) -> RowSchema:
    """Schema of the rows of a chunk ([_ordinal, user_id, columns...]). Raises ValueError for types we do not have.

    It is not taken from the ImportStarted message, which may have been acknowledged by an earlier owner. A chunk's
    digest is bound to the schema's id, and so is the end marker's: a wrong guess would not reconcile.
    """
    types = {arrow: name for name, arrow in ARROW_TYPES.items()}
    columns = []
    for field in rows:
        if field.name not in {ORDINAL, USER_ID}:
            if field.type not in types:
                raise ValueError(f"column {field.name} is a {field.type}")
            columns.append(Column(name=field.name, type=types[field.type]))
    return RowSchema(columns=tuple(columns))


def _footer_bytes(tail: bytes, key: RunKey) -> int:
    if tail[-4:] != _PARQUET_MAGIC:
        raise FatalError("STAGING_DAMAGED", f"run {key} is no Parquet file", key=str(key))
    return int.from_bytes(tail[-8:-4], "little") + 8


def _described(key: RunKey, metadata: dict[bytes, bytes]) -> StagedRun:
    if _CHUNKS not in metadata:
        raise FatalError("STAGING_DAMAGED", f"run {key} does not list its chunks", key=str(key))
    return StagedRun(
        key=key,
        chunks={Seq(seq): Digest.parse(digest) for seq, digest in json.loads(metadata[_CHUNKS])},
        row_bytes=int(metadata[_ROW_BYTES]),
    )
