"""What the API answers about audiences, segments, schedules and recipients."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.api.models import AT, JOB, Example, Id, Shape, Time, page_of


class Audience(Shape):
    """An audience: how its files are read, and which versions are kept."""

    tenant: str
    audience: str
    audience_id: Id
    spec: dict[str, Any]
    retention: dict[str, int]
    created_at: Time
    example: ClassVar[Example] = {
        "tenant": "acme",
        "audience": "vip",
        "audience_id": JOB,
        "spec": {"format": "csv", "id_column": "user_id"},
        "retention": {"versions": 10, "days": 30},
        "created_at": AT,
    }


class AudiencePage(Shape):
    """Audiences by name."""

    items: list[Audience]
    next: str | None
    example: ClassVar[Example] = page_of(Audience.example)


class Version(Shape):
    """A version of an audience. `membership`: its changes against `base_version`; null if they were not counted."""

    version: int
    tag: str
    snapshot_id: int
    made_by: Id
    attempt: int
    mode: str
    members: int
    digest: str
    columns: Annotated[list[dict[str, Any]], Field(alias="schema")]
    base_version: int | None
    source_version: int | None
    membership: dict[str, Any] | None
    published_at: Time
    reason: str
    rule: dict[str, Any] | None
    pinned: bool
    example: ClassVar[Example] = {
        "version": 1,
        "tag": "v1",
        "snapshot_id": 1729109898650294267,
        "made_by": JOB,
        "attempt": 1,
        "mode": "replace",
        "members": 3,
        "digest": "0e5451e8f5412cf3:3:1f394f64ccb6e076:c7df9653f51f8a9d",
        "schema": [{"name": "age", "type": "long"}],
        "base_version": None,
        "source_version": None,
        "membership": {"base": 0, "added": 3, "removed": 0, "kept": 0, "members": 3, "updated": 0},
        "published_at": AT,
        "reason": "",
        "rule": None,
        "pinned": False,
    }


class VersionPage(Shape):
    """Versions of an audience, newest first."""

    items: list[Version]
    next: str | None
    example: ClassVar[Example] = page_of(Version.example)


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


class Schedule(Shape):
    """A recurring import, export or snapshot, with its last run."""

    schedule: Id
    tenant: str
    name: str
    kind: Literal["import", "export", "snapshot"]
    expression: str
    timezone: str
    enabled: bool
    created_at: Time
    next_due: Time | None
    request: dict[str, Any]
    trouble: dict[str, Any] | None
    last: dict[str, Any] | None
    example: ClassVar[Example] = {
        "schedule": JOB,
        "tenant": "acme",
        "name": "nightly",
        "kind": "import",
        "expression": "cron(0 6 * * ? *)",
        "timezone": "UTC",
        "enabled": True,
        "created_at": AT,
        "next_due": AT,
        "request": {"tenant": "acme", "audience": "vip", "bucket": "crm", "key": "vip-{date}.csv"},
        "trouble": None,
        "last": None,
    }


class SchedulePage(Shape):
    """Schedules by name."""

    items: list[Schedule]
    next: str | None
    example: ClassVar[Example] = page_of(Schedule.example)


class Recipient(Shape):
    """Who is notified. A URL is shown without its query."""

    channel: Literal["log", "email", "webhook"]
    address: str


class Recipients(Shape):
    """Recipients of notices."""

    items: list[Recipient]
    example: ClassVar[Example] = {"items": [{"channel": "email", "address": "ops@acme.example"}]}
