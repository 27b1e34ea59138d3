"""Operations that go on after their request was answered."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.api.models.common import AT, GRAPHIC, JOB, Example, Id, Name, Shape, Time
from orchestration.api.models.jobs import JobFault

Uri = Annotated[str, Field(max_length=2048, pattern=GRAPHIC)]


class Operation(Shape):
    """An operation. `result` and `error` are null while it runs; what a result has depends on `kind` (docs/cli.md)."""

    operation: Id
    kind: Literal["difference", "segment_check", "inspection", "dry_run"]
    state: Literal["running", "done", "failed"]
    result: dict[str, Any] | None
    error: JobFault | None
    created_at: Time
    finished_at: Time | None
    example: ClassVar[Example] = {
        "operation": JOB,
        "kind": "difference",
        "state": "done",
        "result": {
            "audience": "vip",
            "tenant": "acme",
            "earlier": 3,
            "later": 5,
            "added": 2,
            "removed": 1,
            "changed": 0,
            "kept": 40,
            "sample": {"added": ["ann", "bob"], "removed": ["cid"]},
        },
        "error": None,
        "created_at": AT,
        "finished_at": AT,
    }


class NewDifference(Shape):
    """Two versions to compare. `sample`: how many ids of each kind of change to name."""

    earlier: Annotated[int, Field(ge=1, le=2**31)]
    later: Annotated[int, Field(ge=1, le=2**31)]
    sample: Annotated[int, Field(ge=0, le=1000)] = 0
    example: ClassVar[Example] = {"earlier": 3, "later": 5, "sample": 20}


class NewSegmentCheck(Shape):
    """How long to wait for workers and archive."""

    timeout_s: Annotated[float, Field(ge=1, le=3000, strict=False)] = 120.0
    example: ClassVar[Example] = {"timeout_s": 120}


class NewCheck(Shape):
    """A file to look at before it is imported: in the inbox, below the tenant's name, or an upload of the tenant.

    Without `target` it is inspected as `kind`; with it, an audience or `_events` or `_profiles`, its import is tried,
    with changes to the stored `spec`.
    """

    source: Uri
    kind: Literal["audience", "events", "profiles"] = "audience"
    format: Literal["csv", "jsonl", "parquet"] | None = None
    target: Name | None = None
    spec: Annotated[dict[str, Any], Field(default_factory=dict)]
    example: ClassVar[Example] = {"source": "s3://inbox/acme/vip/people.csv", "target": "vip"}
