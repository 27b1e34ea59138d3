"""Each transport guard, with the fault that it prevents."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import GroupAuthorizationFailedError, InvalidSessionTimeoutError
from aiokafka.protocol.fetch import FetchRequest
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP, ConsumerMessage

from connectors.kafka import aiokafka_logon as logon
from schemas.errors import FatalError
from streams.guards import (
    FETCHER_REST_S,
    GROUPED_BYTES,
    WAIT_BESIDE_RECORDS_MS,
    GuardedThread,
    SafeConsumer,
    group_refusal,
    install,
    start_offset,
)
from tests.fakes.fetches import fetched

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

T0 = TP("muster.imports", 0)
T1 = TP("muster.imports", 1)
FETCHER = SimpleNamespace(_get_actions_per_node=None, _fetch_max_wait_ms=0)


class Owner:
    """Records its notifications."""

    def __init__(self) -> None:
        self.notices: list[object] = []

    def on_revoked(self, partitions: set[TP]) -> None:
        self.notices.append(("revoked", partitions))

    def on_rewound(self, positions: Mapping[TP, int], generation: int) -> None:
        self.notices.append(("rewound", dict(positions), generation))

    def on_fault(self, error: FatalError) -> None:
        self.notices.append(("fault", error.code))


class Broker:
    """Stands in for the consumer thread: log bounds and committed offsets of the partitions, and its rewinds."""

    def __init__(self, committed: Mapping[TP, int | None], earliest: int = 0, latest: int = 1000) -> None:
        self.committed = committed
        self.bounds = (earliest, latest)
        self.seeks: dict[TP, int] = {}
        self.asked: list[object] = []
        self.commit_succeeds = True
        self.fetch: dict[TP, list[Any]] = {}

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        return self.committed

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, self.bounds[0])

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, self.bounds[1])

    async def seek_wait(self, positions: Mapping[TP, int]) -> None:
        self.seeks.update(positions)

    def assignment(self) -> set[TP]:
        return set(self.committed)

    async def getmany(self, active: object, _timeout: float) -> dict[TP, list[Any]]:
        self.asked.append(active)
        return self.fetch

    async def commit(self, _offsets: Mapping[TP, int]) -> bool:
        return self.commit_succeeds


@pytest.fixture
async def app(tmp_path: Path) -> faust.App:
    app = faust.App("guarded", broker="kafka://127.0.0.1:1", datadir=tmp_path, store="memory://")
    app.finalize()
    topic = app.topic("muster.imports", value_serializer="raw")
    app.topics.add(topic)
    return app


def consumer_of(app: faust.App, broker: Broker) -> tuple[SafeConsumer, Owner]:
    owner = Owner()
    install(app, owner)
    app.consumer_generation_id = 7
    consumer = app.consumer
    assert isinstance(consumer, SafeConsumer)
    consumer._thread.thread_loop.close()  # the loop of the real thread, which is never started
    consumer._thread = broker  # type: ignore[assignment]
    app.topics._acking_topics = {"muster.imports"}  # type: ignore[attr-defined]

    async def flushed() -> None:
        """Nothing is waiting to be sent."""

    app.producer.flush = flushed  # type: ignore[method-assign]
    return consumer, owner


async def started(consumer: SafeConsumer, coordinator: object, fetcher: object = FETCHER) -> GuardedThread:
    """A thread whose consumer in aiokafka has these parts."""

    async def start() -> None:
        """It is in its group."""

    thread = GuardedThread(consumer, loop=asyncio.get_running_loop())
    parts = SimpleNamespace(_fetcher=fetcher, _coordinator=coordinator, start=start)
    thread._create_consumer = lambda **_: parts  # type: ignore[method-assign]
    await thread.on_start()
    return thread


def coordinated_by(task: asyncio.Future[None]) -> SimpleNamespace:
    """A coordinator that does nothing but run this task."""
    return SimpleNamespace(_coordination_task=task, _push_error_to_user=lambda _: None)


def message(offset: int, tp: TP = T0) -> ConsumerMessage:
    return ConsumerMessage(tp.topic, tp.partition, offset, 0.0, 0, None, None, b"", None, tp=tp)


async def test_guard_1_empty_active_partitions_are_never_requested(app: faust.App) -> None:
    broker = Broker({})
    consumer, _ = consumer_of(app, broker)
    assert await consumer._getmany(set(), 1.0) == {}
    assert broker.asked == []


async def test_guard_1_aiokafka_gets_a_copy_that_a_rebalance_cannot_empty(app: faust.App) -> None:
    broker = Broker({})
    consumer, _ = consumer_of(app, broker)
    live = {T0}
    await consumer._getmany(live, 1.0)
    live.clear()
    assert broker.asked == [{T0}]


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (AssertionError("Did we not perform bootstrap?"), "GROUP_LOST"),
        (FatalError("LOGON_REFUSED", "the password is another now"), "LOGON_REFUSED"),
    ],
)
async def test_guard_6_worker_outside_its_group_ends(app: faust.App, cause: Exception, code: str) -> None:
    consumer, owner = consumer_of(app, Broker({}))
    fails = asyncio.Event()

    async def coordinate() -> None:
        await fails.wait()
        raise cause

    thread = await started(consumer, coordinated_by(asyncio.ensure_future(coordinate())))
    assert owner.notices == []
    fails.set()
    for _ in range(10):  # one round each for the task, its callback, and the loop of the app
        await asyncio.sleep(0)
    assert owner.notices == [("fault", code)]
    thread.thread_loop.close()


async def test_guard_6_worker_refused_by_its_group_ends(app: faust.App) -> None:
    """aiokafka's own coordinator, refused by the broker, waits until someone takes the error from it."""
    consumer, owner = consumer_of(app, Broker({}))

    async def refuse(*_: object) -> None:
        raise GroupAuthorizationFailedError

    client, subscription = AIOKafkaClient(), SubscriptionState()
    client.coordinator_lookup = refuse
    subscription.register_fetch_waiters(set())
    coordinator = GroupCoordinator(client, subscription, group_id="muster-segments")

    thread = await started(consumer, coordinator)
    subscription.subscribe({T0.topic})
    for _ in range(50):
        await asyncio.sleep(0)
    assert owner.notices == [("fault", "GROUP_REFUSED")]
    assert not coordinator._coordination_task.done()  # it would wait there forever
    await coordinator.close()
    thread.thread_loop.close()


