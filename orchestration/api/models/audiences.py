"""Audiences and their versions."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.access.bodies.common import AT, JOB, Example, Id, ResourceName, Shape, Time, page_of
from orchestration.access.bodies.imports import ImportSettings
from orchestration.api.models.recipients import ChangedRecipients, Recipient


class CurrentVersion(Shape):
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


class LakeTable(Shape):
    """Where Iceberg readers find an audience. `metadata`: of its current version."""

    name: str
    location: str
    metadata: str


class Audience(Shape):
    """An audience: how its files are read, and which versions are kept.

    `current` (null without a version) and `table` are there if requested; `notified` is null in lists, and
    for those who do not manage audiences. The ETag covers all but `current` and `table`.
    """

    tenant: str
    audience: str
    audience_id: Id
    spec: dict[str, Any]
    retention: dict[str, int]
    created_at: Time
    current: CurrentVersion | None = None
    table: LakeTable | None = None
    notified: list[Recipient] | None = None
    example: ClassVar[Example] = {
        "tenant": "acme",
        "audience": "vip",
        "audience_id": JOB,
        "spec": {"format": "csv", "id_column": "user_id"},
        "retention": {"versions": 10, "days": 30},
        "created_at": AT,
    }


class Retention(Shape):
    """How many versions are kept, whatever their age, and up to which age all are. Omitted fields stay.

    Null means the default, 10 versions and 30 days.
    """

    versions: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    days: Annotated[int, Field(ge=0, le=100_000)] | None = None

    def edits(self) -> dict[str, int | None]:
        """What is given; None for the default."""
        return self.model_dump(exclude_unset=True)


class NewAudience(Shape):
    """An audience without versions."""

    audience: ResourceName
    settings: ImportSettings = ImportSettings()
    retention: Retention = Retention()
    example: ClassVar[Example] = {"audience": "vip", "settings": {"id_column": "email"}, "retention": {"versions": 30}}


class ConfiguredAudience(Audience):
    """A changed audience. `warnings`: settings of the deployment without which its recipients get nothing."""

    warnings: list[str]
    example: ClassVar[Example] = {**Audience.example, "notified": [], "warnings": []}


class AudienceChange(Shape):
    """Changes to an audience. Omitted fields stay; `columns` of the settings replaces all.

    A null setting returns to its default, except that a null `max_shrink_percent` means no limit, and that
    `drop_columns` and `retype_columns` have none.
    """

    settings: ImportSettings = ImportSettings()
    retention: Retention = Retention()
    recipients: ChangedRecipients = ChangedRecipients()
    example: ClassVar[Example] = {"settings": {"mode": "append", "max_shrink_percent": 20.0}}


class Pin(Shape):
    """Whether a version is kept regardless of retention."""

    audience: str
    version: int
    pinned: bool
    changed: bool
    example: ClassVar[Example] = {"audience": "vip", "version": 3, "pinned": True, "changed": True}


class AudiencePage(Shape):
    """Audiences by name."""

    items: list[Audience]
    next: str | None
    example: ClassVar[Example] = page_of(Audience.example)


class Activity(Shape):
    """How files of events or profiles are read, for all of a tenant."""

    tenant: str
    kind: Literal["events", "profiles"]
    spec: dict[str, Any]
    example: ClassVar[Example] = {"tenant": "acme", "kind": "events", "spec": {"kind": "events", "id_column": "uid"}}


class ActivityChange(Shape):
    """Changes to how such files are read, as for an audience. Columns are added to the known ones."""

    settings: ImportSettings
    example: ClassVar[Example] = {"settings": {"columns": [{"name": "total", "type": "double"}]}}


class Version(CurrentVersion):
    """A version of an audience, and whether it is kept regardless of retention."""

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
