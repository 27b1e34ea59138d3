"""Counts, names, users, SQL."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.views.questions import QuestionsView, WantedCount
from orchestration.api.answers import json_answer
from orchestration.api.models import questions as models
from orchestration.api.operation import OF_READERS, operation
from orchestration.api.query_stream import Put, QueryStream
from orchestration.api.service import asked_in_tenant, service_of
from orchestration.readers.cancellation import Cancellation

router = APIRouter(prefix="/tenants/{tenant}", tags=["questions"])
OF_RULES = (
    "BAD_RULE",
    "BAD_TIMEZONE",
    "RULE_TOO_BIG",
    "SEGMENT_CYCLE",
    "UNKNOWN_AUDIENCE",
    "UNKNOWN_SEGMENT",
)
OF_SQL = (
    "BAD_BODY",
    "BAD_JOB_ID",
    "BAD_NAME",
    "BAD_SQL",
    "NOTHING_PUBLISHED",
    "NO_REJECTS",
    "NO_SUCH_VERSION",
    "QUERY_RUNNING",
    "SANDBOX_INCOMPLETE",
    "SQL_CRASHED",
    "SQL_KILLED",
    "SQL_TIMEOUT",
    "SQL_TOO_BIG",
    "UNKNOWN_AUDIENCE",
    "UNKNOWN_JOB",
)


@router.post(
    "/counts",
    **operation(QuestionsView.count, models.Count, *OF_READERS, *OF_RULES, "SUPERSEDED", "TOO_MANY_COUNTS", "BAD_BODY"),
)
async def count_users(request: Request, tenant: str, body: models.NewCount) -> Response:
    """Count the users that a rule matches, with each of its groups and conditions: at once by a sample, or exactly.

    Exact numbers need the action read_users; without it they are rounded, and limited.
    """
    wanted = WantedCount(
        rule=body.rule,
        timezone=body.timezone,
        exact=body.precision == "exact",
        users=body.users,
        notes=body.notes,
        editor=body.editor,
        revision=body.revision,
    )
    method = QuestionsView.count_with_users if wanted.users else QuestionsView.count
    return json_answer(
        await asked_in_tenant(
            request, QuestionsView, tenant, lambda view, cancellation: method(view, cancellation, wanted)
        )
    )


@router.get("/names", **operation(QuestionsView.names, models.Names, *OF_READERS))
async def list_names(request: Request, tenant: str) -> Response:
    """Events, properties, attributes, audiences and segments that rules can name."""
    return json_answer(
        await asked_in_tenant(request, QuestionsView, tenant, lambda view, cancellation: view.names(cancellation))
    )


@router.post(
    "/user-lookups", **operation(QuestionsView.look_up_user, models.User, *OF_READERS, "UNKNOWN_USER", "BAD_BODY")
)
async def look_up_user(request: Request, tenant: str, body: models.WantedUser) -> Response:
    """What is known of a user. A POST, since addresses end up in logs."""
    return json_answer(
        await asked_in_tenant(
            request, QuestionsView, tenant, lambda view, cancellation: view.look_up_user(cancellation, body.user)
        )
    )


@router.get(
    "/segments/{segment}/coverage",
    **operation(QuestionsView.coverage, models.Coverage, *OF_READERS, "BAD_NAME", "UNKNOWN_SEGMENT"),
)
async def measure_segment(request: Request, tenant: str, segment: str) -> Response:
    """How far a segment is behind the topics, and how many members of its audiences no rule covers."""
    return json_answer(
        await asked_in_tenant(
            request, QuestionsView, tenant, lambda view, cancellation: view.coverage(cancellation, segment)
        )
    )


@router.post(
    "/segments/{segment}/explanations",
    **operation(
        QuestionsView.explain,
        models.Explanation,
        *OF_READERS,
        "BAD_BODY",
        "BAD_NAME",
        "RULE_TOO_BIG",
        "UNKNOWN_SEGMENT",
        "UNKNOWN_USER",
    ),
)
async def explain_membership(request: Request, tenant: str, segment: str, body: models.WantedExplanation) -> Response:
    """Why a user is in a segment or not: each condition, with the events that it counts."""
    as_of = None if body.as_of is None else body.as_of.isoformat()
    return json_answer(
        await asked_in_tenant(
            request,
            QuestionsView,
            tenant,
            lambda view, cancellation: view.explain(cancellation, segment, body.user, as_of),
        )
    )


@router.post("/queries", **operation(QuestionsView.query, models.QueryResult, *OF_READERS, *OF_SQL))
async def run_query(request: Request, tenant: str, body: models.NewQuery) -> Response:
    """Run one SELECT over published versions and rejects; one at a time of a tenant."""
    return json_answer(
        await asked_in_tenant(
            request,
            QuestionsView,
            tenant,
            lambda view, cancellation: view.query(cancellation, body.sql, rows=body.rows, timeout_s=body.timeout_s),
        )
    )


@router.post(
    "/query-streams",
    **operation(QuestionsView.stream_query, models.QueryLine, *OF_READERS, *OF_SQL, response_class=QueryStream),
)
async def stream_query(request: Request, tenant: str, body: models.LongQuery) -> Response:
    """Run one SELECT of any length: lines of JSON, with its columns, its rows as they arrive, and its end or error."""
    service, caller = service_of(request), request.state.caller

    def run(cancellation: Cancellation, put: Put) -> None:
        view = QuestionsView(service.services, caller, tenant)
        view.stream_query(cancellation, body.sql, put, timeout_s=body.timeout_s)

    return await QueryStream.begin(request, tenant, run)
