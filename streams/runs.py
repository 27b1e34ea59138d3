"""Staged runs: Arrow IPC files with chunks of one group, one record batch per chunk, in order of seq.

Columns: _ordinal int64, user_id, then those of the import. The footer alone describes a run: it lists the chunks in
that order (`muster.chunks`: JSON [[seq, digest], ...]) and the bytes of the rows in memory (`muster.row_bytes`). Arrow
rather than Parquet, because files that live for seconds are written in two thirds of the time and read in a third.
"""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from typing import Final, TypeVar

import pyarrow as pa

from schemas.codec import CODEC, UndecodableError
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import Seq
from schemas.layout import RunKey
from segmentation.merging import RunSelection, StagedRun
from segmentation.progress import GroupKey
from streams.spool import BufferedChunk
from streams.staging import StagingStore

MessageT = TypeVar("MessageT")
_CHUNKS: Final = b"muster.chunks"
_ROW_BYTES: Final = b"muster.row_bytes"
_TAIL_BYTES: Final = 64 * 1024  # holds the footer of a run with some hundred chunks
_MAGIC: Final = b"ARROW1"
_LENGTH_BYTES: Final = 4


def encode_run(key: GroupKey, chunks: Sequence[BufferedChunk]) -> tuple[RunKey, bytes]:
    """Name and bytes of a run with these chunks; the same chunks make the same run."""
    ordered = sorted(chunks, key=lambda c: c.seq)
    footer = {
        _CHUNKS: json.dumps([[c.seq, str(c.digest)] for c in ordered]),
        _ROW_BYTES: str(sum(c.batch.nbytes for c in ordered)),
    }
    sink = BytesIO()  # whose bytes need no copy
    # Half the bytes, in less time than the store needs to take the other half.
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    with pa.ipc.new_file(sink, ordered[0].batch.schema.with_metadata(footer), options=options) as writer:
        for chunk in ordered:
            writer.write_batch(chunk.batch)
    body = sink.getvalue()
    run = RunKey(
        import_id=key.import_id,
        attempt=key.attempt,
        partition=key.partition,
        first_seq=ordered[0].seq,
        last_seq=ordered[-1].seq,
        content_hash=_content_hash(body),
    )
    return run, body


def read_footer(store: StagingStore, bucket: str, key: RunKey) -> StagedRun | None:
    """The contents of a run, from its footer alone. None if the run is gone. Raises `FatalError` STAGING_DAMAGED."""
    tail = store.get_tail(bucket, str(key), _TAIL_BYTES)
    if tail is None:
        return None
    if (needed := _footer_bytes(tail, key)) > len(tail):
        tail = store.get_tail(bucket, str(key), needed)
        if tail is None:
            return None
    return _described(key, _opened(tail, key).schema.metadata or {})


def find_runs(store: StagingStore, bucket: str, keys: Sequence[str]) -> list[StagedRun]:
    """The runs among these keys, without those that have been removed meanwhile."""
    runs = (read_footer(store, bucket, run) for run in map(RunKey.parse, keys) if run is not None)
    return [run for run in runs if run is not None]


def read_rows(store: StagingStore, bucket: str, selections: Sequence[RunSelection]) -> Iterator[pa.Table]:
    """Rows of the chosen chunks, one chunk at a time. Raises `FatalError` STAGING_LOST and STAGING_DAMAGED.

    No run stays in memory while the next ones are read, and one is decompressed as it is read.
    """
    return (table for selection in selections for table in _rows(store, bucket, selection))


def _rows(store: StagingStore, bucket: str, selection: RunSelection) -> Iterator[pa.Table]:
    key = selection.run.key
    body = store.get(bucket, str(key))
    if body is None:
        raise FatalError("STAGING_LOST", f"run {key} was removed during a merge", key=str(key))
    if _content_hash(body) != key.content_hash:
        raise _damaged(key, "its bytes differ from those staged")
    file = _opened(body, key)
    for number, seq in enumerate(selection.run.chunks):
        if seq in selection.seqs:
            yield pa.Table.from_batches([file.get_batch(number)]).replace_schema_metadata(None)


def _content_hash(body: bytes) -> str:
    return sha256(body).hexdigest()[:16]


def _footer_bytes(tail: bytes, key: RunKey) -> int:
    if not tail.endswith(_MAGIC):
        raise _damaged(key, "it is not an Arrow file")
    end = len(tail) - len(_MAGIC)
    return int.from_bytes(tail[end - _LENGTH_BYTES : end], "little") + _LENGTH_BYTES + len(_MAGIC)


def _opened(file_or_tail: bytes, key: RunKey) -> pa.RecordBatchFileReader:
    """Open a run; only the footer, at the end, is read."""
    try:
        return pa.ipc.open_file(pa.BufferReader(file_or_tail))
    except (pa.ArrowException, OSError) as exc:
        raise _damaged(key, str(exc)) from exc


def _damaged(key: RunKey, why: str) -> FatalError:
    return FatalError("STAGING_DAMAGED", f"run {key} cannot be read: {why}", key=str(key))


def _described(key: RunKey, metadata: dict[bytes, bytes]) -> StagedRun:
    if _CHUNKS not in metadata:
        raise _damaged(key, "it does not list its chunks")
    try:
        chunks = {Seq(seq): Digest.parse(digest) for seq, digest in json.loads(metadata[_CHUNKS])}
        return StagedRun(key=key, chunks=chunks, row_bytes=int(metadata[_ROW_BYTES]))
    except (ValueError, KeyError) as exc:
        raise _damaged(key, str(exc)) from exc


def stored_message(key: str, body: bytes, kinds: type[MessageT] | tuple[type[MessageT], ...]) -> MessageT:
    """The message in a staged object, of one of these kinds. Raises `FatalError` STAGING_DAMAGED."""
    try:
        message = CODEC.decode(body)
    except UndecodableError as exc:
        raise FatalError("STAGING_DAMAGED", f"{key} cannot be read: {exc}", key=key) from exc
    if not isinstance(message, kinds):
        raise FatalError("STAGING_DAMAGED", f"{key} holds a {type(message).__name__}", key=key)
    return message
