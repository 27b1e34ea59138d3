"""Segments and their rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, Example, Id, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment. `members`: of the partitions that have reported; `complete`: all have, for this rule version."""

    tenant: str
    segment: str
    segment_id: Id
    state: Literal["active", "paused"]
    rule: str
    timezone: str | None
    rule_version: int
    rule_hash: str
    members: int | None
    as_of: Time | None
    lag_s: float | None
    partitions: int
    reported: int
    complete: bool
    created_at: Time
    updated_at: Time
    revision: ClassVar = ("segment_id", "state", "rule_version")
    example: ClassVar[Example] = {
        "tenant": "acme",
        "segment": "buyers",
        "segment_id": EXAMPLE_ID,
        "state": "active",
        "rule": "count(purchase, 30d) >= 2",
        "timezone": None,
        "rule_version": 1,
        "rule_hash": "9f86d081884c7d65",
        "members": 1200,
        "as_of": EXAMPLE_TIME,
        "lag_s": 0.4,
        "partitions": 8,
        "reported": 8,
        "complete": True,
        "created_at": EXAMPLE_TIME,
        "updated_at": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPartition:
    """The latest report of a partition."""

    partition: int
    rule_version: int
    paused: bool
    members: int
    as_of: Time
    events: int
    profiles: int
    activations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDetail(Segment):
    """A segment with its partitions. `unexcluded_lists`: standing lists of the tenant whose members may be in it."""

    unexcluded_lists: Sequence[str]
    of_partitions: Sequence[SegmentPartition]
    example: ClassVar[Example] = {**Segment.example, "unexcluded_lists": ["unsubscribed"], "of_partitions": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVersion:
    """One rule that a segment has had."""

    rule_version: int
    rule: str
    timezone: str | None
    rule_hash: str
    author: str
    created_at: Time
    example: ClassVar[Example] = {
        "rule_version": 1,
        "rule": "count(purchase, 30d) >= 2",
        "timezone": None,
        "rule_hash": "9f86d081884c7d65",
        "author": "ann",
        "created_at": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSize:
    """Members at the last report of an hour in which all partitions had reported. Hours without one are left out."""

    hour: Time
    members: int
    rule_version: int
    example: ClassVar[Example] = {"hour": EXAMPLE_TIME, "members": 1200, "rule_version": 1}
