"""Catalog records of segments, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, assert_never

from orchestration.platform.deferred import deferred
from schemas.ids import AudienceName, JobId, TenantName, Version
from schemas.segment_messages import RuleActivated, SegmentDeleted, SegmentPaused

if TYPE_CHECKING:
    from segmentation.rules.nodes import Rule

with deferred(__name__):
    from segmentation.rules import record_reader

SegmentState = Literal["active", "paused", "deleted"]
ActivationKind = Literal["activate", "pause", "delete"]
KIND_OF: Final[Mapping[SegmentState, ActivationKind]] = {"active": "activate", "paused": "pause", "deleted": "delete"}
"""Of the activation that brings workers to a state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A named rule of a tenant. No audience of the tenant has its name."""

    segment_id: JobId
    tenant: TenantName
    name: AudienceName
    state: SegmentState
    rule_version: int  # the current one
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVersion:
    """One version of a segment's rule, immutable. `text`: as written; `rule`: as JSON."""

    segment_id: JobId
    version: int
    text: str
    timezone: str | None
    rule: str
    hash: str
    author: str
    created_at_ms: int

    @property
    def parsed(self) -> "Rule":
        """The rule as a value."""
        return record_reader.rule_from_json(self.rule.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStatus:
    """A worker's latest status of a segment in one partition (`schemas.segment_messages.SegmentStatus`)."""

    segment_id: JobId
    partition: int
    partitions: int
    rule_version: int
    paused: bool
    members: int
    at_us: int
    events: int
    profiles: int
    activations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A message for the workers. `rule`: JSON of the version to activate."""

    tenant: TenantName
    sequence: int
    segment: AudienceName
    kind: ActivationKind
    rule_version: int
    rule: str

    @property
    def message(self) -> RuleActivated | SegmentPaused | SegmentDeleted:
        """The message that every partition gets."""
        tenant, segment, version = self.tenant, self.segment, self.rule_version
        match self.kind:
            case "activate":
                return RuleActivated(tenant=tenant, segment=segment, rule_version=version, rule=self.rule)
            case "pause":
                return SegmentPaused(tenant=tenant, segment=segment, rule_version=version)
            case "delete":
                return SegmentDeleted(tenant=tenant, segment=segment, rule_version=version)
            case _:
                assert_never(self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivatedAudience:
    """The version that workers use for an audience. `told`: every partition of the activations topic has it."""

    audience_id: JobId
    version: Version
    earlier: Version | None
    told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOverview:
    """A segment with its current rule and the status of its partitions, by partition number."""

    segment: Segment
    rule: RuleVersion
    partitions: Mapping[int, PartitionStatus]
