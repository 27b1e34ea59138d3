"""How a new owner takes over a partition: from a checkpoint, the log of changes, and the archive.

1. The current log is checked to be the one that the archive has (`segmentation.archived`).
2. `OwnerStarted` is sent: from its offset on, changes of previous owners are ignored.
3. The latest checkpoint is loaded if it belongs to this log of changes; one of an earlier log epoch is rebased.
4. Changes emitted since the checkpoint are read back (`segmentation.partitions.recovery`).
5. Records acknowledged since the checkpoint are read from the archive.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.errors import FatalError
from schemas.ids import Partition
from schemas.segment_messages import MembershipChanges, OwnerStarted
from schemas.topics import EVENTS, MEMBERSHIP_CHANGES, PROFILES, SEGMENT_ACTIVATIONS
from segmentation.partitions.change_log import ChangeLog, emission_of
from segmentation.partitions.checkpoint import Checkpoint
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import PartitionSegments
from segmentation.partitions.recovery import Recovery
from segmentation.partitions.tenant import PartitionHistory
from streams.segments import checkpoints
from streams.segments.change_records import change_of, check_not_replaced, owner_replaced
from streams.segments.config import SegmentWorkerConfig
from streams.segments.environment import Log, TaskEnvironment, send_all
from streams.segments.inputs import Input
from streams.segments.log_identity import foreign_log, log_matches, started_later

_log = logging.getLogger(__name__)
KEY: Final = b""
"""The key of every message in the log of changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredState:
    """State that an owner starts with. `recovery`: what the owner must reach before it emits its first change."""

    segments: PartitionSegments
    recovery: Recovery
    generation: int
    started_at_us: int
    log_epoch: int


