"""Catalog records as frozen values."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from orchestration.catalog.selected import answer_of
from orchestration.records import audiences as answers
from orchestration.records.jobs import ExportJob, ImportJob, JobFault
from schemas.columns import ImportKind, ImportMode
from schemas.errors import MusterError, UserError
from schemas.file_lists import Folders
from schemas.ids import Attempt, AudienceName, JobId, TenantName, Version
from schemas.import_spec import ImportSpec
from schemas.job_kinds import ImportJobKind
from schemas.log_ids import ids_of_job, without_caller
from schemas.messages import JobState
from schemas.records import as_record, from_record
from segmentation.export_jobs import ExportState
from segmentation.versions import AudienceRef

AudienceState = Literal["awaited", "before", "standing"]
"""awaited: its first import is running or has failed, and only jobs know it. before: created by a release that did not
store the columns of imports (`orchestration.kinds.specs` finds them). standing: all others.
"""
_SHOWN_SOURCE: Final = ("bucket", "key", "version_id", "etag", "size", "last_modified")
_SHOWN_OF_SETS: Final = ("form", "files", "left_out", "left_out_names", "query")
_SHOWN_EVIDENCE: Final = ("rows", "accepted", "rejected", "rejected_by_code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Which old versions of an audience are kept: the newest `versions`, and all younger than `days`."""

    versions: int = 10
    days: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """A named set of users of a tenant. `audience_id` survives a rename; `spec` says how its files are read.

    `folders`: those of its inbox.
    """

    audience_id: JobId
    tenant: TenantName
    name: AudienceName
    spec: ImportSpec
    retention: Retention
    created_at_ms: int
    state: AudienceState = "standing"
    folders: Folders = "files"

    @property
    def shown(self) -> answers.Audience:
        """As the service answers it, as far as the catalog knows it."""
        return answer_of(
            answers.Audience,
            self,
            audience=self.name,
            spec=self.spec.as_record(),
            retention=as_record(self.retention),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError(JobFault):
    """Why a job failed. kind: user (tell the customer) or system (page someone)."""

    @classmethod
    def of(cls, error: MusterError) -> Self:
        """The catalog's record of an error: `UserError` is the customer's fault, all others are the system's."""
        kind = "user" if isinstance(error, UserError) else "system"
        return cls(kind=kind, code=error.code, message=error.message, detail=error.detail)

    @classmethod
    def stored(cls, record: Mapping[str, Any] | None) -> Self | None:
        """The error in a column of a job, or None."""
        return None if record is None else from_record(cls, record)

    @property
    def summary(self) -> str:
        """Code and message, as shown in the history of the job."""
        return f"{self.code}: {self.message}"[:2000]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job: an import, or a snapshot of a segment.

    JSON fields (`source`, `evidence`, `build`, `outcome`) hold the records of the modules that write them. If the rows
    are not members, there is no audience: `audience` is one of `schemas.import_targets.RESERVED`.
    """

    job_id: JobId
    tenant: TenantName
    audience: AudienceName
    audience_id: JobId | None
    state: JobState
    attempt: Attempt
    mode: ImportMode
    partitions: int
    spec: ImportSpec
    source: Mapping[str, Any]
    small: bool
    order_key: str
    dedupe_key: str
    execution: str | None
    task_token: str | None
    evidence: Mapping[str, Any] | None
    build: Mapping[str, Any] | None
    outcome: Mapping[str, Any] | None
    error: JobError | None
    failed_in: JobState | None
    retry_of: JobId | None
    created_at_ms: int
    finished_at_ms: int | None

    @property
    def kind(self) -> ImportKind:
        """The kind of its rows; only `audience` makes a version of an audience."""
        return self.spec.kind

    @property
    def segment(self) -> AudienceName | None:
        """The segment whose members it takes. None if it reads a file."""
        return None if "segment" not in self.source else AudienceName(str(self.source["segment"]))

    @property
    def sql(self) -> str | None:
        """The query whose result is the file. None if it reads a given file or a segment."""
        return self.source.get("sql")

    @property
    def awaits_query(self) -> bool:
        """Whether its file is yet to be written by its query."""
        return self.sql is not None and "etag" not in self.source

    @property
    def shown_kind(self) -> ImportJobKind:
        """The kind that people and programs see."""
        return self.kind if self.segment is None else "snapshot"

    @property
    def shown(self) -> ImportJob:
        """As the service answers it: without tokens and internals."""
        source, evidence = self.source, self.evidence
        return answer_of(
            ImportJob,
            self,
            job=self.job_id,
            kind=self.shown_kind,
            source=without_caller(source)
            if self.segment is not None
            else {name: source.get(name) for name in _SHOWN_SOURCE}
            | {name: source[name] for name in _SHOWN_OF_SETS if name in source},
            spec=self.spec.as_record(),
            evidence=None if evidence is None else {name: evidence[name] for name in _SHOWN_EVIDENCE},
        )

    @property
    def log_ids(self) -> dict[str, Any]:
        """What its log lines carry."""
        ids = ids_of_job(self.job_id, self.execution, self.source)
        return {**ids, "attempt": self.attempt, "tenant": self.tenant, "audience": self.audience}

    @property
    def files(self) -> int:
        """How many files it reads; 1 for a snapshot, which reads none."""
        return int(self.source.get("files", 1))

    @property
    def origin(self) -> str:
        """Source of its rows, for display."""
        if self.segment is not None:
            return f"segment {self.segment}"
        return f"s3://{self.source['bucket']}/{self.source['key']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to register. `uploads`: ids of those that it reads, if it reads several files."""

    job_id: JobId
    tenant: str
    audience: str
    audience_id: JobId | None
    mode: ImportMode
    partitions: int
    spec: ImportSpec
    source: Mapping[str, Any]
    small: bool
    order_key: str
    dedupe_key: str
    execution: str | None
    retry_of: JobId | None
    created_at_ms: int
    evidence: Mapping[str, Any] | None = None
    uploads: Collection[JobId] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step in the history of a job."""

    job_id: JobId
    sequence: int
    state: JobState
    attempt: Attempt
    cause: str | None
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionProgress:
    """The latest announcement about one partition of one attempt; `record` is the message as plain data."""

    job_id: JobId
    attempt: Attempt
    partition: int
    materialised: bool
    record: Mapping[str, Any]
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """Progress of one stage of a job: {done, total, unit, rows, partitions: [rows per partition]}."""

    stage: str
    record: Mapping[str, Any]
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A version of an audience that an export holds in the lake."""

    audience: AudienceRef
    version: Version

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data: the fields of the audience and the version."""
        return {**as_record(self.audience), "version": self.version}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`."""
        return from_record(cls, {**record, "audience": record})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExport:
    """An export to register. `request` is the record of an `ExportRequest` with its versions resolved.

    `snapshot`: the job that makes its version first; then nothing is resolved yet.
    """

    job_id: JobId
    tenant: str
    audience: str
    audience_id: JobId | None
    request: Mapping[str, Any]
    leases: tuple[Lease, ...]
    execution: str | None
    retry_of: JobId | None
    created_at_ms: int
    snapshot: JobId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export job. `outcome`: {manifest, version, rows, bytes, digest, ...}.

    `snapshot`: the job that makes its version, if it exports a segment.
    """

    job_id: JobId
    tenant: TenantName
    audience: AudienceName
    audience_id: JobId | None
    state: ExportState
    request: Mapping[str, Any]
    leases: tuple[Lease, ...]
    snapshot: JobId | None
    task_token: str | None
    topic_partitions: int | None
    execution: str | None
    outcome: Mapping[str, Any] | None
    error: JobError | None
    failed_in: ExportState | None
    retry_of: JobId | None
    created_at_ms: int
    finished_at_ms: int | None
    swept_at_ms: int | None

    @property
    def shown(self) -> ExportJob:
        """As the service answers it."""
        return answer_of(ExportJob, self, export=self.job_id, request=without_caller(self.request))

    @property
    def log_ids(self) -> dict[str, Any]:
        """What its log lines carry."""
        ids = ids_of_job(self.job_id, self.execution, self.request)
        return {**ids, "tenant": self.tenant, "audience": self.audience}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTransition:
    """One step in the history of an export."""

    state: ExportState
    cause: str | None
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportGroup:
    """One group of an export's files: its progress, and the result (`record`) or the failure (`error`)."""

    number: int
    bytes: int
    expected_rows: int
    attempt: int
    rows: int
    beat_at_ms: int | None
    record: Mapping[str, Any] | None
    error: JobError | None
