"""Bodies of requests about segments."""

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.access.bodies.common import Moment, ResourceName, Shape
from orchestration.catalog.segments import NewRule
from orchestration.operations.segments import rule_of
from orchestration.records.fields import Example


class SegmentRule(Shape):
    """A rule, as text, or as JSON (schemas/rule.schema.json), which names its own time zone."""

    rule: Annotated[str, Field(max_length=500_000)] | dict[str, Any]
    timezone: Annotated[str, Field(max_length=50)] | None = None

    def text(self) -> str:
        """The rule, JSON as text."""
        return self.rule if isinstance(self.rule, str) else json.dumps(self.rule)

    def given(self) -> NewRule:
        """As the catalog takes it. Raises as `rule_of`."""
        return rule_of(self.text(), self.timezone)


class SegmentEdit(SegmentRule):
    """Another rule of a segment. `approve`: the token of a refusal (EDIT_WOULD_CHANGE), or of a preview of the edit."""

    approve: Annotated[str, Field(max_length=20_000, pattern=r"^[0-9A-Za-z_.-]*$")] | None = None
    example: ClassVar[Example] = {"rule": "count(purchase, 30d) >= 3"}


class NewSegment(SegmentRule):
    """A segment to evaluate."""

    segment: ResourceName
    example: ClassVar[Example] = {"segment": "buyers", "rule": "count(purchase, 30d) >= 2"}


class SegmentState(Shape):
    """Whether a segment is evaluated."""

    state: Literal["active", "paused"]
    example: ClassVar[Example] = {"state": "paused"}


class NewSnapshot(Shape):
    """A snapshot of a segment, now or `at` an instant within the next hour, into `audience` (SEGMENT-snapshot).

    `allow_shrink`: publish regardless of how many members are lost.
    """

    audience: ResourceName | None = None
    at: Moment | None = None
    allow_shrink: bool = False
    example: ClassVar[Example] = {"audience": "buyers-snapshot"}
