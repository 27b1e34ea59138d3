"""A log of membership changes with its faults, a feed over it that dies anywhere, and a receiver that only compares."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.codec import CODEC
from schemas.ids import AudienceName, Partition, TenantName
from schemas.rows import encode_rows
from schemas.segment_messages import MembershipChanges, OwnerStarted
from segmentation.feeds.following import FeedEvent, Followed, PartitionFeed
from segmentation.feeds.positions import ANY, MEMBERS, CutPart, Position

TENANT, SEGMENT = TenantName("acme"), AudienceName("buyers")
_ROWS = pa.schema([("user_id", pa.string()), ("entered", pa.bool_()), ("effective_at", pa.timestamp("us", "UTC"))])


def changes(
    rows: list[tuple[str, bool]],
    *,
    generation: int,
    seq: int,
    partition: int = 0,
    segment: str = SEGMENT,
    tenant: str = TENANT,
    at_us: int = 1_764_166_201_500_000,
) -> bytes:
    """A message about users who entered (True) or left."""
    columns = [[user for user, _ in rows], [entered for _, entered in rows], [at_us] * len(rows)]
    batch = pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, _ROWS, strict=True)], schema=_ROWS)
    return CODEC.encode(
        MembershipChanges(
            tenant=TenantName(tenant),
            segment=AudienceName(segment),
            rule_version=3,
            partition=Partition(partition),
            generation=generation,
            seq=seq,
            cause="event",
            at_us=at_us,
            events=7,
            profiles=8,
            activations=9,
            count=len(rows),
            rows=encode_rows(batch),
        )
    )


def started(partition: int = 0) -> bytes:
    """A worker has taken over."""
    return CODEC.encode(OwnerStarted(partition=Partition(partition), worker="w", started_at_us=1))


@dataclass(slots=True)
class ChangesLog:
    """One partition, its members, and the owner who writes. `first`: retention has removed what is before."""

    partition: int
    members: set[str] = field(default_factory=set)
    records: list[bytes] = field(default_factory=list)
    topic_id: str = "topic-1"
    first: int = 0
    generation: int = -1
    seq: int = 0
    at_us: int = 1_764_166_201_500_000

    def start(self) -> None:
        """Another owner."""
        self.generation, self.seq = len(self.records), 0
        self.records.append(started(self.partition))

    def change(self, users: list[str], segment: str = SEGMENT) -> None:
        """Those who are members leave, the others enter; members of another segment are not looked at."""
        rows = [(user, user not in self.members) for user in users]
        if segment == SEGMENT:
            self.members ^= set(users)
        self.at_us += 1_000_001
        self._append(changes(rows, **self._names(), segment=segment, at_us=self.at_us))
        self.seq += 1

    def repeat(self, back: int) -> None:
        """A producer's retry: an earlier message of this owner, at another offset."""
        own = self.records[self.generation + 1 :]
        if own:
            self._append(own[-1 - back % len(own)])

    def replaced_writes(self, users: list[str]) -> None:
        """An owner that was replaced has not noticed it yet."""
        if self.generation > 0:
            rows = [(user, True) for user in users]
            self._append(changes(rows, partition=self.partition, generation=self.generation - 1, seq=self.seq))

    def recreate(self, lost: list[str]) -> None:
        """Kafka was lost. Workers go on with what they know, which is not all that they had emitted."""
        number = int(self.topic_id.rpartition("-")[2]) + 1
        self.topic_id, self.records, self.first, self.members = f"topic-{number}", [], 0, self.members ^ set(lost)
        self.start()

    def _append(self, value: bytes) -> None:
        self.records.append(value)

    def _names(self) -> dict[str, Any]:
        return {"generation": self.generation, "seq": self.seq, "partition": self.partition}


class Receiver:
    """Knows users by source. Applies what is newer, and asserts that equal ids have equal bytes."""

    def __init__(self, tenant: str = TENANT, segment: str = SEGMENT) -> None:
        self._sources = f"/tenants/{tenant}/segments/{segment}/"
        self.users: dict[tuple[str, str], tuple[str, bool]] = {}
        self.bytes_of: dict[str, bytes] = {}

    def take(self, value: bytes) -> None:
        """One event."""
        event = json.loads(value)
        assert self.bytes_of.setdefault(event["id"], value) == value
        source, sequence = event["source"], event["sequence"]
        if event["type"].endswith(".reset"):
            epoch = sequence.partition(".")[0]
            for key, (known, _) in list(self.users.items()):
                if key[0] == source and known < epoch:
                    self.users[key] = (known, False)
            return
        known, member = self.users.get((source, event["subject"]), ("", None))
        if sequence > known:
            entered = event["type"].endswith(".entered")
            in_order = sequence.split(".")[1] == "1" and known.partition(".")[0] == sequence.partition(".")[0]
            assert not in_order or entered != member, "a user enters or leaves twice in a row"
            self.users[source, event["subject"]] = (sequence, entered)

    def members(self, partition: int) -> set[str]:
        """Of one source."""
        source = f"{self._sources}{partition}"
        return {user for (found, user), (_, member) in self.users.items() if found == source and member}


@dataclass(slots=True)
class FeedOfLog:
    """A feed over one partition: what a process remembers is lost when it dies, `position` and `epoch` are not."""

    log: ChangesLog
    receiver: Receiver
    epoch: int = 0
    position: Position | None = None
    topic_id: str = ""
    cut: tuple[CutPart, list[str]] | None = None

    def begin(self, *, members: bool = True) -> None:
        """With a cut of this moment."""
        log = self.log
        part = CutPart(partition=log.partition, part="p", members=len(log.members), rule_version=3, at_us=log.at_us)
        self.epoch, self.topic_id, self.cut = self.epoch + 1, log.topic_id, (part, sorted(log.members))
        self.position = Position(len(log.records), log.generation, MEMBERS if members else ANY)

    def run(self, most: int, batches: int | None, *, recorded: bool) -> None:
        """Deliver some batches, or all; then die. `recorded`: after the last batch's position was."""
        log = self.log
        if self.position is None or self.topic_id != log.topic_id or self.position.offset < log.first:
            self.begin()
        assert self.position is not None
        followed = Followed(tenant=TENANT, segment=SEGMENT, topic_id=self.topic_id, epoch=self.epoch)
        fold = PartitionFeed(followed, log.partition, self.position)
        waiting: list[FeedEvent] = []
        events = self._events(fold)
        while batches is None or batches > 0:
            while len(waiting) < most and (event := next(events, None)) is not None:
                waiting.append(event)
            batch, waiting = waiting[:most], waiting[most:]
            for one in batch:
                self.receiver.take(one.value)
            batches = None if batches is None else batches - 1
            if batch and (recorded or batches != 0):
                self.position = batch[-1].after
            if not batch:
                self.position = fold.position
                return

    def _events(self, fold: PartitionFeed) -> Iterator[FeedEvent]:
        if fold.position.seq == MEMBERS and self.cut is not None:
            part, users = self.cut
            yield from fold.members(f"cut-{self.epoch}", part, users)
            yield fold.reset(f"cut-{self.epoch}", part)
        while fold.position.offset < len(self.log.records):
            yield from fold.take(fold.position.offset, self.log.records[fold.position.offset])
