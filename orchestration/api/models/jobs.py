"""Jobs."""

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from orchestration.access.bodies.common import AT, JOB, Example, Id, Shape, Time, page_of
from orchestration.api.schema import model_of
from orchestration.records import jobs
from schemas.job_kinds import ImportJobKind

JobFault = model_of(jobs.JobFault)


class ImportJob(Shape):
    """An import, or a snapshot of a segment."""

    job: Id
    tenant: str
    kind: ImportJobKind
    audience: str
    state: str
    mode: str
    attempt: int
    partitions: int
    source: dict[str, Any]
    spec: dict[str, Any]
    evidence: dict[str, Any] | None
    outcome: dict[str, Any] | None
    error: JobFault | None  # type: ignore[valid-type]  # made from the record
    failed_in: str | None
    retry_of: Id | None
    execution: str | None
    created_at: Time
    finished_at: Time | None
    example: ClassVar[Example] = {
        "job": JOB,
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
        "created_at": AT,
        "finished_at": AT,
    }


class ExportJob(Shape):
    """An export."""

    export: Id
    tenant: str
    audience: str
    state: str
    request: dict[str, Any]
    outcome: dict[str, Any] | None
    error: JobFault | None  # type: ignore[valid-type]  # made from the record
    failed_in: str | None
    retry_of: Id | None
    created_at: Time
    finished_at: Time | None


class JobPage(Shape):
    """Jobs of all kinds, newest first."""

    items: list[ImportJob | ExportJob]
    next: str | None
    example: ClassVar[Example] = page_of(ImportJob.example)


class Notification(Shape):
    """A notification about the end of a job. `recipient` is null for those who do not manage audiences."""

    notification: str
    subject: str
    outcome: str
    channel: Literal["log", "email", "webhook"]
    recipient: str | None
    state: str
    attempts: int
    created_at: Time
    delivered_at: Time | None
    next_attempt_at: Time | None
    last_error: str | None


class ImportJobDetail(ImportJob):
    """An import or a snapshot with its history and progress.

    `duplicate_of`: the original, if the id was that of a duplicate.
    """

    queue_position: int | None
    no_worker_s: float | None
    history: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    partition_progress: list[dict[str, Any]]
    notifications: list[Notification]
    duplicate_of: Id | None
    example: ClassVar[Example] = {
        **ImportJob.example,
        "queue_position": None,
        "no_worker_s": None,
        "history": [{"sequence": 1, "state": "REGISTERED", "attempt": 0, "cause": None, "at": AT}],
        "attempts": [],
        "stages": [{"name": "verify", "state": "done", "rows": 5}],
        "partition_progress": [],
        "notifications": [],
        "duplicate_of": None,
    }


class ExportJobDetail(ExportJob):
    """An export with its history and the groups of its files."""

    history: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    notifications: list[Notification]


class Receipt(Shape):
    """The receipt of a job: rows = accepted + rejected, and what was published (docs/cli.md).

    `nulls_by_column`: members without a value; `emptied_columns`: those with values in the version before and none in
    this one, null if one of the two did not count them. Neither is in receipts of events and profiles.
    """

    model_config = ConfigDict(extra="allow")
    job: Id
    rows: int
    accepted: int
    rejected: int
    nulls_by_column: dict[str, int] | None = None
    emptied_columns: list[str] | None = None
    example: ClassVar[Example] = {
        "job": JOB,
        "rows": 5,
        "accepted": 3,
        "rejected": 2,
        "nulls_by_column": {"age": 1, "city": 3},
        "emptied_columns": ["city"],
    }


class Reject(Shape):
    """A rejected row: its position among the rejects, and in the file. `raw`: how it starts."""

    number: int
    ordinal: int | None
    line: int | None
    byte_offset: int | None
    column: str | None
    code: str
    reason: str
    raw: str


class Rejects(Shape):
    """How many rows were rejected; null before they are counted. `items`: the requested rows.

    `kept`: how many of them can be read; null unless rows were requested.
    """

    job: Id
    rejected: int | None
    rejected_by_code: dict[str, int]
    kept: int | None
    items: list[Reject]
    next: str | None
    example: ClassVar[Example] = {
        "job": JOB,
        "rejected": 2,
        "rejected_by_code": {"id_empty": 2},
        "kept": 2,
        "items": [
            {
                "number": 1,
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


class RejectsFile(Shape):
    """All rejected rows of a job as a Parquet file. `url` is valid for five minutes."""

    job: Id
    bytes: int
    url: str
    example: ClassVar[Example] = {
        "job": JOB,
        "bytes": 1024,
        "url": "https://s3.example/lake/rejects/acme/x.parquet?X-Amz-Signature=...",
    }
