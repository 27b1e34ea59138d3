"""Segments in memory: workers that share partitions, committers of the archive, producers and people."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import pyarrow as pa

from orchestration.control.archive_consumer import ArchiveConsumer
from schemas.counters import Counters
from schemas.partitioning import partitions_of
from schemas.topics import ACTIVITY_TOPICS, SEGMENT_ACTIVATIONS, SEGMENT_WORKER_GROUP
from streams.segments.partition_task import PartitionTask
from tests.simulation.deployment import Deployment
from tests.simulation.faults import Faults
from tests.simulation.group import Group
from tests.simulation.kernel import Process
from tests.simulation.log import Consumer
from tests.simulation.relay import Event
from tests.simulation.segments.archive import Archive
from tests.simulation.segments.broker import ControlProducer, SegmentBroker
from tests.simulation.segments.naive import Meaning
from tests.simulation.segments.oracle import Oracle
from tests.simulation.segments.people import ACME, People
from tests.simulation.segments.worker import SegmentWorker

if TYPE_CHECKING:
    from tests.simulation.patching import Holder

PARTITIONS: Final = 2
SKEW_MS: Final = 75_000
"""Clocks differ by up to this much; a worker whose clock is off by more than a minute must refuse to work."""
COMMITTER: Final = "orchestration.control.archive_consumer"


@cache
def _partition_of(user: str, partitions: int) -> int:
    return int(partitions_of(pa.array([user]), partitions)[0][0])


class SegmentWorld(Deployment):
    """Everything of one schedule."""

    def __init__(self, seed: int, faults: Faults, temp: Path, holder: "Holder[SegmentWorld]") -> None:
        super().__init__(seed, faults, temp, holder, skew_ms=SKEW_MS)
        self.partitions = PARTITIONS
        self.broker = SegmentBroker(self.ports, PARTITIONS)
        self.archive = Archive(self.ports, self.store, self.partition_of)
        self.oracle = Oracle(self)
        self.broker.put_at = self.oracle.appended
        self.group = Group(self.broker, ACTIVITY_TOPICS, name=SEGMENT_WORKER_GROUP, together=True)
        self.people = People(self)
        self._workers: list[SegmentWorker] = []
        for number in range(1, 2 + self.kernel.random.choice((1, 1, 2))):
            self._keep_running(f"worker {number}", "worker", self._work)
        for number in range(1, 2 + (self.kernel.random.random() < 0.3)):
            self._keep_running(f"relay {number}", "relay", lambda _: run_committer(self))
        self.people.begin()

    @property
    def published(self) -> int:
        """Changes that a receiver has counted."""
        return sum(len(received.counted) for received in self.oracle.received)

    def _work(self, process: Process) -> None:
        worker = SegmentWorker(
            self.kernel,
            process,
            self.group,
            self.store,
            self.archive,
            lambda: {ACME: 0},
            self.oracle.folded,
            self.luck(process),
        )
        self._workers = [one for one in self._workers if not one.process.dead] + [worker]
        worker.run()

    # --- the log -----------------------------------------------------------------------------------------------------

    def partition_of(self, user: str) -> int:
        """The partition of a user."""
        return _partition_of(user, PARTITIONS)

    def broker_end(self, topic: str, partition: int) -> int:
        """The offset of the next record."""
        return len(self.broker.of((topic, partition)))

    def produce(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None, Meaning]]) -> None:
        """Append a batch of records, with what their producer means; None: they are refused."""
        self.oracle.meant += [meaning for *_, meaning in records]
        self.broker.put_batch(topic, partition, [(key, value) for key, value, _ in records])

    def mark(self, topic: str, partition: int) -> None:
        """End a producer's transaction."""
        self.broker.mark(topic, partition)
        self.oracle.marked((topic, partition))

    def put(self, topic: str, partition: int, value: bytes) -> None:
        """Append a record."""
        self.broker.put(topic, partition, b"", value)

    # --- the schedule ------------------------------------------------------------------------------------------------

    def run(self, faulty_steps: int, calm_steps: int) -> None:
        """Run one history; in some schedules the topics are recreated at its end, and another one follows."""
        super().run(faulty_steps, calm_steps)
        self.faults.active = True
        if not self.faults.strike("topics recreated"):
            return
        for worker in self._workers:
            self.kernel.kill(worker.process)
        self.broker.recreate(ACTIVITY_TOPICS, SEGMENT_WORKER_GROUP)
        self.group.rebalance()
        self.archive.rebase(ACTIVITY_TOPICS)
        self.people.begin()
        super().run(faulty_steps, calm_steps)

    def finished(self) -> None:
        """Every partition has an owner, and its receivers have what the log says."""
        self.oracle.finished(self._owners())

    def at_rest(self) -> bool:
        """True if people are done, and every record is taken, archived and acknowledged by owners that rest."""
        if not self.people.done or len(owners := self._owners()) < PARTITIONS:
            return False
        return all(map(self._rests, owners))

    def _owners(self) -> list[PartitionTask]:
        """The task of each partition that has recovered, and of which all changes count.

        The announcement of an earlier owner may come late. Then the next change shows the owner that it counts as
        replaced; until then it may rest.
        """
        live = [task for worker in self._workers if not worker.process.dead for task in worker.tasks.values()]
        latest = {task.partition: task for task in sorted(live, key=lambda task: task._generation)}
        return [
            task
            for task in latest.values()
            if task._recovery is None
            and (
                task._generation == (started := self.oracle.received[task.partition].owner)
                or task._emitted_to <= started
            )
        ]

    def _rests(self, task: PartitionTask) -> bool:
        if not any(task in worker.tasks.values() and worker.rests(task) for worker in self._workers):
            return False
        position = task.segments.position
        ends = {topic: self.broker_end(topic, task.partition) for topic in (*ACTIVITY_TOPICS, SEGMENT_ACTIVATIONS)}
        archived = [self.archive.logs[topic].position(task.partition, ends[topic]) for topic in ACTIVITY_TOPICS]
        acknowledged = [self.group.committed((topic, int(task.partition))) or 0 for topic in ACTIVITY_TOPICS]
        return (
            [position.events, position.profiles] == archived
            and position.activations == ends[SEGMENT_ACTIVATIONS]
            and acknowledged == [ends[topic] for topic in ACTIVITY_TOPICS]
            and task._snapshots.next_us > self.kernel.now_us
        )


