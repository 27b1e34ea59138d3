"""Eight guards around faust-streaming 0.15.3 and aiokafka 0.14, and the hooks that report partition ownership.

1. The set of active partitions is frozen before aiokafka gets it: Faust passes the live set, and when a rebalance
   empties it, aiokafka reads that as "all partitions", moves their positions, and Faust drops the records.
2. After a rebalance every partition is explicitly rewound to its committed offset, or to the start of the log if it has
   none; Faust's `seek_to_committed` does not move partitions at None or 0. Acknowledgements from before the rewind are
   forgotten, since those records are delivered again. A committed offset outside the log is RETENTION_LOST. Faust
   rewinds from two tasks, after a rebalance and when it pauses its flow. Here they run one at a time, and a rewind
   overtaken by a rebalance is discarded: finishing last, it would leave every lane in a generation without records.
3. Nothing is committed past a record that is still in flight (faust-streaming issue 606). Otherwise the last
   acknowledged offset is committed: lanes acknowledge in order, so offsets without a record are no reason to wait.
   Faust detects only some of these gaps, and stores one number per offset.
4. The view of committed offsets advances only after a successful commit (faust-streaming issue 316).
5. Records sent in a transaction are read once it is committed, and never if it is aborted. Faust enables this only
   together with transactions of its own.
6. The process ends when the task that keeps the consumer in its group has ended, or when the group refuses the
   consumer. aiokafka reports both only in calls that Faust never makes, and waits for such a call: the worker would
   stay up without partitions forever.
7. A compressed batch is decompressed up to a limit; a malicious one would otherwise crash each worker that reads it.
8. The process ends when Kafka refuses the logon or its certificate is not trusted: aiokafka would retry forever.

The lanes' ledgers check again that records arrive without a gap: a gap ends the process.

In addition, for speed: records of a fetch pass through Faust together (`Fetched`), since each message costs about 100
us there. And a worker with a backlog does not wait for partitions that have none: aiokafka asks a broker for one thing
at a time. While fetched records wait to be taken, it already asks for the other partitions; if all of these are at
their end, such as those of small imports, that would take 1.5 s (Faust's), in which nothing else is fetched.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, cast

from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from faust import App
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, ConsumerMessage

from connectors.kafka.aiokafka_logon import report_refusals
from schemas.errors import FatalError
from streams.decompression import limit_batches
from streams.record_batches import as_whole_batches, read_whole_batches

READ_COMMITTED: Final = "read_committed"
"""aiokafka's isolation level: no records after the first open transaction, and none of an aborted one."""
FETCHER_REST_S: Final = 5.0
"""How often aiokafka's fetcher looks around without an event. Assignments, seeks and answers are events."""
WAIT_BESIDE_RECORDS_MS: Final = 50
"""How long a fetch may wait for records while fetched ones wait to be taken."""
GROUPED_BYTES: Final = 256 * 1024
"""Records of one fetch form one Faust message up to this size, so a chunk is a message of its own."""


class Ownership(Protocol):
    """Callbacks, in the event loop, about which partitions deliver from where. Must not block."""

    def on_revoked(self, partitions: set[TP]) -> None:
        """Other workers may own the partitions now: none of their records may be acknowledged any more."""

    def on_rewound(self, positions: Mapping[TP, int], generation: int) -> None:
        """The partitions deliver from these offsets, under this generation of the group."""

    def on_fault(self, error: FatalError) -> None:
        """Partitions cannot be read, or not from the required offset: the process must end."""


class Fetched(ConsumerMessage):
    """Records of one partition (at least one), in order, as aiokafka returns them. Its offset is the last record's.

    The receiver empties `records`, since the message stays in memory until it is acknowledged.
    """

    def __init__(self, tp: TP, records: Sequence[Any], generation: int) -> None:
        last = records[-1]
        super().__init__(
            topic=tp.topic,
            partition=tp.partition,
            offset=last.offset,
            timestamp=last.timestamp / 1000,
            timestamp_type=last.timestamp_type,
            headers=None,
            key=b"",  # for Faust to decode
            value=b"",
            checksum=None,
            tp=tp,
            generation_id=generation,
        )
        self.records = deque(records)


