"""Audiences, their versions, and how events and profiles are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from orchestration.records.fields import ABSENT, EXAMPLE_ID, EXAMPLE_TIME, Absent, Example, Id, Sparse, Time
from orchestration.records.recipients import Recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentVersion:
    """A version of an audience. `membership`: its changes against `base_version`; null if they were not counted."""

    version: int
    tag: str
    snapshot_id: int
    made_by: Id
    attempt: int
    mode: str
    members: int
    digest: str
    schema: Sequence[Mapping[str, Any]]
    base_version: int | None
    source_version: int | None
    membership: Mapping[str, Any] | None
    published_at: Time
    reason: str
    rule: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version(CurrentVersion):
    """A version of an audience, and whether it is kept regardless of retention."""

    pinned: bool
    example: ClassVar[Example] = {
        "version": 1,
        "tag": "v1",
        "snapshot_id": 1729109898650294267,
        "made_by": EXAMPLE_ID,
        "attempt": 1,
        "mode": "replace",
        "members": 3,
        "digest": "0e5451e8f5412cf3:3:1f394f64ccb6e076:c7df9653f51f8a9d",
        "schema": [{"name": "age", "type": "long"}],
        "base_version": None,
        "source_version": None,
        "membership": {"base": 0, "added": 3, "removed": 0, "kept": 0, "members": 3, "updated": 0},
        "published_at": EXAMPLE_TIME,
        "reason": "",
        "rule": None,
        "pinned": False,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Whether a version is kept regardless of retention."""

    audience: str
    version: int
    pinned: bool
    changed: bool
    example: ClassVar[Example] = {"audience": "vip", "version": 3, "pinned": True, "changed": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeTable:
    """Where Iceberg readers find an audience. `metadata`: of its current version."""

    name: str
    location: str
    metadata: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience(Sparse):
    """An audience: how its files are read, and which versions are kept.

    `folders` sets: a folder in its part of the inbox is one import, once `_SUCCESS` is in it; files: each file is one.
    `current` (null without a version) and `table` are there if requested; `notified` is null in lists, and
    for those who do not manage audiences. The ETag covers all but `current` and `table`.
    """

    tenant: str
    audience: str
    audience_id: Id
    spec: Mapping[str, Any]
    retention: Mapping[str, int]
    folders: Literal["files", "sets"]
    created_at: Time
    notified: Sequence[Recipient] | Absent | None = ABSENT
    current: CurrentVersion | Absent | None = ABSENT
    table: LakeTable | Absent | None = ABSENT
    revision: ClassVar = ("audience", "audience_id", "spec", "retention", "folders", "notified")
    example: ClassVar[Example] = {
        "tenant": "acme",
        "audience": "vip",
        "audience_id": EXAMPLE_ID,
        "spec": {"format": "csv", "id_column": "user_id"},
        "retention": {"versions": 10, "days": 30},
        "folders": "files",
        "created_at": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAudience(Audience):
    """A changed audience. `warnings`: settings of the deployment without which its recipients get nothing."""

    warnings: Sequence[str]
    example: ClassVar[Example] = {**Audience.example, "notified": [], "warnings": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """How files of events or profiles are read, for all of a tenant."""

    tenant: str
    kind: Literal["events", "profiles"]
    spec: Mapping[str, Any]
    example: ClassVar[Example] = {"tenant": "acme", "kind": "events", "spec": {"kind": "events", "id_column": "uid"}}
