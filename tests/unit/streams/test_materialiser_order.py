"""The shell acknowledges nothing before it is durable, nothing out of order, nothing after a revocation."""

import asyncio
import functools
import glob
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from faust.types import TP

from connectors.storage.access import S3Access
from schemas.codec import CODEC
from schemas.errors import FatalError, RetriableError
from schemas.messages import DeadLetter, ImportEnded, ImportMessage, PartitionFailed, PartitionMaterialised, UserChunk
from schemas.metrics import BUFFERED_BYTES, MERGES_WAITING, Sample
from schemas.topics import DEAD_LETTERS, IMPORT_PROGRESS, IMPORTS
from segmentation.sorting import sort_strings
from streams import memory, merge
from streams.config import WorkerConfig
from streams.materialiser import Materialiser
from tests.fakes.fetches import fetched
from tests.fakes.importer import FakeImport, abort, make_import, users
from tests.fakes.object_store import InMemoryObjectStore

pytestmark = pytest.mark.anyio

TP0 = TP(IMPORTS, 0)
GENERATION = 3
HOUR_S = 3600.0


class Harness:
    """A materialiser that owns one partition, on an in-memory object store."""

    def __init__(self, temp: Path, **changes: Any) -> None:
        self.store = InMemoryObjectStore()
        self.acked: list[int] = []
        self.published: list[tuple[str, bytes]] = []
        self.errors: list[Exception] = []
        self.broker_answers = asyncio.Event()
        self.broker_answers.set()
        self.offset = 0
        values: dict[str, Any] = {
            "bootstrap": "",
            "store": S3Access(endpoint="", region=""),
            "staging_bucket": "staging",
            "temp": temp,
            "buffer_bytes": 40 * 1024 * 1024,
        }
        self.materialiser = Materialiser(
            WorkerConfig(**(values | changes)),
            self.store,
            publish=self._publish,
            fail=self.errors.append,
            now_us=lambda: 1_000_000,
        )
        self.materialiser.on_rewound({TP0: 0}, GENERATION)
        self.ticking = asyncio.ensure_future(self.materialiser.tick())

    async def _publish(self, topic: str, _key: bytes, value: bytes) -> None:
        await self.broker_answers.wait()
        self.published.append((topic, value))

    async def deliver(self, *messages: ImportMessage | bytes, generation: int = GENERATION) -> None:
        for message in messages:
            offset, self.offset = self.offset, self.offset + 1
            value = message if isinstance(message, bytes) else CODEC.encode(message)
            event: Any = SimpleNamespace(
                message=fetched(TP0, [(offset, value)], generation), ack=lambda offset=offset: self.acked.append(offset)
            )
            await self.materialiser.accept(event)

    def announced(self) -> list[Any]:
        return [CODEC.decode(value) for topic, value in self.published if topic == IMPORT_PROGRESS]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                assert self.errors == []
                await asyncio.sleep(0.01)

    async def settle(self) -> None:
        """Give faults time to show."""
        await asyncio.sleep(0.6)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Callable[..., Harness]]:
    """Makes workers, with any settings."""
    made: list[Harness] = []

    def make(**changes: Any) -> Harness:
        made.append(Harness(tmp_path, **changes))
        return made[-1]

    yield make
    for worker in made:
        worker.store.release()
        worker.ticking.cancel()


@pytest.fixture
async def worker(harness: Callable[..., Harness]) -> Harness:
    """A worker that stages all rows at once."""
    return harness(unacknowledged_s=0.0)


@pytest.fixture
async def keeping(harness: Callable[..., Harness]) -> Harness:
    """A worker that keeps all rows until their import ends."""
    return harness()


def one(rows: int = 100, *, chunk_rows: int = 10, attempt: int = 1) -> FakeImport:
    return make_import("0" * 26, users(rows), partitions=1, chunk_rows=chunk_rows, attempt=attempt)


async def test_a_chunk_is_acknowledged_after_its_run_is_staged(worker: Harness) -> None:
    worker.store.hold = lambda key: key.startswith("imports/")
    await worker.deliver(*one().chunks()[:3])
    await worker.until(lambda: worker.store.held)
    await worker.settle()
    assert worker.acked == []
    worker.store.release()
    await worker.until(lambda: worker.acked == [0, 1, 2])
    assert worker.store.keys("imports/")


