"""Segments and their rules."""

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.api.models.common import AT, JOB, Example, Id, Moment, Shape, Time, page_of
from orchestration.api.models.submissions import AudienceName


class Segment(Shape):
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
    example: ClassVar[Example] = {
        "tenant": "acme",
        "segment": "buyers",
        "segment_id": JOB,
        "state": "active",
        "rule": "count(purchase, 30d) >= 2",
        "timezone": None,
        "rule_version": 1,
        "rule_hash": "9f86d081884c7d65",
        "members": 1200,
        "as_of": AT,
        "lag_s": 0.4,
        "partitions": 8,
        "reported": 8,
        "complete": True,
        "created_at": AT,
        "updated_at": AT,
    }


class SegmentPage(Shape):
    """Segments by name."""

    items: list[Segment]
    next: str | None
    example: ClassVar[Example] = page_of(Segment.example)


class SegmentPartition(Shape):
    """The latest report of a partition."""

    partition: int
    rule_version: int
    paused: bool
    members: int
    as_of: Time
    events: int
    profiles: int
    activations: int


class SegmentDetail(Segment):
    """A segment with its partitions."""

    of_partitions: list[SegmentPartition]
    example: ClassVar[Example] = {**Segment.example, "of_partitions": []}


class RuleVersion(Shape):
    """One rule that a segment has had."""

    rule_version: int
    rule: str
    timezone: str | None
    rule_hash: str
    author: str
    created_at: Time


class RuleVersions(Shape):
    """The rules of a segment, oldest first."""

    items: list[RuleVersion]
    example: ClassVar[Example] = {
        "items": [
            {
                "rule_version": 1,
                "rule": "count(purchase, 30d) >= 2",
                "timezone": None,
                "rule_hash": "9f86d081884c7d65",
                "author": "ann",
                "created_at": AT,
            }
        ]
    }


class SegmentRule(Shape):
    """A rule, as text, or as JSON (schemas/rule.schema.json), which names its own time zone."""

    rule: Annotated[str, Field(max_length=500_000)] | dict[str, Any]
    timezone: Annotated[str, Field(max_length=50)] | None = None
    example: ClassVar[Example] = {"rule": "count(purchase, 30d) >= 2"}

    def text(self) -> str:
        """The rule, JSON as text."""
        return self.rule if isinstance(self.rule, str) else json.dumps(self.rule)


class NewSegment(SegmentRule):
    """A segment to evaluate."""

    segment: AudienceName
    example: ClassVar[Example] = {"segment": "buyers", "rule": "count(purchase, 30d) >= 2"}


class SegmentState(Shape):
    """Whether a segment is evaluated."""

    state: Literal["active", "paused"]
    example: ClassVar[Example] = {"state": "paused"}


class NewSnapshot(Shape):
    """A snapshot of a segment, now or `at` an instant within the next hour, into `audience` (SEGMENT-snapshot).

    `allow_shrink`: publish regardless of how many members are lost.
    """

    audience: AudienceName | None = None
    at: Moment | None = None
    allow_shrink: bool = False
    example: ClassVar[Example] = {"audience": "buyers-snapshot"}
