"""The application: routes, and the middleware around them."""

from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from orchestration.access.bodies.common import invalid_request
from orchestration.access.guard import View
from orchestration.access.views.account import Account, Sessions
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.audit import TenantAudit, WholeAudit
from orchestration.access.views.connections import Connections
from orchestration.access.views.consent import Consent
from orchestration.access.views.dead_letters import DeadLetterQueue
from orchestration.access.views.everywhere import Everywhere
from orchestration.access.views.feeds import Feeds
from orchestration.access.views.grants import DeploymentGrants, TenantGrants
from orchestration.access.views.jobs import Jobs
from orchestration.access.views.lake_changes import LakeChanges
from orchestration.access.views.notifications import Notifications
from orchestration.access.views.operations import Operations
from orchestration.access.views.places import Places
from orchestration.access.views.principals import Principals
from orchestration.access.views.questions import Questions
from orchestration.access.views.recipients import Recipients
from orchestration.access.views.schedules import Schedules
from orchestration.access.views.segments import Segments
from orchestration.access.views.submissions import Submissions
from orchestration.access.views.tenants import Tenants
from orchestration.access.views.tokens import OwnTokens, TenantTokens
from orchestration.access.views.uploads import Uploads
from orchestration.access.views.versions import Versions
from orchestration.access.views.worker_groups import WorkerGroups
from orchestration.api.answers import json_answer, problem_answer
from orchestration.api.document import document, parameters_of
from orchestration.api.middleware import Middleware
from orchestration.api.routes import (
    account,
    deployment,
    events,
    jobs,
    login,
    operations,
    questions,
)
from orchestration.api.service import Service
from orchestration.api.serving import serve
from schemas.errors import FatalError, MusterError, UserError

BASE: Final = "/v1"
METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
MODULES: Final = (
    jobs,
    questions,
    operations,
    events,
    account,
    deployment,
)
"""Routes that are written by hand."""
VIEWS: Final[Sequence[tuple[type[View], str]]] = (
    (Everywhere, "jobs"),
    (Jobs, "jobs"),
    (Audiences, "audiences"),
    (Versions, "audiences"),
    (LakeChanges, "audiences"),
    (Operations, "operations"),
    (Segments, "segments"),
    (Submissions, "jobs"),
    (Schedules, "schedules"),
    (Feeds, "feeds"),
    (Recipients, "recipients"),
    (Consent, "audiences"),
    (Places, "deployment"),
    (Notifications, "deployment"),
    (Connections, "deployment"),
    (Uploads, "jobs"),
    (TenantGrants, "access"),
    (TenantTokens, "access"),
    (TenantAudit, "access"),
    (Account, "deployment"),
    (Sessions, "account"),
    (Tenants, "deployment"),
    (Principals, "deployment"),
    (DeploymentGrants, "deployment"),
    (OwnTokens, "deployment"),
    (WholeAudit, "deployment"),
    (Questions, "questions"),
    (WorkerGroups, "workers"),
    (DeadLetterQueue, "workers"),
)
"""Views, each with the tag of its operations in the document."""


def application(service: Service) -> Middleware:
    """The service as an ASGI application."""
    return Middleware(routes(), service)


@cache
def routes() -> FastAPI:
    """All routes, with their OpenAPI document. They hold no state: each request brings the service."""
    app = FastAPI(
        title="Muster",
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    everything = APIRouter(prefix=BASE, dependencies=[Depends(_known_parameters)])
    for view, tag in VIEWS:
        everything.include_router(serve(view, tag=tag))
    for module in MODULES:
        everything.include_router(module.router)
    app.include_router(everything)
    app.include_router(login.router, include_in_schema=False)
    found = document(app)
    app.state.parameters = parameters_of(found)
    app.add_route(f"{BASE}/openapi.json", lambda _: json_answer(found), include_in_schema=False)
    app.add_exception_handler(MusterError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_bug)
    return app


async def _known_parameters(request: Request) -> None:
    """Raises `UserError` UNKNOWN_PARAMETER: a misspelt filter must not mean no filter."""
    known = request.app.state.parameters[request.scope["route"].name]
    if unknown := sorted(set(request.query_params) - known):
        names = ", ".join(sorted(known)) or "none"
        raise UserError(
            "UNKNOWN_PARAMETER",
            f"there is no parameter {unknown[0][:80]!r}; known parameters: {names}",
            known=sorted(known),
        )


def _answer_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, MusterError)  # noqa: S101  # narrows the type
    shown: Response = request.state.problems(request.scope, exc, request.state.request_id)
    return shown


def _answer_invalid(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101  # narrows the type
    faults = [(one["loc"], str(one["msg"])) for one in exc.errors()]
    return problem_answer(invalid_request(faults), request.state.request_id)


def _answer_http(request: Request, exc: Exception) -> Response:
    """What routing and parsing refuse."""
    assert isinstance(exc, HTTPException)  # noqa: S101  # narrows the type
    errors: dict[int, MusterError] = {
        400: UserError("BAD_BODY", "the body is not JSON"),
        404: UserError("NO_SUCH_PATH", "there is nothing at this path; /v1/openapi.json lists all"),
        405: UserError("METHOD_NOT_ALLOWED", "the path does not have this method; the header Allow names those it has"),
    }
    error = errors.get(exc.status_code) or FatalError("INTERNAL", f"unexpected status {exc.status_code}")
    headers = {"Allow": _allowed(request)} if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED else exc.headers
    return problem_answer(error, request.state.request_id, headers)


def _allowed(request: Request) -> str:
    """All methods of a path: each has a route of its own, and only the first of them was asked."""
    return ", ".join(
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    )


def _answer_bug(request: Request, exc: Exception) -> Response:
    del exc  # the middleware logs it
    return problem_answer(FatalError("INTERNAL", "a bug in Muster"), request.state.request_id)