class GroupConsumer(Consumer):
    """`GroupConsumer`. Every instance consumes, as after a rebalance that a frozen one has not noticed."""

    slower = 3.0

    def assigned(self) -> bool:
        return True


def run_committer(world: SegmentWorld) -> None:
    """Run the committer of the archive until its process is killed."""
    stop: Any = Event(world.kernel, slower=1)
    archive: Any = world.archive
    ArchiveConsumer(archive, "", stop, Counters()).run()


@contextmanager
def patched(holder: "Holder[SegmentWorld]") -> Iterator[None]:
    """Run the product on simulated servers until the end of the block."""

    def now_ms() -> int:
        return holder.now.kernel.now_us // 1000 + holder.now.kernel.process.skew_ms

    replaced: dict[str, Any] = {
        f"{COMMITTER}.now_ms": now_ms,
        f"{COMMITTER}.GroupConsumer": lambda _, *of: GroupConsumer(holder.now.broker, *of),
        f"{COMMITTER}.TopicIds": lambda _: SimpleNamespace(topic_id=lambda _topic: ""),
        f"{COMMITTER}.ControlPlaneProducer": lambda _: ControlProducer(holder.now.broker),
        "streams.memory.release_free": lambda: None,
    }
    with ExitStack() as stack:
        for target, value in replaced.items():
            stack.enter_context(patch(target, value))
        yield
