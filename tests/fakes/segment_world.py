"""The surroundings of partition tasks of one partition: logs, an object store, an archive with committer, a clock.

A task can be made to die at any of its outside calls. What it had done by then stays done.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from faust.types import TP

from connectors.storage.access import S3Access
from schemas.activity import ARCHIVE_PARTITION, EVENT_ROWS, OFFSET, PROFILE_ROWS, TENANT
from schemas.activity_columns import EVENT, OCCURRED_AT
from schemas.codec import CODEC
from schemas.columns import USER_ID
from schemas.counters import Counters
from schemas.ids import AudienceName, Partition, TenantName, Version
from schemas.layout import split_s3_uri
from schemas.messages import Message
from schemas.segment_messages import ArchiveWritten, MembershipChanges
from schemas.topics import ACTIVITY_TOPICS, ARCHIVE, EVENTS, MEMBERSHIP_CHANGES, PROFILES
from segmentation.archived import ArchivedLog
from segmentation.archiving import Verdict, verdict
from segmentation.evaluation.batches import Changes
from segmentation.intake.topic_records import RecordBatch, TopicRecord
from segmentation.partitions.change_log import ChangeLog, emission_of
from segmentation.partitions.tenant import PartitionHistory
from streams.lanes import Lane
from streams.segments.change_records import change_of
from streams.segments.config import SegmentWorkerConfig
from streams.segments.environment import TaskEnvironment
from streams.segments.partition_task import PartitionTask
from streams.segments.tenants import Tenants
from tests.fakes.object_store import InMemoryObjectStore
from tests.fakes.record_batches import in_a_batch

HERE: Final = Partition(0)
BATCH: Final = 3
"""Records of a batch, where they come as one."""
_SCHEMAS = {EVENTS: EVENT_ROWS, PROFILES: PROFILE_ROWS}


class DiedError(Exception):
    """The process of a partition task died part way."""


def follow(members: set[str], changes: Changes) -> None:
    """Let users enter and leave. Fails if a change is emitted twice."""
    for user, entered in zip(changes.user_ids.to_pylist(), changes.entered.tolist(), strict=True):
        assert (user in members) != entered, f"{user} was emitted twice"
        (members.add if entered else members.remove)(user)


class World:
    """A world with one partition: every topic has only this one."""

    def __init__(self, now_us: int, **config: Any) -> None:
        self.now_us = now_us
        self.skew_us = 0  # clock of the tasks minus clock of the broker
        self.steady_s = 0.0
        self.calls_take_us = 0
        self.logs: dict[str, list[SimpleNamespace]] = {}
        self.appended = asyncio.Event()
        self.store = InMemoryObjectStore()
        self.committed = dict.fromkeys(ACTIVITY_TOPICS, 0)
        self.archived: dict[tuple[str, int], int] = {}
        self.archived_logs = dict.fromkeys(ACTIVITY_TOPICS, ArchivedLog())
        self.tables = {topic: [schema.empty_table()] for topic, schema in _SCHEMAS.items()}
        self.versions: dict[tuple[str, int], list[str]] = {}
        self.counters = Counters()
        self.tenants: dict[TenantName, int] = {}  # in addition to the default tenant: creation time of each
        self._announced = 0
        values: dict[str, Any] = {
            "bootstrap": "",
            "partitions": 1,
            "store": S3Access(endpoint="", region=""),
            "staging_bucket": "staging",
            "lake_bucket": "lake",
            "temp": None,
            "name": "w",
            "step_s": 0.0,
            "rest_s": 0.001,
            "archive_after_s": 0.0,
        }
        self.config = SegmentWorkerConfig(**(values | config))

    # --- logs

    def append(self, topic: str, value: Message | bytes | None, key: bytes = b"") -> int:
        """Append a record to a topic; returns its offset."""
        log = self.logs.setdefault(topic, [])
        self.appended.set()
        encoded = value if isinstance(value, bytes | None) else CODEC.encode(value)
        log.append(
            SimpleNamespace(
                offset=len(log),
                key=key,
                value=encoded,
                at_us=self.now_us,
                timestamp=(self.now_us - self.skew_us) // 1000,
            )
        )
        return len(log) - 1

    def messages(self, topic: str) -> list[Any]:
        """All messages of a topic, decoded."""
        return [CODEC.decode(record.value) for record in self.logs.get(topic, [])]

    def received(self) -> dict[str, set[str]]:
        """Members of each segment, as a follower of the changes sees them. Fails if a change is emitted twice."""
        log, inside = ChangeLog(), dict[str, set[str]]()
        for record in self.logs.get(MEMBERSHIP_CHANGES, []):
            message = change_of(record)
            if message is None or not log.counts(record.offset, message):
                continue
            assert isinstance(message, MembershipChanges)
            changes = emission_of(message).changes
            follow(inside.setdefault(message.segment, set()), changes)
        return {segment: members for segment, members in inside.items() if members}

    # --- the archive

    def archive(self) -> None:
        """Let the committer take what was announced."""
        log = self.logs.get(ARCHIVE, [])
        for record in log[self._announced :]:
            written = CODEC.decode(record.value)
            assert isinstance(written, ArchiveWritten)
            place = (written.topic, int(written.partition))
            if verdict(written, self.archived.get(place), self.archived_logs[written.topic].epoch) is Verdict.APPEND:
                for uri in written.files:
                    content = self.store.get(*split_s3_uri(uri))
                    assert content is not None
                    rows = pq.read_table(io.BytesIO(content)).drop_columns([ARCHIVE_PARTITION])
                    self.tables[written.topic].append(rows.cast(_SCHEMAS[written.topic]))
                self.archived[place] = written.end_offset
            elif place in self.archived:
                self.archived[place] = self.archived[place]
        self._announced = len(log)

    def rebase(self, *topics: str) -> None:
        """Lose these topics, recreate them empty and start a new log epoch, based on the archive's ends."""
        for topic in topics:
            self.logs.pop(topic, None)
        self.committed |= {topic: 0 for topic in self.committed if topic in topics}
        self._announced = len(self.logs.get(ARCHIVE, []))
        self.archived_logs = {
            topic: ArchivedLog(epoch=log.epoch + 1, base={HERE: self.archived.get((topic, 0), 0)})
            for topic, log in self.archived_logs.items()
        }

    def table(self, topic: str) -> pa.Table:
        """All archived rows."""
        return pa.concat_tables(self.tables[topic])

    def past(self) -> PartitionHistory:
        """The archived history from which a new rule starts."""
        return PartitionHistory(
            archive=_FakeHistory(self),
            partition=HERE,
            partitions=1,
            events=self.archived.get((EVENTS, 0), 0),
            profiles=self.archived.get((PROFILES, 0), 0),
        )

    # --- partition tasks

    def owner(self, beside: "LivingOwner | None" = None) -> "LivingOwner":
        """A process that takes the partition over from the committed offsets; `beside`: in the process of that task."""
        return LivingOwner(self, beside)