async def test_a_worker_that_keeps_no_rows_does_not_tick(
    harness: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "streams.materialiser")
    for name, seconds in {"_TICK_S": 0.0, "_REPORT_S": 0.0, "_REST_S": 600.0}.items():
        monkeypatch.setattr(f"streams.materialiser.{name}", seconds)

    def ticks() -> int:
        return sum(message.startswith("metrics") for message in caplog.messages)

    worker = harness(unacknowledged_s=600.0)
    await worker.settle()
    assert ticks() == 0
    await worker.deliver(one().chunks()[0])
    await worker.until(lambda: ticks() > 3)


async def test_idle_worker_returns_free_memory_once(
    harness: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[None] = []
    monkeypatch.setattr(memory, "release_free", lambda: released.append(None))
    for name in ("_TICK_S", "_REST_S"):
        monkeypatch.setattr(f"streams.materialiser.{name}", 0.01)
    worker = harness()
    for times in (1, 2):
        await worker.deliver(*one(attempt=times).messages)
        await worker.until(lambda times=times: len(worker.announced()) == times and released)  # type: ignore[misc]  # at once
        await worker.settle()
        assert len(released) == times


async def test_a_duplicate_waits_for_the_chunk_it_repeats(worker: Harness) -> None:
    worker.store.hold = lambda key: key.startswith("imports/")
    chunk = one().chunks()[0]
    await worker.deliver(chunk, chunk)
    await worker.until(lambda: worker.store.held)
    await worker.settle()
    assert worker.acked == []


async def test_an_end_marker_is_acknowledged_after_its_intent_is_stored(worker: Harness) -> None:
    worker.store.hold = lambda key: key.startswith("intents/")
    imported = one()
    await worker.deliver(*imported.messages[:-1])
    await worker.until(lambda: len(worker.acked) == worker.offset)
    await worker.deliver(imported.messages[-1])
    await worker.until(lambda: worker.store.held)
    await worker.settle()
    assert worker.offset - 1 not in worker.acked
    worker.store.release()
    await worker.until(worker.announced)
    assert worker.acked == list(range(worker.offset))
    announced = worker.announced()[0]
    assert isinstance(announced, PartitionMaterialised)
    assert (announced.records, announced.distinct) == (100, 100)
    await worker.until(lambda: worker.store.keys("intents/") == [])


async def test_unstaged_run_is_not_reported_as_missing(worker: Harness) -> None:
    put_new, begun, fails = worker.store.put_new, threading.Event(), threading.Event()

    def without_runs(bucket: str, key: str, body: bytes) -> bool:
        if key.startswith("imports/"):
            begun.set()
            fails.wait(60)
            raise RetriableError("STORE_UNAVAILABLE", "the store is away for a moment")
        return put_new(bucket, key, body)

    worker.store.put_new = without_runs  # type: ignore[method-assign]
    *before, marker = one(10, chunk_rows=10).messages
    await worker.deliver(*before)
    await worker.until(begun.is_set)
    await worker.deliver(marker)  # it waits for the run
    fails.set()
    await worker.until(lambda: worker.errors or worker.announced())
    await worker.settle()
    assert [type(error) for error in worker.errors] == [RetriableError]
    assert worker.announced() == []  # a worker that found the intent would report missing chunks
    assert worker.acked == [0]  # the start marker


async def test_an_end_marker_with_a_gap_is_acknowledged_after_the_failure_is_announced(worker: Harness) -> None:
    worker.broker_answers.clear()
    await worker.deliver(*one().without(lambda m: isinstance(m, UserChunk) and m.seq == 4).messages)
    await worker.until(lambda: len(worker.acked) == worker.offset - 1)
    await worker.settle()
    assert worker.offset - 1 not in worker.acked
    worker.broker_answers.set()
    await worker.until(lambda: len(worker.acked) == worker.offset)
    failed = worker.announced()[0]
    assert isinstance(failed, PartitionFailed)
    assert failed.missing == (4,)


async def test_undecodable_record_is_acknowledged_after_its_dead_letter(worker: Harness) -> None:
    worker.broker_answers.clear()
    delivering = asyncio.ensure_future(worker.deliver(b"what is this"))
    await worker.settle()
    assert worker.acked == []
    worker.broker_answers.set()
    await delivering
    assert worker.acked == [0]
    topic, value = worker.published[0]
    letter = CODEC.decode(value)
    assert isinstance(letter, DeadLetter)
    assert (topic, letter.offset, letter.value) == (DEAD_LETTERS, 0, b"what is this")


async def test_revoked_owner_acknowledges_nothing_even_after_staging(worker: Harness) -> None:
    worker.store.hold = lambda key: key.startswith("imports/")
    await worker.deliver(*one().chunks()[:3])
    await worker.until(lambda: worker.store.held)
    worker.materialiser.on_revoked({TP0})
    worker.store.release()
    await worker.until(lambda: worker.store.keys("imports/"))
    await worker.settle()
    assert (worker.acked, worker.errors) == ([], [])


async def test_a_record_of_an_older_generation_is_ignored(worker: Harness) -> None:
    await worker.deliver(one().chunks()[0], generation=GENERATION - 1)
    worker.offset = 0
    await worker.deliver(one().chunks()[0])
    await worker.until(lambda: worker.acked == [0])


async def test_offset_gap_ends_the_worker(worker: Harness) -> None:
    await worker.deliver(one().chunks()[0])
    worker.offset = 2
    with pytest.raises(
        FatalError, match=r"DELIVERY_GAP: .* offset 2 was delivered, but 1 was expected; .* sends in transactions"
    ):
        await worker.deliver(one().chunks()[1])


async def test_new_owner_skips_staged_chunks_and_merges_all_runs(worker: Harness) -> None:
    imported = one()
    await worker.deliver(*imported.messages[:6])
    await worker.until(lambda: len(worker.acked) == 6)
    runs = worker.store.keys("imports/")
    worker.materialiser.on_rewound({TP0: 3}, GENERATION)  # half of it had been committed
    worker.offset = 3
    worker.acked.clear()
    await worker.deliver(*imported.messages[3:6])
    await worker.until(lambda: worker.acked == [3, 4, 5])
    assert worker.store.keys("imports/") == runs
    await worker.deliver(*imported.messages[6:])
    await worker.until(worker.announced)
    assert worker.announced()[0].digest == imported.markers()[0].digest


async def test_abort_removes_staged_objects_of_all_attempts_and_fences_zombies(
    worker: Harness,
) -> None:
    first, second = one(attempt=1), one(attempt=2)
    await worker.deliver(*first.chunks()[:5], *second.chunks()[:5])
    await worker.until(lambda: len(worker.acked) == 10)
    await worker.deliver(*abort(second), *first.chunks()[5:], *second.messages)
    await worker.until(lambda: len(worker.acked) == worker.offset and worker.store.keys("") == [])
    await worker.settle()
    assert worker.store.keys("") == []
    assert worker.announced() == []


async def test_rows_stay_within_the_held_back_limit_while_the_store_hangs(harness: Callable[..., Harness]) -> None:
    imported = make_import("0" * 26, users(20_000), partitions=1, chunk_rows=500)
    size = len(imported.chunks()[0].rows)
    worker = harness(buffer_bytes=4 * size, unacknowledged_bytes=8 * size)
    worker.store.hold = lambda key: key.startswith("imports/")
    delivering = asyncio.ensure_future(worker.deliver(*imported.messages))
    await worker.until(lambda: worker.store.held)
    await worker.settle()
    taken = worker.offset
    worker.store.release()
    assert taken <= 1 + 9  # the start marker, eight chunks, and the one that waits
    await delivering
    await worker.until(worker.announced)
    assert worker.announced()[0].records == 20_000


async def test_kept_rows_are_acknowledged_after_their_part_is_announced(keeping: Harness) -> None:
    keeping.store.hold = lambda key: key.startswith("audiences/")
    await keeping.deliver(*one().messages)
    await keeping.until(lambda: keeping.store.held)
    await keeping.settle()
    assert keeping.acked == [0]  # the start marker
    keeping.broker_answers.clear()
    keeping.store.release()
    await keeping.until(lambda: keeping.store.keys("imports/"))
    await keeping.settle()
    assert keeping.acked == [0]
    keeping.broker_answers.set()
    await keeping.until(lambda: keeping.acked == list(range(keeping.offset)))
    assert keeping.announced()[0].digest == one().markers()[0].digest
    assert [key.rpartition("/")[2] for key in keeping.store.keys("imports/")] == ["result.avro"]  # nothing was staged


def _sorted_to(rows: int, ids: pa.StringArray, ranks: npt.NDArray[np.int64]) -> Any:
    """The order, cut or repeated to a number of rows."""
    return np.resize(sort_strings(ids, ranks), rows)


@pytest.mark.parametrize("settings", [{}, {"unacknowledged_s": 0.0}], ids=["kept rows", "staged rows"])
async def test_sort_that_loses_or_duplicates_a_row_is_announced_as_failed(
    settings: dict[str, float], harness: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = harness(**settings)
    for attempt, rows in enumerate((99, 101), 1):  # of 100
        monkeypatch.setattr(merge, "sort_strings", functools.partial(_sorted_to, rows))
        await worker.deliver(*one(attempt=attempt).messages)
        await worker.until(lambda attempt=attempt: len(worker.announced()) == attempt)  # type: ignore[misc]  # at once
    assert [(type(message), message.reason) for message in worker.announced()] == [
        (PartitionFailed, "the rows that were merged differ from those that arrived")
    ] * 2
    assert not worker.store.keys("audiences/")


async def test_next_owner_announces_the_part_of_a_killed_worker(keeping: Harness) -> None:
    keeping.broker_answers.clear()
    await keeping.deliver(*one().messages)
    await keeping.until(lambda: keeping.store.keys("imports/"))
    keeping.materialiser.on_rewound({TP0: 0}, GENERATION)
    keeping.broker_answers.set()
    keeping.offset = 0
    keeping.acked.clear()
    await keeping.deliver(*one().messages)
    await keeping.until(lambda: keeping.acked == list(range(keeping.offset)))
    assert len(set(map(str, keeping.announced()))) == 1


@pytest.mark.parametrize(
    "bound", [{"unacknowledged_records": 20}, {"unacknowledged_bytes": 30_000}, {"unacknowledged_s": 0.5}], ids=str
)
async def test_unfinished_import_delays_others_for_a_bounded_time(
    harness: Callable[..., Harness], bound: dict[str, Any]
) -> None:
    worker = harness(**{"unacknowledged_s": HOUR_S, **bound})
    await worker.deliver(*one(300).messages[:-1])
    await worker.deliver(*make_import("1" * 26, users(100), partitions=1, chunk_rows=10).messages)
    await worker.until(worker.announced)
    await worker.until(lambda: worker.acked == list(range(worker.offset)))
    staged = {key.split("/")[1] for key in worker.store.keys("imports/") if "result" not in key}
    assert "0" * 26 in staged


async def test_waiting_merge_delays_others_for_a_bounded_time(harness: Callable[..., Harness]) -> None:
    worker = harness(merge_threads=1, unacknowledged_s=0.5)
    worker.store.hold = lambda key: key.startswith("audiences/")
    first, second = (make_import(c * 26, users(100), partitions=1, chunk_rows=10) for c in "01")
    await worker.deliver(*first.messages)
    await worker.until(lambda: worker.store.held)
    await worker.deliver(*second.messages)
    await worker.until(lambda: worker.store.keys("intents/"))
    worker.store.release()
    await worker.until(lambda: len(worker.announced()) == 2)
    await worker.until(lambda: worker.acked == list(range(worker.offset)))
    assert {message.import_id for message in worker.announced()} == {"0" * 26, "1" * 26}


async def test_copies_of_an_end_marker_announce_the_one_result(keeping: Harness) -> None:
    keeping.store.hold = lambda key: key.startswith("audiences/")
    imported = one()
    await keeping.deliver(*imported.messages, *imported.markers(), *imported.markers())
    await keeping.until(lambda: keeping.store.held)
    keeping.store.release()
    await keeping.until(lambda: keeping.acked == list(range(keeping.offset)))
    assert len(keeping.announced()) == 3
    assert len(set(map(str, keeping.announced()))) == 1


@pytest.mark.parametrize("merge", ["running", "queued"])
async def test_abort_silently_ends_a_merge_of_kept_rows(harness: Callable[..., Harness], merge: str) -> None:
    worker, started = harness(merge_threads=1), merge == "running"
    worker.store.hold = lambda key: key.startswith("audiences/")
    other = make_import("1" * 26, users(100), partitions=1, chunk_rows=10)
    await worker.deliver(*(() if started else other.messages), *one().messages)
    await worker.until(lambda: worker.store.held)
    await worker.deliver(*abort(one()))
    await worker.settle()
    worker.store.release()
    await worker.until(lambda: worker.acked == list(range(worker.offset)))
    assert [message.import_id for message in worker.announced()] == ([] if started else ["1" * 26])


async def test_abort_removes_objects_being_staged_for_a_waiting_merge(
    harness: Callable[..., Harness],
) -> None:
    worker = harness(merge_threads=1, unacknowledged_s=0.5)
    worker.store.hold = lambda key: key.startswith(("audiences/", f"imports/{'0' * 26}"))
    other = make_import("1" * 26, users(100), partitions=1, chunk_rows=10)
    await worker.deliver(*other.messages)
    await worker.until(lambda: worker.store.held)
    await worker.deliver(*one().messages)
    await worker.until(lambda: any(key.startswith("imports/") for key in worker.store.held))
    await worker.deliver(*abort(one()))
    await worker.settle()
    worker.store.release()
    await worker.until(lambda: worker.acked == list(range(worker.offset)))
    assert [message.import_id for message in worker.announced()] == ["1" * 26]
    assert worker.store.keys("0" * 26) == []


@pytest.mark.parametrize("copies", [0, 1])
async def test_a_revocation_leaves_queued_merges_to_the_next_owner(
    harness: Callable[..., Harness], copies: int
) -> None:
    """A copy of the end marker finds that its rows are gone: an intent for them would only fail."""
    worker = harness(merge_threads=1)
    worker.store.hold = lambda key: key.startswith("audiences/")
    other = make_import("1" * 26, users(100), partitions=1, chunk_rows=10)
    await worker.deliver(*other.messages, *one().messages, *one().markers() * copies)
    await worker.until(lambda: Sample(metric=MERGES_WAITING, value=1) in worker.materialiser.samples())
    worker.materialiser.on_revoked({TP0})
    assert Sample(metric=MERGES_WAITING, value=0) in worker.materialiser.samples()  # none begins from now on
    worker.store.release()
    await worker.until(worker.announced)
    await worker.settle()
    assert [message.import_id for message in worker.announced()] == ["1" * 26]
    assert (worker.store.keys("intents/"), worker.acked) == ([], [0])


@pytest.mark.parametrize("disk", ["with room", "full"])
async def test_rows_beyond_memory_are_spooled(
    harness: Callable[..., Harness], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    full, spooled = disk == "full", functools.partial(glob.glob, str(tmp_path / "spool-*/*"))
    imported = make_import("0" * 26, users(5_000, doubled=500), partitions=1, chunk_rows=100)
    worker = harness(buffer_bytes=6 * len(imported.chunks()[0].rows))
    if full:

        def new_file(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        ipc = SimpleNamespace(new_file=new_file)
        monkeypatch.setattr("streams.spool.pa", SimpleNamespace(ipc=ipc, Table=pa.Table))
    await worker.deliver(*imported.messages[:-1])
    await worker.until(lambda: full or len(spooled()) > 3)
    await worker.deliver(*imported.messages[-1:])
    await worker.until(lambda: worker.acked == list(range(worker.offset)))
    announced = worker.announced()[0]
    assert (announced.records, announced.distinct) == (5_500, 5_000)
    assert spooled() == []
    assert Sample(metric=BUFFERED_BYTES, value=0) in worker.materialiser.samples()
    staged = [key for key in worker.store.keys("imports/") if "result" not in key]
    assert bool(staged) == full


async def test_two_runs_are_staged_at_a_time(harness: Callable[..., Harness], tmp_path: Path) -> None:
    spooled = functools.partial(glob.glob, str(tmp_path / "spool-*/*"))
    imported = make_import("0" * 26, users(5_000), partitions=1, chunk_rows=100)
    worker = harness(buffer_bytes=6 * len(imported.chunks()[0].rows))
    await worker.deliver(*imported.messages[:-2])
    await worker.until(lambda: len(spooled()) > 3)
    worker.store.hold = lambda key: key.startswith("imports/")
    await worker.deliver(imported.messages[-1])  # without the last chunk, so all others are staged
    await worker.until(lambda: worker.store.held)
    await worker.settle()
    assert len(worker.store.held) == 2
    worker.store.release()
    await worker.until(lambda: worker.acked == list(range(worker.offset)))


async def test_repeated_marker_announces_the_stored_result_again(worker: Harness) -> None:
    imported = one()
    await worker.deliver(*imported.messages)
    await worker.until(worker.announced)
    await worker.until(lambda: worker.store.keys("intents/") == [])
    worker.materialiser.on_rewound({TP0: 0}, GENERATION)
    worker.offset = 0
    await worker.deliver(*[m for m in imported.messages if isinstance(m, ImportEnded)])
    await worker.until(lambda: len(worker.announced()) == 2)
    assert worker.announced()[0] == worker.announced()[1]


async def test_fetch_is_acknowledged_after_all_its_records(worker: Harness) -> None:
    chunks = [CODEC.encode(chunk) for chunk in one().chunks()[:3]]
    worker.store.hold = lambda key: key.startswith("imports/")
    event: Any = SimpleNamespace(
        message=fetched(TP0, enumerate([chunks[0], b"what is this", *chunks[1:]]), GENERATION),
        ack=lambda: worker.acked.append(3),
    )
    await worker.materialiser.accept(event)
    await worker.settle()
    assert (len(worker.published), worker.acked) == (1, [])
    worker.store.release()
    await worker.until(lambda: worker.acked == [3])
