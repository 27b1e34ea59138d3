import pyarrow as pa
import pytest

from connectors.publishing.attempts import Chunk
from connectors.publishing.chunking import Chunker
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.columns import Column, RowSchema
from schemas.rows import decode_rows
from schemas.topics import CHUNK_MAX_BYTES, ROW_MAX_BYTES
from tests.fakes.import_log import audience_attempt

IDS_ONLY = RowSchema()
WITH_NOTE = RowSchema(columns=(Column(name="note"),))


def chunker(schema: RowSchema = IDS_ONLY, partitions: int = 1) -> Chunker:
    return Chunker(audience_attempt(partitions, schema))


def batch(schema: RowSchema, first_ordinal: int, *columns: list[str]) -> pa.RecordBatch:
    ordinals = list(range(first_ordinal, first_ordinal + len(columns[0])))
    return pa.RecordBatch.from_arrays(
        [pa.array(ordinals, pa.int64()), *(pa.array(c, pa.string()) for c in columns)],
        schema=arrow_schema(schema, ordinal=True),
    )


def all_chunks(chunker: Chunker, *batches: pa.RecordBatch) -> list[Chunk]:
    return [*(c for b in batches for c in chunker.add(b)), *chunker.finish()]


def test_twelve_thousand_users_of_one_partition_are_three_chunks() -> None:
    users = [f"user-{n}" for n in range(12_000)]
    chunks = all_chunks(chunker(), batch(IDS_ONLY, 0, users[:7_000]), batch(IDS_ONLY, 7_000, users[7_000:]))
    assert [(c.seq, c.count, c.attempt) for c in chunks] == [(0, 5_000, 2), (1, 5_000, 2), (2, 2_000, 2)]
    assert [u for c in chunks for u in decode_rows(c.rows).column("user_id").to_pylist()] == users


def test_users_follow_kafkas_default_partitioner() -> None:
    # murmur2("21") = -973932308, murmur2("foobar") = -790332482 (apache/kafka, UtilsTest.testMurmur2)
    chunks = all_chunks(chunker(partitions=8), batch(IDS_ONLY, 0, ["21", "foobar"]))
    assert [(c.partition, decode_rows(c.rows).column("user_id").to_pylist()) for c in chunks] == [
        ((-973932308 & 0x7FFFFFFF) % 8, ["21"]),
        ((-790332482 & 0x7FFFFFFF) % 8, ["foobar"]),
    ]


def test_empty_input_makes_no_chunks() -> None:
    assert all_chunks(chunker(partitions=3), batch(IDS_ONLY, 0, [])) == []


def test_largest_rows_fill_a_chunk_by_one_or_two() -> None:
    note = "x" * (ROW_MAX_BYTES - 20)
    chunks = all_chunks(chunker(WITH_NOTE), batch(WITH_NOTE, 0, [f"u{n}" for n in range(5)], [note] * 5))
    assert sum(c.count for c in chunks) == 5
    assert max(c.count for c in chunks) <= 2
    assert max(len(CODEC.encode(c)) for c in chunks) <= CHUNK_MAX_BYTES


def test_large_rows_are_cut_by_bytes_before_five_thousand() -> None:
    chunks = all_chunks(chunker(WITH_NOTE), batch(WITH_NOTE, 0, [f"u{n}" for n in range(2_000)], ["x" * 1_000] * 2_000))
    sizes = [len(CODEC.encode(c)) for c in chunks]
    assert [c.seq for c in chunks] == list(range(len(chunks)))
    assert sum(c.count for c in chunks) == 2_000
    assert all(0.9 * CHUNK_MAX_BYTES < size <= CHUNK_MAX_BYTES for size in sizes[:-1])


def test_oversized_row_is_refused_not_dropped() -> None:
    with pytest.raises(ValueError, match="does not fit into a chunk"):
        all_chunks(chunker(WITH_NOTE), batch(WITH_NOTE, 0, ["u"], ["x" * CHUNK_MAX_BYTES]))


def test_rows_of_other_columns_are_refused() -> None:
    with pytest.raises(KeyError, match="note"):
        all_chunks(chunker(WITH_NOTE), batch(IDS_ONLY, 0, ["u"]))


def test_carried_rows_do_not_keep_their_batch_alive() -> None:
    cut = chunker(partitions=1)
    before = pa.total_allocated_bytes()
    for n in range(200):
        rows = batch(IDS_ONLY, n * 10, [f"user-{n}-{k}" for k in range(10)])
        # 10 rows of a batch that occupies 64 KiB more memory
        padded = pa.concat_batches([rows, batch(IDS_ONLY, 0, ["x" * 65_536])]).slice(0, 10)
        assert list(cut.add(padded)) == []
        del rows, padded
    assert pa.total_allocated_bytes() - before < 4 * 65_536
