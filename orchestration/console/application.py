"""The service with its console, in one process."""

from functools import cache
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from orchestration.api.application import routes
from orchestration.api.middleware import LOGINS, PUBLIC, Middleware
from orchestration.api.service import Service
from orchestration.console.pages import (
    audience_changes,
    audience_settings,
    audiences,
    audit,
    builder,
    checks,
    connections,
    dead_letters,
    differences,
    exports,
    grants,
    home,
    job,
    jobs,
    notifications,
    overlap,
    people,
    places,
    recipients,
    rejects,
    rule_review,
    schedule_form,
    schedules,
    segment_changes,
    segments,
    sql,
    tokens,
    upload,
    users,
    workers,
)
from orchestration.console.paths import STATIC, is_page, is_public
from orchestration.console.problems import answer_problem, on_error
from schemas.errors import MusterError

PAGES: Final = (
    home,
    audiences,
    audience_changes,
    audience_settings,
    exports,
    differences,
    overlap,
    jobs,
    rejects,
    job,
    upload,
    checks,
    segments,
    segment_changes,
    builder,
    rule_review,
    users,
    sql,
    schedule_form,
    schedules,
    audit,
    tokens,
    connections,
    grants,
    recipients,
    workers,
    dead_letters,
    notifications,
    places,
    people,
)


def application(service: Service) -> Middleware:
    """The API and the console as one ASGI application."""
    return Middleware(
        _by_path,
        service,
        public=lambda path: path in PUBLIC or is_public(path),
        for_browsers=lambda path: path.startswith(LOGINS) or (is_page(path) and not path.startswith(STATIC)),
        problems=answer_problem,
    )


async def _by_path(scope: Scope, receive: Receive, send: Send) -> None:
    app = pages() if scope["type"] == "http" and is_page(scope["path"]) else routes()
    await app(scope, receive, send)


@cache
def pages() -> Starlette:
    """The routes of all pages."""
    return Starlette(
        routes=[route for module in PAGES for route in module.ROUTES],
        exception_handlers={MusterError: on_error, HTTPException: on_error, Exception: on_error},
    )
