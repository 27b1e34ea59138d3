"""However the rows are batched, the chunks of all partitions are exactly the rows of the input."""

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from connectors.publishing.attempts import Chunk
from connectors.publishing.chunking import Chunker
from schemas.arrow import arrow_schema
from schemas.chunk_rule import ChunkCounter, ChunkCounts
from schemas.codec import CODEC
from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.partitioning import partition_of
from schemas.row_digest import digest_rows
from schemas.rows import chunk_fault, decode_rows
from tests.fakes.import_log import audience_attempt

SCHEMA = RowSchema(
    columns=(Column(name="country"), Column(name="age", type="long"), Column(name="vip", type="boolean"))
)
ARROW = arrow_schema(SCHEMA, ordinal=True)
MAX_BYTES = 6_000

text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
rows_lists = st.lists(
    st.tuples(
        text,
        st.none() | st.text(st.characters(codec="utf-8"), max_size=200),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
    ),
    max_size=80,
)


def batches_of(rows: list[tuple[object, ...]], cuts: list[int]) -> list[pa.RecordBatch]:
    """The rows as record batches, cut at the positions; each is a slice of one larger batch."""
    columns = [list(range(len(rows))), *([row[k] for row in rows] for k in range(4))]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, ARROW, strict=True)]
    whole = pa.RecordBatch.from_arrays(arrays, schema=ARROW)
    edges = [0, *sorted({cut % (len(rows) + 1) for cut in cuts}), len(rows)]
    return [whole.slice(a, b - a) for a, b in pairwise(edges)]


def chunks_of(batches: list[pa.RecordBatch], partitions: int, max_rows: int, max_bytes: int) -> list[Chunk]:
    chunker = Chunker(audience_attempt(partitions, SCHEMA), max_rows=max_rows, max_bytes=max_bytes)
    chunks = [chunk for batch in batches for chunk in chunker.add(batch)]
    chunks += chunker.finish()
    assert chunker.chunks == tuple(sum(c.partition == p for c in chunks) for p in range(partitions))
    assert sum(digest.count for digest in chunker.digests) == sum(chunk.count for chunk in chunks)
    return chunks


@given(rows_lists, st.lists(st.integers(0, 80), max_size=6), st.integers(1, 5), st.integers(1, 9))
def test_chunks_contain_exactly_the_input_rows(
    rows: list[tuple[object, ...]], cuts: list[int], partitions: int, max_rows: int
) -> None:
    batches = batches_of(rows, cuts)
    chunks = chunks_of(batches, partitions, max_rows, MAX_BYTES)

    sent = [row for chunk in chunks for row in decode_rows(chunk.rows).to_pylist()]
    assert sorted(sent, key=lambda r: r["_ordinal"]) == [row for batch in batches for row in batch.to_pylist()]
    for chunk in chunks:
        decoded = decode_rows(chunk.rows)
        assert chunk_fault(chunk, decoded, SCHEMA) is None
        assert 1 <= chunk.count <= max_rows
        assert len(CODEC.encode(chunk)) <= MAX_BYTES
        assert {partition_of(user, partitions) for user in decoded.column("user_id").to_pylist()} == {chunk.partition}
    for partition in range(partitions):
        mine = [chunk for chunk in chunks if chunk.partition == partition]
        assert [chunk.seq for chunk in mine] == list(range(len(mine)))
        ordinals = [o for chunk in mine for o in decode_rows(chunk.rows).column("_ordinal").to_pylist()]
        assert ordinals == sorted(ordinals)
    total = Digest.total(SCHEMA.schema_id, (chunk.digest for chunk in chunks))
    assert total == Digest.total(SCHEMA.schema_id, (digest_rows(batch, SCHEMA) for batch in batches))


@given(rows_lists, st.lists(st.integers(0, 80), max_size=6), st.integers(1, 5), st.integers(1, 30), st.integers(0, 99))
def test_chunks_are_counted_as_they_are_cut(
    rows: list[tuple[object, ...]], cuts: list[int], partitions: int, max_rows: int, overhead: int
) -> None:
    batches = batches_of(rows, cuts)
    chunks = chunks_of(batches, partitions, max_rows, MAX_BYTES - overhead)
    counts = ChunkCounts.none(partitions, overhead_bytes=overhead)
    for batch in batches:  # one counter for each: a count goes on where another has ended
        counter = ChunkCounter(SCHEMA, counts, max_rows=max_rows, max_bytes=MAX_BYTES)
        counter.add(batch)
        counts = counter.counts
    assert counts.closed().full == tuple(sum(c.partition == p for c in chunks) for p in range(partitions))


@given(rows_lists, st.lists(st.integers(0, 80), max_size=6))
def test_chunks_do_not_depend_on_batch_size(rows: list[tuple[object, ...]], cuts: list[int]) -> None:
    together = chunks_of(batches_of(rows, []), 3, 4, MAX_BYTES)
    apart = chunks_of(batches_of(rows, cuts), 3, 4, MAX_BYTES)

    def content(chunks: list[Chunk]) -> list[tuple[object, ...]]:
        return sorted((c.partition, c.seq, c.count, str(c.digest), decode_rows(c.rows).to_pydict()) for c in chunks)

    assert content(together) == content(apart)