class PartitionRecovery:
    """Recovery of one partition. `changes` and `activations` are left where the owner continues to read."""

    def __init__(
        self,
        partition: Partition,
        inputs: Mapping[str, Input],
        config: SegmentWorkerConfig,
        environment: TaskEnvironment,
        changes: Log,
        activations: Log,
    ) -> None:
        self._partition = partition
        self._inputs = inputs
        self._config = config
        self._environment = environment
        self._changes = changes
        self._activations = activations

    async def recover(self, live: Callable[[], bool]) -> RecoveredState | None:
        """Run steps 1 to 5. None if the partition was revoked meanwhile.

        Raises `RetriableError` TOPIC_REPLACED, `FatalError` OTHER_LOG, CLOCK_SKEW, OWNER_REPLACED.
        """
        logs = await self._environment.archived_logs()  # 1
        for topic, one in self._inputs.items():
            one.begin(logs[topic])
        log_epoch = max(log.epoch for log in logs.values())
        # Two rebalances at once make two owners. A revoked one must not send `OwnerStarted` after the current one, or
        # none of the current one's changes would count.
        async with self._environment.takeover_lock:
            if not live():
                return None
            started = OwnerStarted(
                partition=self._partition, worker=self._config.name, started_at_us=self._environment.now_us()
            )
            (generation,) = await send_all(
                self._environment, [(MEMBERSHIP_CHANGES, self._partition, KEY, started)]
            )  # 2
        found = await self._environment.in_thread(
            checkpoints.latest, self._environment.store, self._config.staging_bucket, self._partition
        )
        starts = {topic: one.position for topic, one in self._inputs.items()}
        log = self._environment.log(MEMBERSHIP_CHANGES, self._partition)
        if found is not None and await started_later(log, found, generation):
            raise owner_replaced(self._partition, found.generation)
        if found is None:
            position = LogPosition(events=starts[EVENTS], profiles=starts[PROFILES])
            segments = PartitionSegments(self._partition, position)
            found = Checkpoint(segments=segments, generation=-1, changes=0, next_seq=0)
        rebased = found.log_epoch < log_epoch
        same_log = await log_matches(self._environment.log(MEMBERSHIP_CHANGES, self._partition), found, generation)
        if not (same_log or rebased):
            raise foreign_log(found)
        segments = found.segments
        recovery = Recovery(segments, complete=found.generation >= 0)
        await self._read_back(found if same_log else None, recovery, generation, started.started_at_us)  # 4
        if rebased:
            recovery.limit_to(await self._ends())
            segments = await self._environment.in_thread(self._rebased, segments, starts)
        await self._activations.start(segments.position.activations)
        # A segment paused by now must be paused before the first change is emitted.
        recovery.extend_to(LogPosition(activations=await self._activations.end()))
        if not rebased:
            await self._environment.in_thread(self._catch_up, segments, recovery, starts)  # 5
        source = "rebased, with the rules of the checkpoint" if rebased else "from a checkpoint"
        _log.info(
            "partition %d: generation=%d, %s of generation %d, events from %d, profiles from %d",
            self._partition,
            generation,
            "without a checkpoint" if found.generation < 0 else source,
            found.generation,
            starts[EVENTS],
            starts[PROFILES],
        )
        return RecoveredState(
            segments=segments,
            recovery=recovery,
            generation=generation,
            started_at_us=started.started_at_us,
            log_epoch=log_epoch,
        )

    async def _read_back(
        self, since: Checkpoint | None, recovery: Recovery, generation: int, started_at_us: int
    ) -> None:
        """Run step 4: from a checkpoint of this log on, else from the start of the log."""
        await self._changes.start(0 if since is None else since.changes)
        log = ChangeLog() if since is None else ChangeLog(since.generation, since.next_seq)
        async for record in self._changes.read_to(generation + 1):
            if record.offset == generation:
                self._check_clock(started_at_us, record.timestamp * 1000)
            check_not_replaced(self._partition, generation, record)
            message = change_of(record)
            if message is not None and record.offset <= generation and log.counts(record.offset, message):
                assert isinstance(message, MembershipChanges)  # noqa: S101  # only they count
                emitted = emission_of(message)
                recovery.emitted(emitted.tenant, emitted.changes, emitted.position)

    def _check_clock(self, before_us: int, broker_us: int) -> None:
        """Check the clock: state never goes back in time, so a clock in the future would leave it stuck there."""
        allowed_us = int(self._config.clock_skew_s * 1_000_000)
        if not before_us - allowed_us <= broker_us <= self._environment.now_us() + allowed_us:
            raise FatalError(
                "CLOCK_SKEW",
                f"the clock of this worker is {(before_us - broker_us) / 1e6:+.0f} s off the broker's clock, but at "
                f"most {self._config.clock_skew_s:.0f} s are allowed: windows would be wrong. Synchronise the clocks "
                "with NTP.",
                skew_s=(before_us - broker_us) / 1e6,
            )

    async def _ends(self) -> LogPosition:
        """Current ends of the logs. Emitted positions beyond them belong to an owner of logs that no longer exist."""
        ends = {}
        for topic in (EVENTS, PROFILES, SEGMENT_ACTIVATIONS):
            log = self._environment.log(topic, self._partition)
            try:
                await log.start(0)
                ends[topic] = await log.end()
            finally:
                await log.stop()
        events, profiles = (ends[topic] + self._inputs[topic].base for topic in (EVENTS, PROFILES))
        return LogPosition(events=events, profiles=profiles, activations=ends[SEGMENT_ACTIVATIONS])

    def _rebased(self, segments: PartitionSegments, starts: Mapping[str, int]) -> PartitionSegments:
        """Apply the rules of the checkpoint to the archive's rows. Other input of its state is lost with its log.

        The emitted memberships are known from it; all activations are read again, since the control plane has resent
        them.
        """
        at_us = segments.position.at_us
        history = PartitionHistory(
            archive=self._environment.history,
            partition=self._partition,
            partitions=self._config.partitions,
            events=starts[EVENTS],
            profiles=starts[PROFILES],
        )
        tenants = {name: of_tenant.rebuilt(history, at_us) for name, of_tenant in segments.tenants.items()}
        position = LogPosition(events=starts[EVENTS], profiles=starts[PROFILES], at_us=at_us)
        return PartitionSegments(self._partition, position, tenants)

    def _catch_up(self, segments: PartitionSegments, recovery: Recovery, starts: Mapping[str, int]) -> None:
        """Take records acknowledged after the checkpoint from the archive, since Kafka does not deliver them again."""
        history = self._environment.history
        events, profiles = segments.position.events, segments.position.profiles
        for tenant in list(segments.tenants):
            for rows in history.events(tenant, self._partition, first=events, before=starts[EVENTS]):
                recovery.hold_back(segments.replay(EVENTS, rows))
            for rows in history.profiles(tenant, self._partition, first=profiles, before=starts[PROFILES]):
                recovery.hold_back(segments.replay(PROFILES, rows))
        segments.skip_to(events=starts[EVENTS], profiles=starts[PROFILES])
