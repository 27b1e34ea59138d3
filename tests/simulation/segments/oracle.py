"""Invariants of segments: what is read back from the log of changes is what the whole log says, at the same position.

Changes are read by docs/follow_segments.py, the script for receivers. The expected members are those of `naive`.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pyarrow.parquet as pq

from connectors.kafka.log_offsets import PartitionKey
from schemas.activity import OFFSET
from schemas.codec import CODEC, UndecodableError
from schemas.ids import AudienceName, Partition
from schemas.layout import checkpoint_prefix, split_s3_uri
from schemas.messages import DeadLetter, EventRecord
from schemas.segment_messages import AudienceActivated, CutRequested, SegmentCut, SegmentStatus
from schemas.topics import (
    ACTIVITY_TOPICS,
    EVENTS,
    MEMBERSHIP_CHANGES,
)
from segmentation.expressions.literals import EPOCH
from segmentation.partitions.log_position import LogPosition
from segmentation.rules.sequences import Sequence
from streams.segments.partition_task import PartitionTask
from tests.fakes.receivers import SCHEMAS, script
from tests.naive_rules import Aggregate, Event
from tests.simulation.oracle import Violation
from tests.simulation.segments.naive import AudienceOf, EventOf, Meaning, Members, NaiveLog, Segment

if TYPE_CHECKING:
    from tests.simulation.segments.world import SegmentWorld

NOBODY: Final = frozenset[str]()


@cache
def _decoder() -> Any:
    return script("follow_segments").decoder(SCHEMAS)


@dataclass
class Received:
    """What a receiver has read of one partition."""

    members: dict[Segment, set[str]] = field(default_factory=lambda: defaultdict(set))
    position: LogPosition = field(default_factory=LogPosition)
    generation: int = -1  # of the last change
    owner: int = -1  # the latest one, by the offset at which it started
    begins_with: LogPosition | None = None  # the position of this owner's first change
    had_checkpoint: bool = False
    counted: list[tuple[int, Segment, str, bool]] = field(default_factory=list)
    """Offset, segment, user and whether the user entered, of all changes."""


@dataclass
class Oracle:
    """The simulated broker calls it at every record, and workers after every fold."""

    world: "SegmentWorld"
    meant: list[Meaning] = field(default_factory=list)
    """Of the records that are being appended."""
    misplaced: dict[str, list[EventOf]] = field(default_factory=dict)
    """By the id that the forwarded event has."""
    forwarded: list[EventOf] = field(default_factory=list)
    refused: set[tuple[str, int, int]] = field(default_factory=set)
    letters: set[tuple[str, int, int]] = field(default_factory=set)
    requested: dict[str, CutRequested] = field(default_factory=dict)
    cuts: dict[tuple[str, int], SegmentCut] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.logs = [NaiveLog() for _ in range(self.world.partitions)]
        self.received = [Received() for _ in range(self.world.partitions)]
        self._follow = script("follow_segments")
        self._receiver = self._follow.Memberships()

    # --- the log -----------------------------------------------------------------------------------------------------

    def appended(self, place: PartitionKey, record: Any) -> None:
        """A record was appended."""
        topic, partition = place
        match topic:
            case "muster.events":
                if not self.meant:
                    self.logs[partition].add_event(self._forwarded(record.value))
                    return
                meaning = self.meant.pop(0)
                if isinstance(meaning, EventOf):
                    meaning = self._placed(partition, meaning)
                else:
                    self.refused.add((*place, record.offset))
                self.logs[partition].add_event(meaning)
            case "muster.profiles":
                meaning = self.meant.pop(0)
                self.logs[partition].add_profile(meaning)
                if meaning is None:
                    self.refused.add((*place, record.offset))
            case "muster.segment-activations":
                self.logs[partition].activations.append(self._activation(partition, record.value))
            case "muster.membership-changes":
                self._changed(partition, record)
            case "muster.segment-status":
                self._reported(CODEC.decode(record.value))
            case "muster.dead-letters":
                letter = CODEC.decode(record.value)
                assert isinstance(letter, DeadLetter)
                self.letters.add((letter.topic, letter.partition, letter.offset))

    def marked(self, place: PartitionKey) -> None:
        """An offset holds no record."""
        log = self.logs[place[1]]
        (log.add_event if place[0] == EVENTS else log.add_profile)(None)

    def _placed(self, partition: int, meaning: EventOf) -> EventOf | None:
        """The event at the next position. None if it is to be forwarded; without an id it gets one from its origin."""
        event, origin = meaning.event, f"{EVENTS}/{partition}/{len(self.logs[partition].events)}"
        if self.world.partition_of(event.user) == partition:
            return replace(meaning, event=replace(event, id=event.id or f"at {origin}"))
        moved_id = event.id.removeprefix("id ") or origin
        self.misplaced.setdefault(moved_id, []).append(replace(meaning, event=replace(event, id=f"id {moved_id}")))
        return None

    def answered(self, cut_id: str) -> bool:
        """True if all partitions have answered a request for a snapshot."""
        return all((cut_id, partition) in self.cuts for partition in range(self.world.partitions))

    def _forwarded(self, value: bytes) -> EventOf:
        moved = CODEC.decode(value)
        assert isinstance(moved, EventRecord)
        at = EPOCH + timedelta(microseconds=moved.occurred_at_us)
        arrived = Event(
            user=moved.user_id,
            name=moved.event,
            occurred_at=at,
            id=f"id {moved.event_id}",
            properties=dict(moved.properties),
        )
        meaning = EventOf(tenant=moved.tenant, event=arrived)
        sent = self.misplaced.get(moved.event_id or "", [])
        self.require(meaning in sent, f"{meaning} was forwarded, but sent was {sent}")
        self.forwarded.append(meaning)
        return meaning

    def _activation(self, partition: int, value: bytes) -> Any:
        try:
            message = CODEC.decode(value)
        except UndecodableError:
            return None
        if isinstance(message, AudienceActivated):
            users = self.world.archive.versions[message.tenant, message.audience, message.version]
            here = frozenset(user for user in users if self.world.partition_of(user) == partition)
            return AudienceOf(tenant=message.tenant, audience=message.audience, users=here)
        if isinstance(message, CutRequested):
            self.requested[message.cut_id] = message
            return None
        return message

    # --- after every fold --------------------------------------------------------------------------------------------

    def folded(self, task: PartitionTask) -> None:
        """An owner that has recovered has the members that the whole log gives at its position."""
        if task._recovery is not None:
            return
        segments = task.segments
        now: Members = {}
        for tenant, of_tenant in segments.tenants.items():
            for name in of_tenant.rules:
                ids = segments.members(tenant, AudienceName(name))
                now[tenant, name] = NOBODY if ids is None else frozenset(ids.to_pylist())
        self._compare(task.partition, segments.position, now, frozen=now, who="the state")

    def _compare(self, partition: int, position: LogPosition, found: Members, *, frozen: Members, who: str) -> None:
        expected = self.logs[partition].answer(position, frozen)
        for segment in {*expected, *found}:
            one, other = expected.get(segment, NOBODY), found.get(segment, NOBODY)
            self.require(
                one == other,
                f"{who} of {'/'.join(segment)} in partition {partition} has {sorted(other)}, but the log says "
                f"{sorted(one)} at {position}",
            )

    # --- the log of changes ------------------------------------------------------------------------------------------

    def _changed(self, partition: int, record: Any) -> None:
        name, message = _decoder()(record.value)
        received = self.received[partition]
        if name == "OwnerStarted":
            received.owner, received.begins_with = record.offset, None
            received.had_checkpoint = bool(self.world.store.keys("staging", checkpoint_prefix(Partition(partition))))
            if received.had_checkpoint:
                self.world.faults.saw("owner finds a checkpoint")
        elif message["generation"] < received.owner:
            self.world.faults.saw("change of a replaced owner")
        try:
            changes = self._receiver.take(partition, record.offset, name, message)
        except self._follow.ContradictionError as exc:
            self.object(f"a receiver cannot follow: {exc}")
        if not changes:
            return
        position = LogPosition(**{key: message[key] for key in ("events", "profiles", "activations", "at_us")})
        self.require(position.reached(received.position), f"{position} comes after {received.position}")
        if message["generation"] == received.generation and position != received.position:
            self.read_back(partition, received.position)
        segment = message["tenant"], message["segment"]
        received.begins_with = received.begins_with or position
        # Without a checkpoint, a new owner cannot know all members of a paused segment, and says how they differ.
        recovers = not received.had_checkpoint and position == received.begins_with
        self.require(recovers or not self._is_paused(partition, segment, position), f"{segment} is paused, and changes")
        self._count(partition, message, position)
        received.position, received.generation = position, message["generation"]
        for change in changes:
            user = change["user_id"]
            self.require(self.world.partition_of(user) == partition, f"{user} is reported in partition {partition}")
            (received.members[segment].add if change["entered"] else received.members[segment].remove)(user)
            received.counted.append((record.offset, segment, user, change["entered"]))

    def _is_paused(self, partition: int, segment: Segment, position: LogPosition) -> bool:
        rules = self.logs[partition].rules(position.activations).get(segment[0])
        return rules is not None and segment[1] in rules.paused

    def _count(self, partition: int, message: Any, position: LogPosition) -> None:
        faults = self.world.faults
        faults.saw("changes received")
        if message["seq"] == 0 and message["generation"] > 0:
            faults.saw("difference after a takeover")
        named = {
            "time": "left or entered by time alone",
            "rule": "changed by a rule",
            "members": "changed by an audience",
        }
        if (kind := named.get(message["cause"])) is not None:
            faults.saw(kind)
        if (
            (rules := self.logs[partition].rules(position.activations).get(message["tenant"])) is None
            or (active := rules.segments.get(message["segment"])) is None
            or (by := {"event": "an event", "time": "time alone"}.get(message["cause"])) is None
        ):
            return
        for type_, what in ((Sequence, "sequence"), (Aggregate, "aggregate")):
            if any(isinstance(condition, type_) for condition in active.rule.conditions):
                faults.saw(f"{what} changed by {by}")

    def read_back(self, partition: int, position: LogPosition) -> None:
        """What a receiver has is the answer at the position of an owner that has emitted everything up to it."""
        members = {segment: frozenset(users) for segment, users in self.received[partition].members.items()}
        self._compare(partition, position, members, frozen=members, who="a receiver")

    # --- reports -----------------------------------------------------------------------------------------------------

    def _reported(self, message: Any) -> None:
        rules = self.logs[message.partition].rules(message.activations).get(message.tenant)
        position = LogPosition(
            events=message.events, profiles=message.profiles, activations=message.activations, at_us=message.at_us
        )
        if isinstance(message, SegmentStatus):
            if rules is None or message.segment in rules.unsettled:
                return
            members = self.logs[message.partition].answer(position, {}).get((message.tenant, message.segment))
            self.require(members is not None and message.members == len(members), f"{message}: the log says {members}")
            return
        assert isinstance(message, SegmentCut)
        found = self._members_of(message)
        active = None if rules is None else rules.segments.get(message.segment)
        self.require(message.rule_version == (0 if active is None else active.version), f"{message}: another rule")
        self.require(message.members == len(found), f"{message}: there are {len(found)}")
        segment = message.tenant, message.segment
        if rules is None or message.segment not in rules.unsettled:
            expected = self.logs[message.partition].answer(position, {}).get(segment, NOBODY)
            self.require(found == expected, f"{message} has {sorted(found)}, but the log says {sorted(expected)}")
        if self.received[message.partition].owner == message.generation:
            told = self._as_of(message.partition, segment, message.changes)
            self.require(found == told, f"{message} has {sorted(found)}, but a receiver has {sorted(told)}")
        self.world.faults.saw("snapshot")
        self.cuts[message.cut_id, message.partition] = message

    def _members_of(self, cut: SegmentCut) -> frozenset[str]:
        if cut.part is None:
            return NOBODY
        stored = self.world.store.find(*split_s3_uri(cut.part))
        if stored is None:
            self.object(f"{cut}: its file is not there")
        return frozenset(pq.read_table(BytesIO(stored.body)).column("user_id").to_pylist())

    def _as_of(self, partition: int, segment: Segment, offset: int) -> frozenset[str]:
        members = set[str]()
        for at, of_segment, user, entered in self.received[partition].counted:
            if at < offset and of_segment == segment:
                (members.add if entered else members.remove)(user)
        return frozenset(members)

    # --- the end -----------------------------------------------------------------------------------------------------

    def finished(self, owners: Iterable[PartitionTask]) -> None:
        """Faults have ceased and everything has come to rest."""
        for task in owners:
            self.folded(task)
            self.read_back(task.partition, task.segments.position)
            for topic in ACTIVITY_TOPICS:
                self._archived_once(topic, task.partition)
        lost = self.refused - self.letters
        self.require(not lost, f"records were refused and are no dead letters: {sorted(lost)}")
        stuck = [event for sent in self.misplaced.values() for event in sent if event not in self.forwarded]
        self.require(not stuck, f"misplaced events were not forwarded: {stuck}")
        for cut in self.cuts.values():
            self._followed(cut)

    def _archived_once(self, topic: str, partition: Any) -> None:
        meant = self.logs[partition].events if topic == EVENTS else self.logs[partition].profiles
        tables = self.world.archive.tables.get((topic, partition), [])
        offsets = sorted(offset for table in tables for offset in table.column(OFFSET).to_pylist())
        expected = [offset for offset, meaning in enumerate(meant) if meaning is not None]
        self.require(offsets == expected, f"{topic}/{partition}: the archive has {offsets}, the log {expected}")

    def _followed(self, cut: SegmentCut) -> None:
        """A receiver that begins with a snapshot ends up with the members of one that has read everything."""
        follower = self._follow.Memberships()
        segment = cut.tenant, cut.segment
        follower.followed = segment
        rows = ((*segment, user) for user in sorted(self._members_of(cut)))
        follower.db.executemany("INSERT INTO members VALUES (?, ?, ?, NULL)", rows)
        follower.db.execute("INSERT INTO places VALUES (?, ?, ?, NULL)", (cut.partition, cut.changes, cut.generation))
        for record in self.world.broker.of((MEMBERSHIP_CHANGES, cut.partition))[cut.changes :]:
            try:
                follower.take(cut.partition, record.offset, *_decoder()(record.value))
            except self._follow.ContradictionError as exc:
                self.object(f"a receiver that begins with {cut} cannot follow: {exc}")
        members = {user for (user,) in follower.db.execute("SELECT user FROM members")}
        expected = self.received[cut.partition].members[segment]
        self.require(members == expected, f"a receiver that begins with {cut} has {members}, another {expected}")

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def require(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001
        """Raise `Violation` unless the condition holds."""
        if not holds:
            self.object(otherwise)

    def object(self, text: str) -> NoReturn:
        """Raise `Violation`, and end the schedule with it even if the code in between catches it."""
        violation = Violation(text)
        self.world.kernel.error = self.world.kernel.error or violation
        raise violation
