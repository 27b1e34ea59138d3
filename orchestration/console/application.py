"""The service with its console, in one process."""

from functools import cache
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

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
    consent,
    dead_letters,
    differences,
    exports,
    feeds,
    grants,
    home,
    job,
    jobs,
    live,
    notifications,
    overlap,
    overview,
    people,
    places,
    recipients,
    rejects,
    rule_review,
    schedule_form,
    schedules,
    search,
    segment_changes,
    segments,
    sql,
    tokens,
    upload,
    users,
    workers,
)
from orchestration.console.paths import STATIC, is_page, is_public
from orchestration.console.problems import IN_FORM, answer_problem, on_error
from schemas.errors import MusterError

SEE_OTHER: Final = 303
NO_CONTENT: Final = 204
PAGES: Final = (
    home,
    overview,
    search,
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
    feeds,
    audit,
    tokens,
    connections,
    grants,
    recipients,
    consent,
    workers,
    dead_letters,
    notifications,
    places,
    people,
    live,
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
    if scope["type"] == "http" and is_page(scope["path"]):
        await pages()(scope, receive, _for_script(send) if _sent_by_script(scope) else send)
    else:
        await routes()(scope, receive, send)


def _sent_by_script(scope: Scope) -> bool:
    return any(name == IN_FORM.encode() for name, _ in scope["headers"])


def _for_script(send: Send) -> Send:
    """A script cannot read where a redirect leads to, so it is told."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == SEE_OTHER:
            headers = [
                (b"muster-location" if name == b"location" else name, value) for name, value in message["headers"]
            ]
            message = {**message, "status": NO_CONTENT, "headers": headers}
        await send(message)

    return told


@cache
def pages() -> Starlette:
    """The routes of all pages."""
    return Starlette(
        routes=[route for module in PAGES for route in module.ROUTES],
        exception_handlers={MusterError: on_error, HTTPException: on_error, Exception: on_error},
    )
