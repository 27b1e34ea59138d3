"""Jobs of all kinds: what they are, what starts and ends them, and what they leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, Example, Id, Time
from orchestration.records.notifications import Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFault:
    """Why a job failed. `kind` user: the file or the request is at fault; system: Muster is."""

    kind: str
    code: str
    message: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJob:
    """An import, or a snapshot of a segment."""

    job: Id
    tenant: str
    kind: Literal["audience", "events", "profiles", "snapshot"]
    audience: str
    state: str
    mode: str
    attempt: int
    partitions: int
    source: Mapping[str, Any]
    spec: Mapping[str, Any]
    evidence: Mapping[str, Any] | None
    outcome: Mapping[str, Any] | None
    error: JobFault | None
    failed_in: str | None
    retry_of: Id | None
    execution: str | None
    created_at: Time
    finished_at: Time | None
    example: ClassVar[Example] = {
        "job": EXAMPLE_ID,
        "tenant": "acme",
        "kind": "audience",
        "audience": "vip",
        "state": "READY",
        "mode": "replace",
        "attempt": 1,
        "partitions": 8,
        "source": {"bucket": "inbox", "key": "acme/vip/people.csv", "size": 1024},
        "spec": {"format": "csv", "id_column": "user_id"},
        "evidence": {"rows": 5, "accepted": 3, "rejected": 2, "rejected_by_code": {"id_empty": 2}},
        "outcome": {"version": 1, "members": 3},
        "error": None,
        "failed_in": None,
        "retry_of": None,
        "execution": None,
        "created_at": EXAMPLE_TIME,
        "finished_at": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """An export. `snapshot`: the job that makes the version of a segment's members first."""

    export: Id
    tenant: str
    audience: str
    state: str
    request: Mapping[str, Any]
    snapshot: Id | None
    outcome: Mapping[str, Any] | None
    error: JobFault | None
    failed_in: str | None
    retry_of: Id | None
    created_at: Time
    finished_at: Time | None


Job = Annotated[ImportJob | ExportJob, "Job"]
"""A job of any kind; named in the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJobDetail(ImportJob):
    """An import or a snapshot with its history and progress.

    `duplicate_of`: the original, if the id was that of a duplicate.
    """

    queue_position: int | None
    no_worker_s: float | None
    history: Sequence[Mapping[str, Any]]
    attempts: Sequence[Mapping[str, Any]]
    stages: Sequence[Mapping[str, Any]]
    partition_progress: Sequence[Mapping[str, Any]]
    notifications: Sequence[Notification]
    duplicate_of: Id | None
    example: ClassVar[Example] = {
        **ImportJob.example,
        "queue_position": None,
        "no_worker_s": None,
        "history": [{"sequence": 1, "state": "REGISTERED", "attempt": 0, "cause": None, "at": EXAMPLE_TIME}],
        "attempts": [],
        "stages": [{"name": "verify", "state": "done", "rows": 5}],
        "partition_progress": [],
        "notifications": [],
        "duplicate_of": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJobDetail(ExportJob):
    """An export with its history and the groups of its files."""

    history: Sequence[Mapping[str, Any]]
    groups: Sequence[Mapping[str, Any]]
    notifications: Sequence[Notification]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A rejected row: its position among the rejects, and in the file. `raw`: how it starts.

    `file`: the URI of the file, if the job reads several.
    """

    number: int
    file: str | None
    ordinal: int | None
    line: int | None
    byte_offset: int | None
    column: str | None
    code: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejects:
    """How many rows were rejected; null before they are counted. `items`: the requested rows.

    `kept`: how many of them can be read; null unless rows were requested.
    """

    job: Id
    rejected: int | None
    rejected_by_code: Mapping[str, int]
    kept: int | None
    items: Sequence[Reject]
    next: str | None
    example: ClassVar[Example] = {
        "job": EXAMPLE_ID,
        "rejected": 2,
        "rejected_by_code": {"id_empty": 2},
        "kept": 2,
        "items": [
            {
                "number": 1,
                "file": None,
                "ordinal": 3,
                "line": 5,
                "byte_offset": 40,
                "column": "user_id",
                "code": "id_empty",
                "reason": "the id is empty",
                "raw": ",30,JP",
            }
        ],
        "next": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectsFile:
    """All rejected rows of a job as a Parquet file. `url` is valid for five minutes."""

    job: Id
    bytes: int
    url: str
    example: ClassVar[Example] = {
        "job": EXAMPLE_ID,
        "bytes": 1024,
        "url": "https://s3.example/lake/rejects/acme/x.parquet?X-Amz-Signature=...",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """One file of an import, in the order in which they were read.

    Its counts, and the digest of its accepted rows, are null before it was read to its end. The digest is also null
    for the only file of a job, whose receipt has it.
    """

    number: int
    file: str
    version_id: str | None
    etag: str | None
    bytes: int
    rows: int | None
    accepted: int | None
    rejected: int | None
    digest: str | None
    example: ClassVar[Example] = {
        "number": 1,
        "file": "s3://crm/vip/part-00000.csv",
        "version_id": None,
        "etag": '"9b2cf535f27731c974343645a3985328"',
        "bytes": 1024,
        "rows": 5,
        "accepted": 3,
        "rejected": 2,
        "digest": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A job that was started. It is registered within seconds: until then its id is unknown."""

    job: Id
    state: Literal["SUBMITTED"] = "SUBMITTED"
    example: ClassVar[Example] = {"job": EXAMPLE_ID, "state": "SUBMITTED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedExport:
    """An export that was started. It is registered within seconds: until then its id is unknown."""

    export: Id
    state: Literal["SUBMITTED"] = "SUBMITTED"
    example: ClassVar[Example] = {"export": EXAMPLE_ID, "state": "SUBMITTED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Started):
    """A new job for the source of an earlier one."""

    retry_of: Id
    example: ClassVar[Example] = {**Started.example, "retry_of": EXAMPLE_ID}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriedExport(StartedExport):
    """A new export of the same version to the same destination."""

    retry_of: Id
    example: ClassVar[Example] = {**StartedExport.example, "retry_of": EXAMPLE_ID}


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledImport(ImportJob):
    """A cancelled import or snapshot. `already`: it was cancelled before. `warnings`: what is done within seconds."""

    already: bool
    warnings: Sequence[str]
    example: ClassVar[Example] = {**ImportJob.example, "state": "CANCELLED", "already": False, "warnings": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledExport(ExportJob):
    """A cancelled export."""

    already: bool
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """One file; `key` is its path below the manifest. `url` is valid for five minutes."""

    key: str
    rows: int
    bytes: int
    sha256: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFiles:
    """The files of an export. `manifest`: the URL of its manifest."""

    export: Id
    version: int
    rows: int
    manifest: str
    items: Sequence[ExportFile]
    example: ClassVar[Example] = {
        "export": EXAMPLE_ID,
        "version": 3,
        "rows": 3,
        "manifest": "https://s3.example/staging/download/acme/x/manifest.json?X-Amz-Signature=...",
        "items": [
            {
                "key": "vip-v3-00000.csv.gz",
                "rows": 3,
                "bytes": 120,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "url": "https://s3.example/staging/download/acme/x/vip-v3-00000.csv.gz?X-Amz-Signature=...",
            }
        ],
    }
