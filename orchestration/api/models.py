"""What the API answers about jobs, as schemas of its OpenAPI document. Each has an example, which a test reads back.

Answers are written from plain JSON data without these models; tests hold every answer against its model.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Example = dict[str, Any]
JOB = "01m87b5fjxy5p23eqzcwh67tr0"
AT = "2026-11-28T09:00:00.000Z"
GRAPHIC = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, Field(max_length=100, pattern=GRAPHIC)]
Id = Annotated[str, Field(pattern="^[0-9a-hjkmnp-tv-z]{26}$", description="A ULID in lower case.")]
Time = Annotated[str, Field(description="RFC 3339, UTC.")]
JobKind = Literal["audience", "events", "profiles", "snapshot", "export"]
Role = Annotated[str, Field(max_length=16)]


class Shape(BaseModel):
    """A JSON object without members that are not listed."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=lambda s, m: m.add_example(s))
    example: ClassVar[Example] = {}

    @classmethod
    def add_example(cls, schema: dict[str, Any]) -> None:
        """Add the example to the schema."""
        if cls.example:
            schema["example"] = cls.example


def page_of(item: Example) -> Example:
    """The example of a list."""
    return {"items": [item], "next": None}


class Problem(Shape):
    """An error (RFC 9457). Programs look at `code`, which is stable."""

    type: str
    title: str
    status: int
    detail: str
    instance: Annotated[Id, Field(description="The id of the request; the service's log has it.")]
    code: str
    kind: Literal["user", "retriable", "fatal"]
    values: dict[str, Any]
    example: ClassVar[Example] = {
        "type": "/problems/UNKNOWN_JOB",
        "title": "Unknown job",
        "status": 404,
        "detail": f"job {JOB} does not exist; `muster jobs list` shows all jobs",
        "instance": JOB,
        "code": "UNKNOWN_JOB",
        "kind": "user",
        "values": {"job": JOB},
    }


class JobFault(Shape):
    """Why a job failed. `kind` user: the file or the request is at fault; system: Muster is."""

    kind: str
    code: str
    message: str
    detail: dict[str, Any]


class ImportJob(Shape):
    """An import, or a snapshot of a segment."""

    job: Id
    tenant: str
    kind: Literal["audience", "events", "profiles", "snapshot"]
    audience: str
    state: str
    mode: str
    attempt: int
    partitions: int
    source: dict[str, Any]
    spec: dict[str, Any]
    evidence: dict[str, Any] | None
    outcome: dict[str, Any] | None
    error: JobFault | None
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
    error: JobFault | None
    failed_in: str | None
    retry_of: Id | None
    created_at: Time
    finished_at: Time | None


class JobPage(Shape):
    """Jobs of all kinds, newest first."""

    items: list[ImportJob | ExportJob]
    next: str | None
    example: ClassVar[Example] = page_of(ImportJob.example)


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
    duplicate_of: Id | None
    example: ClassVar[Example] = {
        **ImportJob.example,
        "queue_position": None,
        "no_worker_s": None,
        "history": [{"sequence": 1, "state": "REGISTERED", "attempt": 0, "cause": None, "at": AT}],
        "attempts": [],
        "stages": [{"name": "verify", "state": "done", "rows": 5}],
        "partition_progress": [],
        "duplicate_of": None,
    }


class ExportJobDetail(ExportJob):
    """An export with its history and the groups of its files."""

    history: list[dict[str, Any]]
    groups: list[dict[str, Any]]


class Receipt(Shape):
    """The receipt of a job: rows = accepted + rejected, and what was published (docs/cli.md)."""

    model_config = ConfigDict(extra="allow")
    job: Id
    rows: int
    accepted: int
    rejected: int
    example: ClassVar[Example] = {"job": JOB, "rows": 5, "accepted": 3, "rejected": 2}


class RejectCounts(Shape):
    """How many rows were rejected; null before they are counted."""

    job: Id
    rejected: int | None
    rejected_by_code: dict[str, int]
    example: ClassVar[Example] = {"job": JOB, "rejected": 2, "rejected_by_code": {"id_empty": 2}}