class GuardedThread(AIOKafkaConsumerThread):
    """The thread of Faust's consumer, with guards 5 and 6."""

    async def on_start(self) -> None:
        """Watch the consumer from its start; before it subscribes, the group cannot refuse it."""
        await super().on_start()
        consumer = self._ensure_consumer()
        wait_briefly_beside_records(consumer._fetcher)  # noqa: SLF001
        coordinator = consumer._coordinator  # noqa: SLF001
        coordinator._coordination_task.add_done_callback(self._on_group_left)  # noqa: SLF001
        push = coordinator._push_error_to_user  # noqa: SLF001

        def report(exc: Exception) -> Any:
            self._fault(group_refusal(coordinator.group_id, exc))
            return push(exc)

        coordinator._push_error_to_user = report  # noqa: SLF001

    def _on_group_left(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (cause := task.exception()) is None:
            return
        if isinstance(cause, FatalError):  # guard 8
            self._fault(cause)
            return
        self._fault(FatalError("GROUP_LOST", f"the worker is no longer a member of its group, and exits: {cause}"))

    def _fault(self, error: FatalError) -> None:
        self.parent_loop.call_soon_threadsafe(cast(SafeConsumer, self.consumer).ownership.on_fault, error)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # All are used when the consumer is started.
        consumer._isolation_level = READ_COMMITTED  # noqa: SLF001  # guard 5
        consumer._consumer_timeout = FETCHER_REST_S  # noqa: SLF001
        if cast(SafeConsumer, self.consumer).whole_batches:
            consumer._value_deserializer = as_whole_batches  # noqa: SLF001
        return consumer


class SafeConsumer(Consumer):
    """Faust's consumer with the guards. `whole_batches`: it yields `streams.record_batches.WholeBatch`."""

    ownership: Ownership
    whole_batches: bool = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rewinding = asyncio.Lock()

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return GuardedThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109  # Faust's name
        if active_partitions is not None:
            active_partitions = frozenset(active_partitions)  # type: ignore[assignment]  # guard 1
            if not active_partitions:
                await self.sleep(0.1)
                return {}
        found = await super()._getmany(active_partitions, timeout)
        return {tp: list(_grouped(records)) for tp, records in found.items()}

    def _to_message(self, tp: TP, record: Sequence[Any]) -> Fetched:
        return Fetched(tp, record, self.app.consumer_generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Notify the owner first, before anything is awaited."""
        self.ownership.on_revoked(set(revoked))
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Rewind every assigned partition to its committed offset or to the start of its log (guard 2)."""
        async with self._rewinding:
            await self._rewind()

    async def _rewind(self) -> None:
        generation = self.app.consumer_generation_id
        committed = {TP(tp.topic, tp.partition): offset for tp, offset in (await self.seek_to_committed()).items()}
        partitions = sorted(TP(tp.topic, tp.partition) for tp in self.assignment())
        if not partitions:
            return
        earliest = await self.earliest_offsets(*partitions)
        latest = await self.highwaters(*partitions)
        try:
            positions = {tp: start_offset(tp, committed.get(tp), earliest[tp], latest[tp]) for tp in partitions}
        except FatalError as exc:
            self.ownership.on_fault(exc)
            raise
        for tp in partitions:
            for acknowledged in (self._acked, self._acked_index, self._gap):
                acknowledged.pop(tp, None)
        await self.seek_wait(positions)
        if generation != self.app.consumer_generation_id:
            return  # the rewind of the newer generation waits for this one
        for tp, offset in positions.items():
            self._read_offset[tp] = offset or None
            self._committed_offset[tp] = committed.get(tp) or None
        self.ownership.on_rewound(positions, generation)

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]
        in_flight = min((m.offset for m in list(self._unacked_messages) if m.tp == tp and not m.acked), default=None)
        done = [offset for offset in acked if in_flight is None or offset < in_flight]
        if not done:
            return None
        acked[:] = [offset for offset in acked if in_flight is not None and offset >= in_flight]
        self._acked_index[tp].difference_update(done)
        return max(done) + 1

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: `_new_offset` needs no list of gaps."""

    def skip_to(self, tp: TP, end: int) -> None:
        """Acknowledge offsets below `end` that hold no record, as if there were one at `end` - 1."""
        self._acked[tp].append(end - 1)
        self._acked_index[tp].add(end - 1)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002  # Faust's signature
        before = {tp: self._committed_offset.get(tp) for tp in offsets}
        did_commit = await super()._commit_offsets(offsets, start_new_transaction=start_new_transaction)
        if not did_commit:  # guard 4: Faust has advanced its view regardless
            for tp, offset in before.items():
                if self._committed_offset.get(tp) == offsets[tp]:
                    self._committed_offset[tp] = offset
        return bool(did_commit)


def wait_briefly_beside_records(fetcher: Any) -> None:
    """Let fetches of aiokafka's `Fetcher` wait for records only while it holds none."""
    plan = fetcher._get_actions_per_node  # noqa: SLF001
    resting_ms = fetcher._fetch_max_wait_ms  # noqa: SLF001

    def planned(assignment: Any) -> Any:
        fetcher._fetch_max_wait_ms = WAIT_BESIDE_RECORDS_MS if fetcher._records else resting_ms  # noqa: SLF001
        return plan(assignment)

    fetcher._get_actions_per_node = planned  # noqa: SLF001


def _grouped(records: Iterable[Any]) -> Iterator[list[Any]]:
    group: list[Any] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record.value or b"")
        if size >= GROUPED_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


