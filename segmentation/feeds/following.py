"""The fold of a feed: records of one partition of the membership changes -> events.

The rules are those of docs/consuming.md, with its numbers:
2. After an `OwnerStarted`, only changes of its generation count, from seq 0 on.
3. Changes of a lower generation are a replaced owner's; a seq that was taken already is a repetition. A missing seq
   means that messages were lost: the feed has to begin again.
4. A feed that begins in the middle takes the first seq that it finds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import pyarrow as pa

from schemas.codec import CODEC
from schemas.feed_events import ChangeNames, Data, Kind, beginning_names, encoded, source_of, time_text
from schemas.rows import decode_rows
from schemas.segment_messages import MembershipChanges
from segmentation.feeds.headers import CHANGES, STARTED, change_header, encoded_names
from segmentation.feeds.positions import ANY, CutPart, Position


class FeedEvent(NamedTuple):
    """One event. `after`: the position of its partition once it is delivered; `user` is None for a reset."""

    partition: int
    user: str | None
    kind: Kind
    value: bytes
    after: Position


class GapError(Exception):
    """Messages are missing from the log: the feed has to begin again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What a feed follows. `epoch` counts its beginnings, from 1."""

    tenant: str
    segment: str
    topic_id: str
    epoch: int


class PartitionFeed:
    """The fold of one partition. `position` is where it is once all events that it has given are delivered."""

    def __init__(self, followed: Followed, partition: int, position: Position) -> None:
        self.number = partition
        self.position = position
        self.rule_version: int | None = None
        """Of the latest message of the segment."""
        self._followed = followed
        self._names = encoded_names(followed.tenant, followed.segment)
        self._source = source_of(followed.tenant, followed.segment, partition)

    def members(self, cut_id: str, part: CutPart, users: Iterable[str]) -> Iterator[FeedEvent]:
        """The members with which the feed begins, from `position` on. `users` are all, in the order of the file.

        Raises `GapError` if they are not as many as the cut had.
        """
        start, followed, at = self.position, self._followed, time_text(part.at_us)
        data = Data(followed.segment, part.rule_version, at, "reset")
        total = 0
        for row, user in enumerate(users):
            total = row + 1
            if row < start.ordinal:
                continue
            names = beginning_names(cut_id, followed.epoch, self.number, row)
            self.position = start._replace(ordinal=total)
            value = encoded(names, self._source, "entered", at, data, user)
            yield FeedEvent(self.number, user, "entered", value, self.position)
        if total != part.members:
            raise GapError(f"partition {self.number}: {total} of {part.members} members of the cut are left")

    def reset(self, cut_id: str, part: CutPart) -> FeedEvent:
        """What follows the members: whoever was not named in this epoch has left."""
        names = beginning_names(cut_id, self._followed.epoch, self.number, part.members)
        at = time_text(part.at_us)
        data = Data(self._followed.segment, part.rule_version, at, "reset", part.members)
        self.position = Position(self.position.offset, self.position.generation, ANY)
        value = encoded(names, self._source, "reset", at, data, None)
        return FeedEvent(self.number, None, "reset", value, self.position)

    def take(self, offset: int, value: bytes | None) -> list[FeedEvent]:
        """The events of a record. Raises `GapError`; `UndecodableError` for a broken message."""
        events: list[FeedEvent] = []
        _, generation, expected, _ = self.position
        if value is not None and value.startswith(STARTED):
            generation, expected = offset, 0  # 2
        elif value is not None and value.startswith(CHANGES):
            found = change_header(value)
            if found.generation > generation or (found.generation == generation and expected in {ANY, found.seq}):
                if found.names == self._names:
                    events = self._expanded(offset, cast(MembershipChanges, CODEC.decode(value)))
                generation, expected = found.generation, found.seq + 1  # 4
            elif found.generation == generation and found.seq > expected:  # 3
                raise GapError(
                    f"partition {self.number}, offset {offset}: messages {expected} to {found.seq - 1} of "
                    f"generation {generation} are missing"
                )
        self.position = Position(offset + 1, generation, expected)
        return events

    def _expanded(self, offset: int, message: MembershipChanges) -> list[FeedEvent]:
        rows = decode_rows(message.rows)
        users, entered = rows.column("user_id").to_pylist(), rows.column("entered").to_pylist()
        since = rows.column("effective_at").cast(pa.int64()).to_pylist()
        delivered = self.position.ordinal if self.position.offset == offset else 0
        at, followed, self.rule_version = time_text(message.at_us), self._followed, message.rule_version
        names = ChangeNames(followed.topic_id, followed.epoch, message)
        events = []
        data_of: dict[int, Data] = {}  # most users of a message have the same time
        for row in range(delivered, len(users)):
            kind: Kind = "entered" if entered[row] else "left"
            if (data := data_of.get(since[row])) is None:
                data = Data(message.segment, message.rule_version, time_text(since[row]), message.cause)
                data_of[since[row]] = data
            value = encoded(names.of(row), self._source, kind, at, data, users[row])
            if row == len(users) - 1:
                after = Position(offset + 1, message.generation, message.seq + 1)
            else:
                after = Position(offset, message.generation, message.seq, row + 1)
            events.append(FeedEvent(self.number, users[row], kind, value, after))
        return events
