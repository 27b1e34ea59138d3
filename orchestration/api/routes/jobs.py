"""Operations on jobs that are written by hand."""

from dataclasses import replace
from typing import Annotated, ClassVar

from fastapi import APIRouter, Query
from pydantic import ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.bodies.common import Id, Shape
from orchestration.access.problems import OF_READERS
from orchestration.access.views.jobs import Jobs
from orchestration.api.answers import json_answer
from orchestration.api.operation import operation
from orchestration.api.paging import Cursor, rest, start
from orchestration.api.schema import model_of
from orchestration.api.service import asked_in_tenant, in_tenant
from orchestration.records.fields import EXAMPLE_ID, Example
from orchestration.records.jobs import Rejects

router = APIRouter(prefix="/tenants/{tenant}", tags=["jobs"])


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
        "job": EXAMPLE_ID,
        "rows": 5,
        "accepted": 3,
        "rejected": 2,
        "nulls_by_column": {"age": 1, "city": 3},
        "emptied_columns": ["city"],
    }


@router.get("/jobs/{job}/receipt", **operation(Jobs.receipt, Receipt, "UNKNOWN_JOB", "BAD_JOB_ID", "NO_RECEIPT"))
async def get_receipt(request: Request, tenant: str, job: str) -> Response:
    """The receipt of a READY import or snapshot: its counts add up."""
    # By hand: a receipt is answered as it was stored, also with members that no record names.
    return json_answer(await in_tenant(request, Jobs, tenant, Jobs.receipt, job))


@router.get(
    "/jobs/{job}/rejects",
    **operation(Jobs.rejects, model_of(Rejects), *OF_READERS, "BAD_CURSOR", "UNKNOWN_JOB", "BAD_JOB_ID", "NO_REJECTS"),
)
async def get_rejects(
    request: Request,
    tenant: str,
    job: str,
    rows: Annotated[int, Query(ge=0, le=500, description="Also return this many rejected rows.")] = 0,
    code: Annotated[str | None, Query(max_length=40, description="Only rows with this code.")] = None,
    cursor: Cursor = None,
) -> Response:
    """How many rows of a job were rejected, by code; and the rows, in the order of the file."""
    # By hand: only rows are a question to readers.
    after = start(request, cursor, code=code)
    if not rows:
        return json_answer(await in_tenant(request, Jobs, tenant, Jobs.rejects, job))
    found = await asked_in_tenant(request, Jobs, tenant, Jobs.rejected_rows, job, code=code, after=after, limit=rows)
    return json_answer(replace(found, next=rest(request, found.next, code=code)))
