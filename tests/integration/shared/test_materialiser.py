"""The worker on a real broker and a real object store: in every case the parts are the last row of each user."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from connectors.kafka.worker_group import group_members
from orchestration.platform.settings import Settings
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.columns import ORDINAL
from schemas.digest import Digest
from schemas.ids import Partition, new_job_id
from schemas.messages import ImportEnded, PartitionFailed, PartitionMaterialised, UserChunk
from schemas.row_digest import digest_rows
from schemas.topics import IMPORTS, IMPORTS_SMALL, WORKER_GROUP
from tests.fakes.importer import SCHEMA, FakeImport, abort, interleave, make_import, send, send_raw, users
from tests.integration.quick import DIES_AT
from tests.integration.quick_worker import INTENT_STORED
from tests.integration.workers import (
    Workers,
    all_announced,
    announced,
    committed_everything,
    dead_letters,
    end_sessions,
    member_ids,
    read_part,
    rows_of,
    s3,
    staged,
)
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("kept_readers")]

SESSION = {"MUSTER_WORKER_SESSION_TIMEOUT_S": "30"}
_counter = iter(range(1, 1_000_000))


def new_id() -> str:
    return new_job_id(next(_counter), random.randbytes(10))


@pytest.fixture(scope="module")
def all_workers(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    running = Workers(stack, tmp_path_factory.mktemp("workers"), "tests.integration.quick_worker")
    yield running
    running.close()


@pytest.fixture
def workers(all_workers: Workers) -> Workers:
    """Worker `a` runs, for all tests that do not stop it."""
    if not all_workers.runs("a"):
        all_workers.start("a", **SESSION)
    return all_workers


def last_rows(rows: pa.Table) -> dict[str, tuple[Any, ...]]:
    """The last row of each user, in the order of the file."""
    columns = [rows.column(name).to_pylist() for name in rows.column_names if name not in {ORDINAL, "user_id"}]
    return {user: tuple(v) for user, *v in zip(rows.column("user_id").to_pylist(), *columns, strict=True)}


def assert_materialised(settings: Settings, imported: FakeImport, rows: pa.Table, timeout_s: float = 120) -> None:
    """Check that all partitions are announced, and that their parts are the last rows of the users, sorted."""
    found = all_announced(settings, imported.import_id, imported.partitions, imported.attempt, timeout_s)
    tables = []
    for marker in imported.markers():
        message = found[marker.partition]
        assert isinstance(message, PartitionMaterialised), message
        assert (message.chunks, message.records, message.digest) == (marker.chunks, marker.records, marker.digest)
        if message.part is None:
            assert (message.distinct, message.distinct_digest.count) == (0, 0)
            continue
        table = read_part(settings, message)
        ids = table.column("user_id").to_pylist()
        assert ids == sorted(ids, key=str.encode)
        assert (message.distinct, message.distinct_digest) == (table.num_rows, digest_rows(table, SCHEMA))
        assert table.schema.equals(arrow_schema(SCHEMA))
        tables.append(table)
    assert rows_of(tables) == last_rows(rows)


def test_parts_hold_the_last_row_of_each_user_and_staging_the_result(stack: Settings, workers: Workers) -> None:
    rows = users(20_000, doubled=3_000)
    imported = make_import(new_id(), rows, partitions=stack.partitions, chunk_rows=700)
    send(stack.kafka_bootstrap, imported.messages)
    assert_materialised(stack, imported, rows)
    until(lambda: committed_everything(stack))
    assert sum(key.endswith("result.avro") for key in staged(stack, imported.import_id)) == stack.partitions


def test_empty_partition_is_announced_without_a_part(stack: Settings, workers: Workers) -> None:
    rows = users(1)
    imported = make_import(new_id(), rows, partitions=stack.partitions)
    send(stack.kafka_bootstrap, imported.messages, IMPORTS_SMALL)
    assert_materialised(stack, imported, rows)
    parts = [m for m in announced(stack, imported.import_id) if isinstance(m, PartitionMaterialised) and m.part]
    assert len(parts) == 1


def test_chunks_sent_twice_and_in_any_order_count_once(stack: Settings, workers: Workers) -> None:
    rows = users(8_000, doubled=500)
    imported = make_import(new_id(), rows, partitions=stack.partitions, chunk_rows=250)
    chunks = [*imported.chunks(), *imported.chunks()]
    random.Random(7).shuffle(chunks)
    send(stack.kafka_bootstrap, [*chunks, *imported.markers()])
    assert_materialised(stack, imported, rows)


def test_concurrent_attempts_never_mix(stack: Settings, workers: Workers) -> None:
    import_id = new_id()
    rows = users(3_000)
    first = make_import(import_id, rows, partitions=stack.partitions, chunk_rows=100)
    second = make_import(import_id, rows, partitions=stack.partitions, chunk_rows=170, attempt=2)
    died = first.without(lambda m: (isinstance(m, UserChunk) and m.seq > 3) or isinstance(m, ImportEnded))
    send(stack.kafka_bootstrap, interleave(died.messages, second.messages))
    assert_materialised(stack, second, rows)
    assert [m for m in announced(stack, import_id) if m.attempt == 1] == []


def test_missing_chunk_fails_only_its_partition(stack: Settings, workers: Workers) -> None:
    imported = make_import(new_id(), users(4_000), partitions=stack.partitions, chunk_rows=100)
    lossy = imported.without(lambda m: isinstance(m, UserChunk) and m.partition == 1 and m.seq in {2, 5})
    send(stack.kafka_bootstrap, lossy.messages)
    found = all_announced(stack, imported.import_id, stack.partitions)
    failed = found.pop(1)
    assert isinstance(failed, PartitionFailed)
    assert (failed.missing_count, failed.missing) == (2, (2, 5))
    assert failed.expected == imported.markers()[1].digest
    assert failed.actual.count == failed.expected.count - 200
    assert all(isinstance(message, PartitionMaterialised) for message in found.values())


def test_chunk_with_a_wrong_digest_is_a_dead_letter_and_fails_its_partition(stack: Settings, workers: Workers) -> None:
    imported = make_import(new_id(), users(400), partitions=stack.partitions, chunk_rows=50)

    true = next(chunk for chunk in imported.chunks() if (chunk.partition, chunk.seq) == (0, 1))
    lie = replace(true, digest=true.digest + Digest(schema_id=true.digest.schema_id, sum0=1))
    send(stack.kafka_bootstrap, [lie if message is true else message for message in imported.messages])
    failed = all_announced(stack, imported.import_id, stack.partitions)[0]
    assert isinstance(failed, PartitionFailed)
    assert failed.missing == (1,)
    [letter] = [letter for letter in dead_letters(stack) if letter.value == CODEC.encode(lie)]
    assert letter.topic == IMPORTS
    assert "digest" in letter.reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no message of ours", "C3 01"),
        (b"", "C3 01"),
        (b"\xc3\x01" + b"\x00" * 8 + b"body", "unknown schema fingerprint"),
        (
            CODEC.encode(make_import("0" * 26, users(100), partitions=1).chunks()[0])[:-40],
            "broken UserChunk",
        ),
        (
            CODEC.encode(replace(make_import("0" * 26, users(1), partitions=1).markers()[0], partition=Partition(3))),
            "for partition 3 in partition 0",
        ),
        (
            CODEC.encode(replace(make_import("0" * 26, users(9), partitions=1).chunks()[0], rows=b"\x00" * 99)),
            "broken rows",
        ),
    ],
    ids=["foreign bytes", "empty", "unknown schema", "truncated", "wrong partition", "broken rows"],
)
def test_unreadable_record_is_a_dead_letter_and_the_worker_continues(
    stack: Settings, workers: Workers, value: bytes, reason: str
) -> None:
    rows, restarts = users(200), workers.restarts
    imported = make_import(new_id(), rows, partitions=stack.partitions)
    send_raw(stack.kafka_bootstrap, [(0, value)])
    send(stack.kafka_bootstrap, imported.messages)
    assert_materialised(stack, imported, rows)
    letters = [letter for letter in dead_letters(stack) if letter.value == value]
    assert {(letter.topic, letter.partition) for letter in letters} == {(IMPORTS, 0)}
    assert len({letter.offset for letter in letters}) == 1
    assert reason in letters[0].reason
    assert workers.restarts == restarts


def test_aborted_import_leaves_and_announces_nothing(stack: Settings, workers: Workers) -> None:
    gone = make_import(new_id(), users(5_000), partitions=stack.partitions, chunk_rows=200, attempt=2)
    rows = users(100)
    other = make_import(new_id(), rows, partitions=stack.partitions)
    unfinished = gone.without(lambda m: isinstance(m, ImportEnded))
    send(stack.kafka_bootstrap, unfinished.messages)
    until(lambda: staged(stack, gone.import_id))
    # The zombie importer continues after the abort, and ends.
    send(stack.kafka_bootstrap, [*abort(gone), *gone.chunks()[:8], *gone.markers(), *other.messages])
    assert_materialised(stack, other, rows)
    until(lambda: committed_everything(stack))
    assert staged(stack, gone.import_id) == []
    assert announced(stack, gone.import_id) == []


def test_repeated_marker_is_announced_again(stack: Settings, workers: Workers) -> None:
    rows = users(500)
    imported = make_import(new_id(), rows, partitions=stack.partitions)
    send(stack.kafka_bootstrap, imported.messages)
    assert_materialised(stack, imported, rows)
    until(lambda: committed_everything(stack))
    assert workers.stop("a") == 0
    first = {m.partition: m for m in announced(stack, imported.import_id)}
    workers.start("a", **SESSION)
    send(stack.kafka_bootstrap, imported.markers())
    until(lambda: len(announced(stack, imported.import_id)) >= 2 * stack.partitions)
    again = announced(stack, imported.import_id)[-stack.partitions :]
    assert {m.partition: m for m in again} == first


def test_an_intent_without_a_result_is_merged_by_the_next_owner(stack: Settings, stopped: Workers) -> None:
    rows, workers, restarts = users(3_000), stopped, stopped.restarts
    imported = make_import(new_id(), rows, partitions=stack.partitions)
    workers.start("a", **SESSION, **{DIES_AT: INTENT_STORED})
    until(lambda: group_members(stack.kafka_bootstrap, WORKER_GROUP) == 1)
    members = member_ids(stack, WORKER_GROUP)
    send(stack.kafka_bootstrap, imported.chunks())
    until(lambda: committed_everything(stack))  # what is staged already needs an intent
    send(stack.kafka_bootstrap, imported.markers())
    until(lambda: workers.restarts == restarts + 1)
    end_sessions(stack, WORKER_GROUP, members)
    assert_materialised(stack, imported, rows)
    intents = {"Bucket": stack.staging_bucket, "Prefix": f"intents/{IMPORTS}/"}
    until(lambda: s3(stack).list_objects_v2(**intents)["KeyCount"] == 0)
    assert workers.restarts == restarts + 1


@pytest.mark.faults("600,000 users; that memory is bounded is shown in memory")
def test_small_import_passes_a_large_one_in_bounded_memory(stack: Settings, stopped: Workers) -> None:
    big_rows = users(600_000)
    big = make_import(new_id(), big_rows, partitions=stack.partitions)
    small = [
        (make_import(new_id(), r, partitions=stack.partitions), r) for r in (users(50, first=n) for n in range(60))
    ]
    workers = stopped
    workers.start("a", **SESSION, MUSTER_WORKER_BUFFER_BYTES=str(8 * 1024 * 1024))
    send(stack.kafka_bootstrap, big.messages)
    send(stack.kafka_bootstrap, interleave(*(imported.messages for imported, _ in small)), IMPORTS_SMALL)
    for imported, rows in small:
        assert_materialised(stack, imported, rows)
    assert_materialised(stack, big, big_rows)
    assert workers.peak_rss < 800 * 1024 * 1024
    assert workers.stop("a") == 0  # the next test needs another buffer
