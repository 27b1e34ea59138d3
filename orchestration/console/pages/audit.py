"""Who did what in a tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.views.audit import TenantAudit
from orchestration.console.context import PageContext, ask
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, in_tenant, next_page, page_start
from orchestration.console.rendering import shown
from orchestration.records.audit import AuditEntry

ROWS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry. `given`: what the action was asked to do."""

    entry: AuditEntry
    job_path: str | None
    given: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries, newest first."""

    rows: Sequence[Row]
    audience: str
    job: str
    filtered: bool
    first_path: str | None
    next_path: str | None


async def show_audit(request: Request) -> Response:
    """The page."""
    query = {name: request.query_params.get(name, "").strip()[:63] or None for name in ("audience", "job")}
    before = page_start(request, **query)

    def call(context: PageContext) -> Response:
        frame, tenant = frame_of(request, context, "audit"), context.tenant
        found = context.view(TenantAudit).list_audit(
            audience=query["audience"], job=query["job"], before=before, limit=ROWS
        )
        page = AuditPage(
            rows=[_row(one, tenant) for one in found.items],
            audience=query["audience"] or "",
            job=query["job"] or "",
            filtered=any(query.values()),
            first_path=None if before is None else in_tenant(tenant, "audit", **query),
            next_path=next_page(request, found.next, **query),
        )
        return shown("audit.html", frame, page)

    return await ask(request, call)


def _row(entry: AuditEntry, tenant: str) -> Row:
    job_path = None if entry.job is None else in_tenant(tenant, "jobs", entry.job)
    return Row(entry=entry, job_path=job_path, given=_given(entry.arguments))


def _given(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items() if value not in (None, [], False, ""))


ROUTES: Final = (Route(f"{IN_TENANT}/audit", show_audit),)
