"""Recovery after Kafka, or some of its topics, was lost and recreated, while lake, catalog and checkpoints remain.

1. Find topics of events and profiles that are not the archive's, and checkpoints that belong to another log of changes.
2. Stop the segment workers if their count follows the work, check that the group has no members, and move it to the
   start of the new topics.
3. Have the relay send all rules and audiences again: the log that held them may be lost, too. This completes before
   step 4: a worker that started without them would announce that all members leave.
4. Continue both tables after their last position, in a new log epoch (`connectors.lake.archive_rebase`). Workers that
   start from here on evaluate all rules over the archive, and announce the difference from what their checkpoints say
   was announced. Workers that step 2 has stopped start again.
It may die at any point and is then run again: only the last commit of step 4 clears what step 1 finds.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from connectors.kafka.log_offsets import log_ends, log_starts
from connectors.kafka.topic_ids import TopicIds
from connectors.kafka.worker_group import WorkerGroup
from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError, UserError
from schemas.ids import Partition
from schemas.topics import ACTIVITY_TOPICS, MEMBERSHIP_CHANGES, SEGMENT_WORKER_GROUP
from streams.segments import checkpoints
from streams.segments.log_identity import log_matches
from streams.segments.log_reader import LogReader

if TYPE_CHECKING:
    from connectors.lake.archive import ActivityArchive
    from orchestration.catalog.activations import ActivationStore
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.platform.settings import Settings
    from streams.staging import StagingStore

EMPTY_WITHIN_S: Final = 40.0
"""A worker that was killed stays a member until its session ends."""
STOPPED_WITHIN_S: Final = 150.0
"""The same for workers that are asked to stop: a service gives them time, and a count may be set again after 30 s."""
RESENT_WITHIN_S: Final = 60.0
POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFound:
    """A topic of events or profiles: its id in Kafka, where its partitions begin, and how it relates to the archive.

    `replaced`: the archive belongs to another topic of this name. `archived`: records in the archive, over all topics
    of this name. `waiting`: records that the topic has now. `expired`: records that it had and no longer has.
    """

    topic: str
    topic_id: str
    replaced: bool
    starts: Mapping[Partition, int]
    archived: int
    waiting: int
    expired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Result of step 1. `log_epoch`: the next one. `checkpoints`: partitions with a checkpoint of another log."""

    topics: tuple[TopicFound, ...]
    checkpoints: tuple[Partition, ...]
    log_epoch: int

    @property
    def needed(self) -> bool:
        """True if anything was recreated."""
        return bool(self.checkpoints) or any(topic.replaced for topic in self.topics)

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "needed": self.needed,
            "era": self.log_epoch,
            "topics": [
                {
                    "topic": one.topic,
                    "replaced": one.replaced,
                    "archived": one.archived,
                    "waiting": one.waiting,
                    "expired": one.expired,
                }
                for one in self.topics
            ],
            "checkpoints_of_another_log": list(self.checkpoints),
        }


