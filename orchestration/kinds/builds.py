"""What a stage leaves in the `build` column of a job for later stages, one type per kind of job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from orchestration.catalog.records import Job
from schemas.columns import RowSchema
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId, Partition, Version
from schemas.records import fields_record, from_record
from segmentation.versions import MembershipCounts, Part, SegmentRule


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStart:
    """For imports of events and profiles: the end of each partition of the topic before the first message.

    Rows of the same file below these positions belong to an earlier import.
    """

    since: tuple[int, ...] = ()

    @classmethod
    def of(cls, job: Job) -> Self:
        """Empty if the job has sent nothing."""
        return from_record(cls, job.build or {})

    @property
    def positions(self) -> Mapping[Partition, int]:
        """Positions by partition."""
        return {Partition(number): end for number, end in enumerate(self.since)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CutAsked:
    """For snapshots: what the newest attempt has asked the partitions for."""

    cut_id: JobId
    at_us: int
    rule_version: int
    rule_hash: str

    @classmethod
    def of(cls, job: Job) -> Self:
        """Raises `FatalError` NOT_SENT if it has asked for nothing."""
        if job.build is None:
            raise FatalError(
                "NOT_SENT", f"job {job.job_id} is {job.state} and has requested no snapshot", job=job.job_id
            )
        return from_record(cls, job.build["asked"])


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotBuild:
    """For built snapshots: the rule, the log position of each partition, and members of audiences who are not known.

    `cuts`: {partition, and the names of `kinds.snapshot.cuts.POSITION_FIELDS`}. `outside`, `known_only_by`: as of
    `UnknownMembers`; None if they could not be counted.
    """

    asked: CutAsked
    rule: SegmentRule
    cuts: Sequence[Mapping[str, Any]]
    outside: Sequence[Mapping[str, Any]] | None = None
    known_only_by: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionBuild:
    """For what becomes a version: its parts, and their counts compared with the base version."""

    attempt: Attempt
    base_version: Version | None
    parts: tuple[Part, ...]
    columns: RowSchema
    counts: MembershipCounts | None
    snapshot: SnapshotBuild | None = None

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """None for a replace, which is published as materialised."""
        if (record := job.build) is None:
            return None
        snapshot = record if "rule" in record else None
        return from_record(cls, {**record, "columns": {"columns": record["columns"]}, "snapshot": snapshot})

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data: the fields, and those of the snapshot among them."""
        record = fields_record(self)
        return record | (record.pop("snapshot") or {})
