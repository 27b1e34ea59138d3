"""Catalog records of feeds, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from orchestration.records.feeds import FeedPhase, FeedShape, FeedStart, FeedState
from schemas.ids import AudienceName, JobId, TenantName
from segmentation.feeds import positions
from segmentation.feeds.positions import MEMBERS, CutPart, Position, Positions


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCut:
    """The cut with whose members a feed begins, until all of them are delivered."""

    cut_id: JobId
    parts: tuple[CutPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A batch that the receiver refuses for good, and the positions after it."""

    events: int
    after: Positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A feed. `topic_id`, `positions`: None if it has still to begin. `key_number`: how often its key was replaced."""

    feed_id: JobId
    tenant: TenantName
    name: str
    segment: AudienceName
    target: str
    shape: FeedShape
    start: FeedStart
    author: str
    created_at_ms: int
    state: FeedState = "active"
    key_number: int = 0
    both_keys_until_ms: int | None = None
    epoch: int = 1
    topic_id: str | None = None
    positions: Mapping[int, Position] | None = None
    cut: FeedCut | None = None
    delivered: int = 0
    delivered_at_ms: int | None = None
    behind: int | None = None
    seen_at_ms: int | None = None
    trouble: Mapping[str, Any] | None = None
    trouble_since_ms: int | None = None
    refused: Refused | None = None

    @property
    def phase(self) -> FeedPhase:
        """What is being delivered."""
        if self.positions is None:
            return "waiting"
        return "members" if any(one.seq == MEMBERS for one in self.positions.values()) else "changes"

    @property
    def sends_members(self) -> bool:
        """Whether it begins with the members: only the first beginning of one that starts now does not."""
        return self.start == "all" or self.epoch > 1

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> Self:
        """A row of the table."""
        stored = {one.name: row[one.name] for one in fields(cls)}
        cut, refused = stored["cut"], stored["refused"]
        parts = None if cut is None else tuple(CutPart.from_record(part) for part in cut["parts"])
        return cls(
            **{
                **stored,
                "positions": stored["positions"] and positions.from_json(stored["positions"]),
                "cut": None if parts is None else FeedCut(cut_id=cut["cut_id"], parts=parts),
                "refused": refused and Refused(events=refused["events"], after=positions.from_json(refused["after"])),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFeed:
    """A feed that this process delivers: what it writes counts only while it has the lease."""

    feed: Feed
    lease: str
