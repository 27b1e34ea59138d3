"""Staged objects that are missing or damaged are never taken for whole."""

import pyarrow as pa
import pytest

from schemas.codec import CODEC
from schemas.errors import FatalError
from schemas.ids import Attempt, Partition, Seq
from schemas.layout import RunKey, intent_key, result_key
from schemas.messages import ImportStarted
from schemas.rows import decode_rows
from schemas.topics import IMPORTS
from segmentation.merging import RunSelection, StagedRun, select_each_chunk_once
from segmentation.progress import GroupKey, Progress
from streams.merges import _stored_result
from streams.runs import encode_run, find_runs, read_footer, read_rows
from streams.spool import BufferedChunk
from streams.staged import StagedState
from tests.fakes.importer import make_import, users
from tests.fakes.object_store import InMemoryObjectStore
from tests.raising import code_of

IMPORTED = make_import("0" * 26, users(100), partitions=1, chunk_rows=10)
GROUP = GroupKey(import_id=IMPORTED.import_id, attempt=Attempt(1), partition=Partition(0))
RUN = RunKey(
    import_id=IMPORTED.import_id,
    attempt=Attempt(1),
    partition=Partition(0),
    first_seq=0,  # type: ignore[arg-type]  # a literal
    last_seq=1,  # type: ignore[arg-type]
    content_hash="0" * 16,
)


@pytest.fixture
def store() -> InMemoryObjectStore:
    return InMemoryObjectStore()


def test_run_removed_during_a_merge_ends_it(store: InMemoryObjectStore) -> None:
    gone = StagedRun(key=RUN, chunks={}, row_bytes=0)
    take = RunSelection(run=gone, seqs=frozenset())
    assert code_of(FatalError, lambda: list(read_rows(store, "staging", [take]))) == "STAGING_LOST"


@pytest.mark.parametrize(
    "body",
    [b"no Arrow file at all", b"ARROW1 cut in the middle", b"ARROW1\0\0 a footer that lies \xff\0\0\0ARROW1"],
    ids=["text", "cut", "lying footer"],
)
def test_non_arrow_run_is_damaged_not_empty(store: InMemoryObjectStore, body: bytes) -> None:
    store.put_new("staging", str(RUN), body)
    assert code_of(FatalError, lambda: read_footer(store, "staging", RUN)) == "STAGING_DAMAGED"
    assert code_of(FatalError, lambda: StagedState(store, "staging").resume(GROUP)) == "STAGING_DAMAGED"


def test_empty_object_of_a_killed_writer_counts_as_absent(store: InMemoryObjectStore) -> None:
    """Its rows are not acknowledged and come again; if an acknowledged run is empty now, the digests show it."""
    result = result_key(GROUP.import_id, GROUP.attempt, GROUP.partition)
    for key in (str(RUN), result):
        store.put_new("staging", key, b"")
    found = StagedState(store, "staging").resume(GROUP)
    assert found == Progress.resume(GROUP, staged=[])
    run, body = run_of_the_import()
    assert store.put_new("staging", str(run), body)


def run_of_the_import() -> tuple[RunKey, bytes]:
    """All chunks of the import as one run."""
    chunks = IMPORTED.chunks()
    return encode_run(
        GROUP,
        [BufferedChunk(seq=c.seq, digest=c.digest, batch=decode_rows(c.rows), size=1, offset=0) for c in chunks],
    )


def test_run_returns_only_the_chosen_chunks(store: InMemoryObjectStore) -> None:
    key, body = run_of_the_import()
    store.put_new("staging", str(key), body)
    (run,) = find_runs(store, "staging", [str(key)])
    assert list(run.chunks) == list(range(10))
    table = pa.concat_tables(read_rows(store, "staging", [RunSelection(run=run, seqs=frozenset({Seq(2), Seq(7)}))]))
    assert table.column("_ordinal").to_pylist() == [*range(20, 30), *range(70, 80)]


def test_flipped_byte_is_damage_anywhere() -> None:
    key, body = run_of_the_import()
    for at in range(0, len(body), 13):
        store = InMemoryObjectStore()
        store.put_new("staging", str(key), body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :])
        with pytest.raises(FatalError, match="STAGING_DAMAGED"):
            list(read_rows(store, "staging", select_each_chunk_once(find_runs(store, "staging", [str(key)]))))


STARTED = CODEC.encode(next(m for m in IMPORTED.messages if isinstance(m, ImportStarted)))


@pytest.mark.parametrize("body", [STARTED, b"rubbish", STARTED[:-1]], ids=["another message", "rubbish", "cut"])
def test_malformed_intent_is_damage(store: InMemoryObjectStore, body: bytes) -> None:
    key = intent_key(IMPORTS, Partition(0), IMPORTED.import_id, Attempt(1))
    store.put_new("staging", key, body)
    assert (
        code_of(FatalError, lambda: StagedState(store, "staging").intents(IMPORTS, Partition(0))) == "STAGING_DAMAGED"
    )


@pytest.mark.parametrize("body", [STARTED, b"rubbish"], ids=["another message", "rubbish"])
def test_malformed_result_is_damage(body: bytes) -> None:
    assert code_of(FatalError, lambda: _stored_result("imports/x/result.avro", body)) == "STAGING_DAMAGED"
