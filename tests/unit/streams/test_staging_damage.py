"""Staged objects that are gone or are not what they should be: never taken for whole."""

from collections.abc import Callable

import pytest

from schemas.codec import CODEC
from schemas.errors import FatalError
from schemas.ids import Attempt, Partition
from schemas.layout import RunKey, intent_key
from schemas.messages import ImportStarted
from schemas.topics import IMPORTS
from segmentation.merging import RunTake, StagedRun
from segmentation.progress import GroupKey
from streams.runs import read_footer, read_rows
from streams.staged import StagedState
from tests.fakes.importer import make_import, users
from tests.fakes.object_store import InMemoryObjectStore

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


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(FatalError) as caught:
        act()
    return caught.value.code


def test_a_run_that_is_removed_under_a_merge_ends_the_merge(store: InMemoryObjectStore) -> None:
    gone = StagedRun(key=RUN, chunks={}, row_bytes=0)
    take = RunTake(run=gone, seqs=frozenset())
    assert code_of(lambda: list(read_rows(store, "staging", [take]))) == "STAGING_LOST"


@pytest.mark.parametrize("body", [b"", b"no Parquet file at all", b"PAR1 cut in the middle"])
def test_a_run_that_is_no_parquet_file_is_damage_and_not_an_empty_run(store: InMemoryObjectStore, body: bytes) -> None:
    store.put_new("staging", str(RUN), body)
    assert code_of(lambda: read_footer(store, "staging", RUN)) == "STAGING_DAMAGED"
    assert code_of(lambda: StagedState(store, "staging").resume(GROUP)) == "STAGING_DAMAGED"


def test_an_intent_that_holds_another_message_is_damage(store: InMemoryObjectStore) -> None:
    key = intent_key(IMPORTS, Partition(0), IMPORTED.import_id, Attempt(1))
    started = next(m for m in IMPORTED.messages if isinstance(m, ImportStarted))
    store.put_new("staging", key, CODEC.encode(started))
    assert code_of(lambda: StagedState(store, "staging").intents(IMPORTS, Partition(0))) == "STAGING_DAMAGED"