class Counts(Protocol):
    """`operations.scaling.Scaler`."""

    @property
    def fixed(self) -> bool:
        """Whether it does nothing."""
        ...

    def ensure(self, now_ms: int) -> None:
        """Start what the committed work needs. Never raises."""
        ...

    def without_segment_workers(self, clock: Callable[[], int]) -> AbstractContextManager[None]:
        """Stop segment workers for the block. Raises `RetriableError`, `FatalError` of the services."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebase:
    """Continues archive and segments on recreated topics; the steps are in the module's docstring."""

    activations: "ActivationStore"
    archive: "ActivityArchive"
    audiences: "AudienceStore"
    scaler: Counts
    settings: "Settings"
    staging: "StagingStore"

    def inspect(self) -> Found:
        """Step 1, which changes nothing. Raises `RetriableError` KAFKA_UNAVAILABLE, LAKE_UNAVAILABLE."""
        return Found(
            topics=tuple(self._topic(topic) for topic in ACTIVITY_TOPICS),
            checkpoints=self.foreign_checkpoints(),
            log_epoch=self._log_epoch() + 1,
        )

    def foreign_checkpoints(self) -> tuple[Partition, ...]:
        """Partitions whose checkpoint workers refuse with OTHER_LOG. Raises as `inspect`. Reads all checkpoints."""
        try:
            return asyncio.run(self._foreign_checkpoints(self._log_epoch()))
        except KafkaError as exc:
            raise RetriableError("KAFKA_UNAVAILABLE", f"reading {MEMBERSHIP_CHANGES} failed: {exc!r}") from exc

    def run(self, found: Found, sleep: Callable[[float], None] = time.sleep) -> int:
        """Steps 2 to 4; returns how many segments are sent again.

        Raises `UserError` WORKERS_RUNNING, `RetriableError` NOT_TOLD, KAFKA_UNAVAILABLE, ARCHIVE_CONFLICT,
        LAKE_UNAVAILABLE.
        """
        with self.scaler.without_segment_workers(now_ms):
            self._reset(found, sleep)  # 2
            resent = self.activations.resend_all(now_ms())  # 3
            self.scaler.ensure(now_ms())  # the control plane may be off
            self._wait_until_resent(sleep)
            for one in found.topics:  # 4
                self.archive.rebase(one.topic, topic_id=one.topic_id, starts=one.starts, log_epoch=found.log_epoch)
        return resent

    def _log_epoch(self) -> int:
        return max(self.archive.log(topic).epoch for topic in ACTIVITY_TOPICS)

    def _wait_until_resent(self, sleep: Callable[[float], None]) -> None:
        deadline = time.monotonic() + RESENT_WITHIN_S
        while not all(self.activations.all_sent(tenant) for tenant in self.audiences.tenants()):
            if time.monotonic() > deadline:
                raise RetriableError(
                    "NOT_TOLD",
                    "the relay has not resent all rules: is it running? Start it and repeat; the archive is unchanged",
                )
            sleep(POLL_S)

    def _topic(self, topic: str) -> TopicFound:
        bootstrap, partitions = self.settings.kafka_bootstrap, self.settings.partitions
        topic_id, known = TopicIds(bootstrap).topic_id(topic), self.archive.topic_id(topic)
        starts, ends = log_starts(bootstrap, topic, partitions), log_ends(bootstrap, topic, partitions)
        return TopicFound(
            topic=topic,
            topic_id=topic_id,
            replaced=known is not None and known != topic_id,
            starts={Partition(number): start for number, start in enumerate(starts)},
            archived=sum(self.archive.archived_to(topic).values()),
            waiting=sum(ends) - sum(starts),
            expired=sum(starts),
        )

    async def _foreign_checkpoints(self, log_epoch: int) -> tuple[Partition, ...]:
        settings, other = self.settings, []
        for partition in map(Partition, range(settings.partitions)):
            checkpoint = checkpoints.latest(self.staging, settings.staging_bucket, partition)
            # A worker already starts over from a checkpoint of an earlier epoch.
            if checkpoint is None or checkpoint.log_epoch < log_epoch:
                continue
            log = LogReader(settings.kafka_bootstrap, MEMBERSHIP_CHANGES, partition)
            await log.start(0)
            try:
                end = await log.end()
            finally:
                await log.stop()
            if not await log_matches(
                LogReader(settings.kafka_bootstrap, MEMBERSHIP_CHANGES, partition), checkpoint, end
            ):
                other.append(partition)
        return tuple(other)

    def _reset(self, found: Found, sleep: Callable[[float], None]) -> None:
        """Step 2. Kafka refuses to move the offsets of a group that has members."""
        group = WorkerGroup(
            self.settings.kafka_bootstrap,
            self.settings.partitions,
            name=SEGMENT_WORKER_GROUP,
            topics=ACTIVITY_TOPICS,
        )
        starts = {(one.topic, int(p)): start for one in found.topics if one.replaced for p, start in one.starts.items()}
        deadline = time.monotonic() + (EMPTY_WITHIN_S if self.scaler.fixed else STOPPED_WITHIN_S)
        members = 0
        while True:
            try:
                if not (members := group.members()) and group.set_offsets(starts):
                    return
            except KafkaException as exc:
                if time.monotonic() > deadline:
                    raise RetriableError(
                        "KAFKA_UNAVAILABLE", f"the offsets of the worker group cannot be moved: {exc}"
                    ) from exc
            if time.monotonic() > deadline:
                raise UserError(
                    "WORKERS_RUNNING",
                    f"the group {SEGMENT_WORKER_GROUP} has {members} members: stop the segment workers first",
                    members=members,
                )
            sleep(POLL_S)