class SafeTransport(Transport):
    """Faust's aiokafka transport, with the guarded consumer."""

    Consumer = SafeConsumer


def group_refusal(group: str, cause: Exception) -> FatalError:
    """The error for a failure after which aiokafka stops serving the group."""
    what = f"the group {group} does not accept the worker: {type(cause).__name__}: {cause}"
    if isinstance(cause, GroupAuthorizationFailedError | TopicAuthorizationFailedError):
        what += f". Allow its user to read the group {group}, and to read and describe its topics"
    return FatalError("GROUP_REFUSED", f"{what}. The worker exits, to be restarted", group=group)


def start_offset(tp: TP, committed: int | None, earliest: int, latest: int) -> int:
    """The offset to read a partition from. Raises `FatalError` RETENTION_LOST if the log no longer has it."""
    if committed is None or committed < 0:
        return earliest
    if not earliest <= committed <= latest:
        raise FatalError(
            "RETENTION_LOST",
            f"{tp.topic}/{tp.partition}: the committed offset {committed} is outside the log ({earliest} to {latest}); "
            "records expired before they were read, or the topic was recreated. Abort the running imports, then reset "
            "the offsets of the group.",
            topic=tp.topic,
            partition=tp.partition,
            committed=committed,
            earliest=earliest,
            latest=latest,
        )
    return committed


def install(app: App, ownership: Ownership, *, whole_batches: bool = False) -> None:
    """Set the guarded transport of an app, before the app starts."""
    limit_batches()  # guard 7
    read_whole_batches()

    def report(error: FatalError) -> None:
        app.loop.call_soon_threadsafe(ownership.on_fault, error)

    report_refusals(report)  # guard 8

    class OwnedConsumer(SafeConsumer):
        pass

    class OwnedTransport(SafeTransport):
        Consumer = OwnedConsumer

    OwnedConsumer.ownership = ownership
    OwnedConsumer.whole_batches = whole_batches
    app.transport = OwnedTransport(app.conf.broker_consumer, app)