class LivingOwner:
    """A partition task and its outside calls. It dies after `dies_after` more of them (None: never)."""

    def __init__(self, world: World, beside: "LivingOwner | None" = None) -> None:
        self.world = world
        self.dies_after: int | None = None
        self._logs = world.archived_logs
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.takeover_lock: asyncio.Lock = asyncio.Lock() if beside is None else beside.takeover_lock
        self.delivered = dict(world.committed)
        self._lanes = {topic: Lane(TP(topic, 0), world.committed[topic], 1) for topic in ACTIVITY_TOPICS}
        self.owner = PartitionTask(
            HERE,
            self._lanes,
            world.config,
            TaskEnvironment(
                send=self._send,
                log=lambda topic, _: _FakeLog(world, topic),
                store=world.store,
                history=_FakeHistory(world),
                archived=world.archived,
                archived_logs=self._archived_logs,
                tenants=Tenants(lambda: world.tenants),
                counters=world.counters,
                in_thread=self._in_thread,
                now_us=lambda: world.now_us,
                monotonic=lambda: world.steady_s,
                takeover_lock=self.takeover_lock,
            ),
        )

    async def deliver(self, most: int = 1_000) -> None:
        """Deliver up to `most` records of each topic."""
        for topic, lane in self._lanes.items():
            log = self.world.logs.get(topic, [])
            if not (fetched := log[self.delivered[topic] :][:most]):
                continue
            last = fetched[-1].offset
            lane.deliver(self.delivered[topic], last + 1, SimpleNamespace(ack=lambda t=topic, o=last: self._ack(t, o)))
            self.delivered[topic] = last + 1
            await self.owner.deliver(list(_received(topic, log, fetched)))

    def _ack(self, topic: str, offset: int) -> None:
        if self.world.archived_logs is not self._logs:
            return  # the log epoch has changed, and with it the consumer group
        self.world.committed[topic] = max(self.world.committed[topic], offset + 1)

    def _call(self) -> None:
        if self.dies_after is not None:
            if self.dies_after == 0:
                raise DiedError
            self.dies_after -= 1

    async def _send(self, topic: str, partition: int | None, key: bytes, value: bytes) -> Awaitable[int]:
        assert partition in {None, HERE}
        await self.may_send.wait()
        self._call()
        acknowledged: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(self.world.append(topic, value, key))
        return acknowledged  # nothing awaits it if the task dies first

    async def _archived_logs(self) -> Mapping[str, ArchivedLog]:
        return self.world.archived_logs

    async def _in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        self._call()
        try:
            return call(*args)
        finally:
            self.world.now_us += self.world.calls_take_us


