"""Who did what in a tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Record
from orchestration.access.views.administration import AdministrationView
from orchestration.api import cursors
from orchestration.console.desk import Desk, ask
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import shown

ROWS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. `given`: what the action was asked to do; `error`: the code of why it was not done."""

    at: str
    actor: str
    action: str
    object: str
    job_path: str | None
    given: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries, newest first."""

    rows: Sequence[Entry]
    audience: str
    job: str
    filtered: bool
    first_path: str | None
    next_path: str | None


async def show_audit(request: Request) -> Response:
    """The page."""
    query = {name: request.query_params.get(name, "").strip()[:63] or None for name in ("audience", "job")}
    cursor = request.query_params.get("cursor")
    before = None if cursor is None else cursors.decode(request.url.path, query, cursor)

    def call(desk: Desk) -> Response:
        frame, tenant = frame_of(request, desk, "audit"), desk.tenant
        found = desk.view(AdministrationView).audit(
            audience=query["audience"], job=query["job"], before=before, limit=ROWS
        )
        rest = None if found.next is None else cursors.encode(request.url.path, query, found.next)
        page = AuditPage(
            rows=[_entry(one, tenant) for one in found.items],
            audience=query["audience"] or "",
            job=query["job"] or "",
            filtered=any(query.values()),
            first_path=None if before is None else in_tenant(tenant, "audit", **query),
            next_path=None if rest is None else in_tenant(tenant, "audit", **query, cursor=rest),
        )
        return shown("audit.html", frame, page)

    return await ask(request, call)


def _entry(record: Record, tenant: str) -> Entry:
    job = record["job"]
    return Entry(
        at=record["at"],
        actor=record["actor"],
        action=record["action"],
        object=record["object"],
        job_path=None if job is None else in_tenant(tenant, "jobs", job),
        given=_given(record["arguments"]),
        error=record["error"] or "",
    )


def _given(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items() if value not in (None, [], False, ""))


ROUTES: Final = (Route(f"{IN_TENANT}/audit", show_audit),)
