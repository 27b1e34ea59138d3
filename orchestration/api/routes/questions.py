"""Questions whose routes are written by hand."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.bodies.questions import LongQuery, NewCount
from orchestration.access.problems import OF_READERS
from orchestration.access.views.questions import OF_RULES, OF_SQL, Questions
from orchestration.api.answers import json_answer
from orchestration.api.operation import operation
from orchestration.api.query_stream import Put, QueryLine, QueryStream
from orchestration.api.schema import model_of
from orchestration.api.service import asked_in_tenant, service_of
from orchestration.readers.cancellation import Cancellation
from orchestration.records.questions import Count

router = APIRouter(prefix="/tenants/{tenant}", tags=["questions"])


@router.post(
    "/counts",
    **operation(Questions.count, model_of(Count), *OF_READERS, *OF_RULES, "SUPERSEDED", "TOO_MANY_COUNTS", "BAD_BODY"),
)
async def count_users(request: Request, tenant: str, body: NewCount) -> Response:
    """Count the users that a rule matches, with each of its groups and conditions: at once by a sample, or exactly.

    Exact numbers need the action read_users; without it they are rounded, and limited.
    """

    def count(view: Questions, cancellation: Cancellation) -> Count:  # by hand: `users` of the body selects the action
        if body.users:
            return view.count_with_users(cancellation, body, body.users)
        return view.count(cancellation, body)

    return json_answer(await asked_in_tenant(request, Questions, tenant, count))


@router.post(
    "/query-streams",
    **operation(Questions.stream_query, QueryLine, *OF_READERS, *OF_SQL, response_class=QueryStream),
)
async def stream_query(request: Request, tenant: str, body: LongQuery) -> Response:
    """Run one SELECT of any length: lines of JSON, with its columns, its rows as they arrive, and its end or error."""
    service, caller = service_of(request), request.state.caller

    def run(cancellation: Cancellation, put: Put) -> None:  # by hand: its answer is a stream
        Questions(service.services, caller, tenant).stream_query(cancellation, body, put)

    return await QueryStream.begin(request, tenant, run)