class _FakeLog:
    def __init__(self, world: World, topic: str) -> None:
        self._world = world
        self._topic = topic
        self.next_offset = 0

    async def start(self, offset: int) -> None:
        self.next_offset = offset

    async def stop(self) -> None:
        pass

    async def begin(self) -> int:
        return 0

    async def end(self) -> int:
        return len(self._world.logs.get(self._topic, []))

    async def read(self, wait_ms: int = 0) -> list[Any]:
        del wait_ms
        records = self._world.logs.get(self._topic, [])[self.next_offset :]
        self.next_offset += len(records)
        return records

    async def arrived(self) -> None:
        while self.next_offset == await self.end():
            self._world.appended.clear()
            await self._world.appended.wait()

    async def read_to(self, end: int) -> AsyncIterator[Any]:
        assert end <= len(self._world.logs.get(self._topic, []))
        for record in await self.read():
            yield record


class _FakeHistory:
    """`segmentation.historical_activity.HistoricalActivity` over the archive of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def known_users(
        self, tenant: TenantName, partition: Partition, *, events: int, profiles: int
    ) -> Iterator[pa.StringArray]:
        for topic, before in ((EVENTS, events), (PROFILES, profiles)):
            for batch in self._batches(topic, tenant, partition, 0, before):
                yield batch.column(USER_ID)

    def events(
        self,
        tenant: TenantName,
        partition: Partition,
        *,
        before: int,
        first: int = 0,
        names: Sequence[str] | None = None,
        since_us: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        since = None if since_us is None else pa.scalar(since_us, EVENT_ROWS.field(OCCURRED_AT).type)
        for rows in self._batches(EVENTS, tenant, partition, first, before):
            found = rows if names is None else rows.filter(pc.is_in(rows.column(EVENT), pa.array(names, pa.string())))
            yield found if since is None else found.filter(pc.greater(found.column(OCCURRED_AT), since))

    def profiles(
        self, tenant: TenantName, partition: Partition, *, before: int, first: int = 0
    ) -> Iterator[pa.RecordBatch]:
        yield from self._batches(PROFILES, tenant, partition, first, before)

    def members(
        self, tenant: TenantName, audience: AudienceName, version: Version, partition: Partition, partitions: int
    ) -> Iterator[pa.StringArray]:
        del tenant
        assert (partition, partitions) == (HERE, 1)
        yield pa.array(self._world.versions[audience, version], pa.string())

    def _batches(
        self, topic: str, tenant: TenantName, partition: Partition, first: int, before: int
    ) -> Iterator[pa.RecordBatch]:
        assert (self._world.archived.get((topic, int(partition))) or 0) >= before, "the archive has not come so far"
        table = self._world.table(topic)
        offsets = table.column(OFFSET)
        wanted = pc.and_(pc.greater_equal(offsets, first), pc.less(offsets, before))
        yield from table.filter(pc.and_(wanted, pc.equal(table.column(TENANT), tenant))).to_batches()


def _received(
    topic: str, log: list[SimpleNamespace], fetched: list[SimpleNamespace]
) -> Iterator[TopicRecord | RecordBatch]:
    """Every other three records come as a batch, which begins where the log says, wherever reading begins."""
    for (group, at_us), found in groupby(fetched, key=lambda record: (record.offset // BATCH, record.at_us)):
        records = list(found)
        if group % 2:
            yield from (_taken(topic, record) for record in records)
        else:
            in_log = log[group * BATCH : records[-1].offset + 1]
            whole = [_taken(topic, record) for record in in_log if record.at_us == at_us]
            yield in_a_batch(whole, skipped=records[0].offset - whole[0].offset)


def _taken(topic: str, record: SimpleNamespace) -> TopicRecord:
    return TopicRecord(
        topic=topic,
        partition=HERE,
        offset=record.offset,
        key=record.key,
        value=record.value,
        received_at_us=record.at_us,
    )
