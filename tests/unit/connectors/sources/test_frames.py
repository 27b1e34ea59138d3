"""The pipe from the parsing child: batches arrive unchanged, broken ones not at all."""

import os
import threading
import tracemalloc
from itertools import pairwise

import pyarrow as pa
import pytest

from connectors.sources.frames import (
    FRAME_AT_ONCE_BYTES,
    FRAME_MAX_BYTES,
    ORDINAL_BYTES,
    BatchWriter,
    FrameKind,
    FrameReader,
    read_batch,
    write_frame,
)
from schemas.columns import ORDINAL, USER_ID

SCHEMA = pa.schema(
    [
        pa.field(ORDINAL, pa.int64(), nullable=False),
        pa.field(USER_ID, pa.string(), nullable=False),
        pa.field("n", pa.int64()),
    ]
)


def batch_of(ordinals: list[int]) -> pa.RecordBatch:
    rows = [{ORDINAL: k, USER_ID: f"user-{k}", "n": None if k % 3 else k} for k in ordinals]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def through_the_pipe(*batches: pa.RecordBatch) -> list[bytearray]:
    read_fd, write_fd = os.pipe()
    try:
        writer, reader, payloads = BatchWriter(write_fd), FrameReader(read_fd), []
        for batch in batches:
            writer.write(batch)
            frame = reader.next_frame(1)
            assert frame is not None
            assert frame[0] is FrameKind.ACCEPTED
            payloads.append(frame[1])
        assert reader.next_frame(0) is None
        return payloads
    finally:
        os.close(read_fd)
        os.close(write_fd)


@pytest.mark.parametrize("ordinals", [[0], [7], [0, 1, 2], [5, 6, 7, 8], [1, 3], [0, 2, 3, 9], [4, 5, 7]])
def test_batch_round_trips_through_frames(ordinals: list[int]) -> None:
    batch = batch_of(ordinals)
    (payload,) = through_the_pipe(batch)
    assert read_batch(payload, SCHEMA).equals(batch)


def test_batches_with_and_without_ordinal_gaps_alternate() -> None:
    batches = [batch_of([0, 1]), batch_of([3, 5]), batch_of([6, 7]), batch_of([9, 11])]
    assert [read_batch(payload, SCHEMA) for payload in through_the_pipe(*batches)] == batches


def test_batch_slice_is_sent_without_its_parent() -> None:
    batch = batch_of([0, 1, 2, 3, 4, 5])
    (whole,), (part,) = through_the_pipe(batch), through_the_pipe(batch.slice(2, 3))
    assert read_batch(part, SCHEMA).equals(batch_of([2, 3, 4]))
    assert len(part) < len(whole)


def test_consecutive_ordinals_take_no_bytes_per_row() -> None:
    sizes = [len(through_the_pipe(batch_of(list(range(0, n * step, step))))[0]) for n, step in [(800, 1), (800, 2)]]
    (saved,) = (larger - smaller for smaller, larger in pairwise(sizes))
    assert saved > 800 * ORDINAL_BYTES


def test_a_batch_whose_offsets_point_outside_is_refused() -> None:
    (payload,) = through_the_pipe(batch_of([0, 1, 2]))
    offsets = b"".join(k.to_bytes(4, "little") for k in (0, 6, 12, 18))
    at = payload.index(offsets)
    payload[at + 12 : at + 16] = (1 << 20).to_bytes(4, "little")
    with pytest.raises(pa.ArrowException):
        read_batch(payload, SCHEMA)


def test_truncated_frame_is_refused() -> None:
    with pytest.raises(pa.ArrowException):
        read_batch(bytearray(ORDINAL_BYTES - 1), SCHEMA)


def test_declared_frame_size_reserves_no_memory() -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, bytes([FrameKind.ACCEPTED]) + FRAME_MAX_BYTES.to_bytes(8, "little") + b"few bytes")
    tracemalloc.start()
    try:
        assert FrameReader(read_fd).next_frame(0) is None
        assert tracemalloc.get_traced_memory()[1] < 2 * FRAME_AT_ONCE_BYTES
    finally:
        tracemalloc.stop()
        os.close(read_fd)
        os.close(write_fd)


@pytest.mark.parametrize("more", [-1, 0, 1, FRAME_AT_ONCE_BYTES, 2 * FRAME_AT_ONCE_BYTES + 1])
def test_large_frame_round_trips(more: int) -> None:
    payload = os.urandom(1024) * ((FRAME_AT_ONCE_BYTES + more) // 1024) + b"x" * (more % 1024)
    read_fd, write_fd = os.pipe()
    writer = threading.Thread(target=write_frame, args=(write_fd, FrameKind.REJECTS, payload))
    writer.start()
    try:
        reader = FrameReader(read_fd)
        while (frame := reader.next_frame(1)) is None:
            pass
        assert frame == (FrameKind.REJECTS, bytearray(payload))
    finally:
        writer.join()
        os.close(read_fd)
        os.close(write_fd)
