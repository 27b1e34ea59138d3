"""What a stage leaves in the `build` column of a job for later stages, one type per kind of job."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from orchestration.catalog.records import Job
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId, Partition, Version
from segmentation.versions import MembershipCounts, Part, SegmentRule


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStart:
    """For imports of events and profiles: the end of each partition of the topic before the first message.

    Rows of the same file below these positions belong to an earlier import.
    """

    since: tuple[int, ...]

    @classmethod
    def of(cls, job: Job) -> Self:
        """Empty if the job has sent nothing."""
        return cls(since=tuple((job.build or {}).get("since", ())))

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"since": list(self.since)}

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
        return cls(**job.build["asked"])

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotBuild:
    """For built snapshots: the rule, the log position of each partition, and members that the rule cannot ask about.

    `cuts`: {partition, and the names of `kinds.snapshot.cuts.POSITION_FIELDS`}. `outside`: records of `Outside`; None
    if they could not be counted.
    """

    asked: CutAsked
    rule: SegmentRule
    cuts: Sequence[Mapping[str, Any]]
    outside: Sequence[Mapping[str, Any]] | None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "asked": self.asked.as_record(),
            "rule": self.rule.as_record(),
            "cuts": list(self.cuts),
            "outside": None if self.outside is None else list(self.outside),
        }


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
        snapshot = None
        if "rule" in record:
            snapshot = SnapshotBuild(
                asked=CutAsked(**record["asked"]),
                rule=SegmentRule.from_record(record["rule"]),
                cuts=record["cuts"],
                outside=record.get("outside"),
            )
        return cls(
            attempt=Attempt(record["attempt"]),
            base_version=record["base_version"],
            parts=tuple(part_from_record(part) for part in record["parts"]),
            columns=RowSchema.from_record(record["columns"]),
            counts=None if record["counts"] is None else MembershipCounts(**record["counts"]),
            snapshot=snapshot,
        )

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "attempt": self.attempt,
            "base_version": self.base_version,
            "parts": [part_record(part) for part in self.parts],
            "columns": self.columns.as_record(),
            "counts": None if self.counts is None else self.counts.as_record(),
            **({} if self.snapshot is None else self.snapshot.as_record()),
        }


def part_record(part: Part) -> dict[str, Any]:
    """A part as plain JSON data."""
    return {
        "uri": part.uri,
        "rows": part.rows,
        "bytes": part.bytes,
        "digest": str(part.digest),
        "partition": part.partition,
    }


def part_from_record(record: Mapping[str, Any]) -> Part:
    """Inverse of `part_record`."""
    partition = record["partition"]
    return Part(
        uri=record["uri"],
        rows=record["rows"],
        bytes=record["bytes"],
        digest=Digest.parse(record["digest"]),
        partition=None if partition is None else Partition(partition),
    )