@pytest.mark.parametrize(
    ("waiting", "asked"), [([], (1500, [0, 1])), ([T0], (WAIT_BESIDE_RECORDS_MS, [1]))], ids=["at rest", "busy"]
)
async def test_fetch_returns_early_while_some_partitions_have_records(
    app: faust.App, waiting: list[TP], asked: tuple[int, list[int]]
) -> None:
    """aiokafka's own fetcher, whose requests are never answered."""
    consumer, _ = consumer_of(app, Broker({}))
    client, subscription = AIOKafkaClient(), SubscriptionState()
    requests: list[tuple[int, list[int]]] = []

    async def send(_node: int, request: FetchRequest) -> None:
        ((_, partitions),) = request.topics
        requests.append((request._max_wait_ms, sorted(number for number, *_ in partitions)))
        await asyncio.Event().wait()

    client.send = send
    client.cluster.leader_for_partition = lambda _: 0
    fetcher = Fetcher(client, subscription, fetch_max_wait_ms=1500)

    thread = await started(consumer, coordinated_by(asyncio.get_running_loop().create_future()), fetcher)
    await asyncio.sleep(0)  # it forgets what it holds when it begins
    fetcher._records.update({tp: SimpleNamespace(calculate_backoff=lambda: 0) for tp in waiting})
    subscription.assign_from_user({T0, T1})
    for tp in (T0, T1):
        subscription.seek(tp, 0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert requests == [asked]
    fetcher._fetch_task.cancel()
    for task in fetcher._pending_tasks:
        task.cancel()
    thread.thread_loop.close()


def test_group_refusal_is_reported_with_the_remedy() -> None:
    error = group_refusal("muster-segments", GroupAuthorizationFailedError("muster-segments"))
    assert "Allow its user to read the group muster-segments" in str(error)
    assert "Allow" not in str(group_refusal("muster-segments", InvalidSessionTimeoutError()))


async def test_guard_2_partitions_without_a_committed_offset_are_rewound_to_the_start(app: faust.App) -> None:
    broker = Broker({T0: None, T1: 40}, earliest=5)
    consumer, owner = consumer_of(app, broker)
    consumer._acked[T1] = [90]  # from before the rebalance
    consumer._acked_index[T1] = {90}
    await consumer.perform_seek()
    assert broker.seeks == {T0: 5, T1: 40}
    assert owner.notices == [("rewound", {T0: 5, T1: 40}, 7)]
    assert consumer._acked.get(T1, []) == []
    assert consumer._committed_offset[T1] == 40


async def test_guard_2_faust_itself_does_not_rewind_them(app: faust.App) -> None:
    broker = Broker({T0: None, T1: 40})
    consumer, _ = consumer_of(app, broker)
    await Consumer.perform_seek(consumer)
    assert T0 not in broker.seeks


async def test_guard_2_rewind_overtaken_by_a_rebalance_announces_no_generation(app: faust.App) -> None:
    class Slow(Broker):
        """Answers the first request after all later ones."""

        asked_first = asyncio.Event()
        answers = asyncio.Event()

        async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
            if not self.asked_first.is_set():
                self.asked_first.set()
                await self.answers.wait()
            return await super().earliest_offsets(*partitions)

    broker = Slow({T0: 3})
    consumer, owner = consumer_of(app, broker)
    overtaken = asyncio.ensure_future(consumer.perform_seek())  # requested by Faust's fetcher, while its flow is paused
    await broker.asked_first.wait()
    app.consumer_generation_id = 8
    newer = asyncio.ensure_future(consumer.perform_seek())  # and then, after the next rebalance, by its recovery
    for _ in range(20):
        await asyncio.sleep(0)
    broker.answers.set()
    await asyncio.gather(overtaken, newer)
    assert owner.notices == [("rewound", {T0: 3}, 8)]


def test_guard_2_expired_offsets_are_retention_lost_even_without_records() -> None:
    """Offset 10 was the marker of a transaction, or a record: the log ends at 11, and begins there."""
    with pytest.raises(FatalError, match="RETENTION_LOST"):
        start_offset(T0, 10, 11, 11)
    assert start_offset(T0, 11, 11, 11) == 11  # a live worker commits past the marker


@pytest.mark.parametrize(("committed", "earliest", "latest"), [(9, 10, 100), (101, 10, 100)])
def test_guard_2_a_committed_offset_outside_the_log_is_retention_lost(
    committed: int, earliest: int, latest: int
) -> None:
    with pytest.raises(FatalError, match=f"muster.imports/0: the committed offset {committed}") as caught:
        start_offset(T0, committed, earliest, latest)
    assert caught.value.code == "RETENTION_LOST"


async def test_guard_2_retention_loss_is_reported_and_nothing_is_read(app: faust.App) -> None:
    broker = Broker({T0: 3}, earliest=5)
    consumer, owner = consumer_of(app, broker)
    with pytest.raises(FatalError, match="RETENTION_LOST"):
        await consumer.perform_seek()
    assert (owner.notices, broker.seeks) == ([("fault", "RETENTION_LOST")], {})


@pytest.mark.parametrize(("committed", "start"), [(None, 10), (-1, 10), (10, 10), (100, 100)])
def test_guard_2_both_ends_of_the_log_are_inside(committed: int | None, start: int) -> None:
    assert start_offset(T0, committed, 10, 100) == start


async def test_guard_3_nothing_is_committed_past_a_record_in_flight(app: faust.App) -> None:
    consumer, _ = consumer_of(app, Broker({T0: 0}))
    records = [message(offset) for offset in range(5)]
    for record in records:
        consumer.track_message(record)
    for offset in (1, 2, 4):
        consumer.ack(records[offset])
    assert consumer._new_offset(T0) is None
    consumer.ack(records[0])
    assert consumer._new_offset(T0) == 3
    consumer.ack(records[3])
    assert consumer._new_offset(T0) == 5


async def test_guard_3_offsets_without_records_do_not_delay_commits(app: faust.App) -> None:
    consumer, _ = consumer_of(app, Broker({T0: 0}))
    records = [message(offset) for offset in (0, 3, 10_000_000)]  # aborted records in between
    for record in records:
        consumer.track_message(record)
        await consumer._add_gap(T0, 1, record.offset)
    consumer.ack(records[0])
    assert consumer._new_offset(T0) == 1
    consumer._committed_offset[T0] = 1
    consumer.ack(records[1])
    consumer.ack(records[2])
    assert consumer._new_offset(T0) == 10_000_001
    assert consumer._new_offset(T0) is None
    assert not consumer._gap[T0]


async def test_guard_3_skipped_offsets_are_committed_after_records_in_flight(app: faust.App) -> None:
    consumer, _ = consumer_of(app, Broker({T0: 0}))
    record = message(4)
    consumer.track_message(record)
    consumer.skip_to(T0, 9)
    assert consumer._new_offset(T0) is None
    consumer.ack(record)
    assert consumer._new_offset(T0) == 9


async def test_small_records_of_a_fetch_commit_as_one_message(app: faust.App) -> None:
    broker = Broker({T0: 0, T1: 0})
    broker.fetch = {T0: list(fetched(T0, [(3, b"a"), (4, b"b"), (7, b"c")]).records), T1: []}
    consumer, _ = consumer_of(app, broker)
    ((tp, record),) = consumer.scheduler.iterate(await consumer._getmany({T0, T1}, 1.0))
    one = consumer._to_message(tp, record)
    assert (one.tp, one.offset, one.generation_id) == (T0, 7, 7)
    assert [(record.offset, record.value) for record in one.records] == [(3, b"a"), (4, b"b"), (7, b"c")]
    consumer.track_message(one)
    assert consumer._new_offset(T0) is None
    consumer.ack(one)
    assert consumer._new_offset(T0) == 8


async def test_chunk_is_a_separate_message(app: faust.App) -> None:
    broker = Broker({T0: 0})
    chunk = bytes(GROUPED_BYTES)
    values = [(0, chunk), (1, chunk), (2, b"end"), (3, None), (4, chunk), (5, b"start")]
    broker.fetch = {T0: list(fetched(T0, values).records)}
    consumer, _ = consumer_of(app, broker)
    batches = [record for _, record in consumer.scheduler.iterate(await consumer._getmany({T0}, 1.0))]
    messages = [consumer._to_message(T0, batch) for batch in batches]
    assert [[record.offset for record in message.records] for message in messages] == [[0], [1], [2, 3, 4], [5]]


async def test_guard_8_refused_logon_of_any_client_ends_the_worker(app: faust.App) -> None:
    consumer, owner = consumer_of(app, Broker({}))
    app.loop = asyncio.get_running_loop()
    report = logon._STATE.report
    assert report is not None
    # From the thread of Faust's consumer, which has its own event loop.
    await asyncio.to_thread(report, FatalError("LOGON_REFUSED", "the password is another now"))
    await asyncio.sleep(0)
    assert owner.notices == [("fault", "LOGON_REFUSED")]
    assert consumer.ownership is owner


async def test_guard_5_only_committed_records_are_read_and_the_fetcher_waits_for_events(app: faust.App) -> None:
    install(app, Owner())
    thread = app.consumer._thread  # type: ignore[attr-defined]
    reader = thread._create_worker_consumer(app.consumer.transport)
    thread.thread_loop.close()
    reader._closed = True  # it was never started
    assert (reader._isolation_level, reader._consumer_timeout) == ("read_committed", FETCHER_REST_S)


async def test_guard_4_failed_commit_does_not_count(app: faust.App) -> None:
    broker = Broker({T0: 10})
    consumer, _ = consumer_of(app, broker)
    consumer._committed_offset[T0] = 10
    broker.commit_succeeds = False
    assert await consumer._commit_offsets({T0: 20}) is False
    assert consumer._committed_offset[T0] == 10
    broker.commit_succeeds = True
    assert await consumer._commit_offsets({T0: 20}) is True
    assert consumer._committed_offset[T0] == 20


async def test_owner_learns_of_a_revocation_first(app: faust.App) -> None:
    consumer, owner = consumer_of(app, Broker({T0: 0}))
    revoking = asyncio.ensure_future(consumer.on_partitions_revoked({T0}))
    await asyncio.sleep(0)
    assert owner.notices == [("revoked", {T0})]
    revoking.cancel()
