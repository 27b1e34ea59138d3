"""Audiences: the list, and the page of one with its versions, settings, and what depends on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.policy import Action
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.operations import Operations
from orchestration.access.views.versions import Versions
from orchestration.console.audience_settings import KeptColumn, Setting, columns_of, words_of
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import fresh_key
from orchestration.console.frame import frame_of
from orchestration.console.language import Texts
from orchestration.console.listing import ListFilter, Wanted, filter_of
from orchestration.console.paths import IN_TENANT, in_tenant, next_page, page_start
from orchestration.console.plots import Plot, staircase
from orchestration.console.rendering import shown
from orchestration.console.segment_texts import Named, dependants_of_audience
from orchestration.platform.clock import iso, now_ms
from orchestration.records.audiences import Audience, Version
from orchestration.records.operations import Operation
from schemas.columns import ImportMode

ROWS: Final = 50
VERSIONS: Final = 30
MADE_BY_JOBS: Final = frozenset(get_args(ImportMode))
"""Modes of versions that a job has made; changes of the lake make the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceRow:
    """One audience."""

    audience: Audience
    path: str
    columns: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudiencesPage:
    """Audiences. `upload_path`, `overlap_path`: None for callers who may not import, or not see users."""

    rows: Sequence[AudienceRow]
    filter: ListFilter
    upload_path: str | None
    overlap_path: str | None
    first_path: str | None
    next_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One version. `most`: the longest bar of the list, to which those of added and removed members are drawn.

    `rollback_path` None: the version is the current one, or the reader may not roll back. `difference_path`: from the
    version before; None if that is not kept, or the reader may not see users. `job_path`: of what made it.
    """

    version: Version
    current: bool
    most: int
    mode: str
    job_path: str | None
    pin_path: str | None
    rollback_path: str | None
    difference_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A change that the control plane carries out, or has carried out. `path`: this part, fetched again."""

    path: str
    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPart:
    """The same, fetched again; a change that is done loads the page again."""

    pending: Pending


@dataclass(frozen=True, slots=True, kw_only=True)
class AudiencePage:
    """`key`: of a rollback that the page may start once. `sizes`: of the listed versions; None if that is one alone."""

    audience: Audience
    versions: Sequence[VersionRow]
    sizes: Plot | None
    next_path: str | None
    settings: Sequence[Setting]
    columns: Sequence[KeptColumn]
    used_by: Sequence[Named]
    jobs_path: str
    export_path: str | None
    settings_path: str | None
    pending: Pending | None
    key: str


async def show_audiences(request: Request) -> Response:
    """The list."""
    wanted = Wanted.of(request)
    after = page_start(request, **wanted.query) or ""

    def call(context: PageContext) -> Response:
        frame, tenant = frame_of(request, context, "audiences"), context.tenant
        view, path = context.view(Audiences), in_tenant(tenant, "audiences")
        found = view.list_audiences(part=wanted.part, order=wanted.order, after=after, limit=ROWS, current=True)
        page = AudiencesPage(
            rows=[_row(one, tenant) for one in found.items],
            filter=filter_of(wanted, path, lambda part: view.count_audiences(part=part), frame.texts),
            upload_path=in_tenant(tenant, "upload") if context.may(Action.RUN_JOBS) else None,
            overlap_path=in_tenant(tenant, "overlap") if context.may(Action.READ_USERS) else None,
            first_path=in_tenant(tenant, "audiences", **wanted.query) if after else None,
            next_path=next_page(request, found.next, **wanted.query),
        )
        return shown("audiences.html", frame, page)

    return await ask(request, call)


def _row(audience: Audience, tenant: str) -> AudienceRow:
    path = in_tenant(tenant, "audiences", audience.audience)
    return AudienceRow(audience=audience, path=path, columns=", ".join(one.name for one in columns_of(audience)))


async def show_audience(request: Request) -> Response:
    """The page of an audience."""
    name, before = request.path_params["audience"], page_start(request)
    operation = request.query_params.get("operation", "")

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "audiences")
        tenant, audience = context.tenant, context.view(Audiences).get_audience(name, current=True).record
        found = context.view(Versions).list_versions(name, before=before, limit=VERSIONS)
        page = AudiencePage(
            audience=audience,
            versions=_versions(context, found.items, audience, frame.texts),
            sizes=_sizes(found.items),
            next_path=next_page(request, found.next),
            settings=words_of(audience, frame.texts),
            columns=columns_of(audience),
            used_by=dependants_of_audience(context, name, frame.texts),
            jobs_path=in_tenant(tenant, "jobs", audience=name),
            export_path=in_tenant(tenant, "audiences", name, "export") if context.may(Action.RUN_JOBS) else None,
            settings_path=in_tenant(tenant, "audiences", name, "settings")
            if context.may(Action.MANAGE_AUDIENCES)
            else None,
            pending=pending_of(context, name, operation) if operation else None,
            key=fresh_key(),
        )
        return shown("audience.html", frame, page)

    return await ask(request, call)


def _sizes(newest_first: Sequence[Version]) -> Plot | None:
    sizes = [(one.published_at, one.members) for one in reversed(newest_first)]
    return staircase(sizes, iso(now_ms())) if len(sizes) > 1 else None


def _versions(context: PageContext, found: Sequence[Version], audience: Audience, t: Texts) -> list[VersionRow]:
    tenant, may_run, may_see_users = context.tenant, context.may(Action.RUN_JOBS), context.may(Action.READ_USERS)
    may_see_jobs, name = context.may(Action.READ_JOBS), audience.audience
    latest = audience.current.version if audience.current else None
    before = {later.version: one.version for later, one in pairwise(found)}
    counts = [one.membership or {} for one in found]
    most = max((max(one.get("added") or 0, one.get("removed") or 0) for one in counts), default=0)
    rows = []
    for version in found:
        number = version.version
        of_version = [tenant, "audiences", name, "versions", str(number)]
        rows.append(
            VersionRow(
                version=version,
                current=number == latest,
                most=max(most, 1),
                mode=t(f"version_mode.{version.mode}"),
                job_path=in_tenant(tenant, "jobs", version.made_by)
                if may_see_jobs and version.mode in MADE_BY_JOBS
                else None,
                pin_path=in_tenant(*of_version, "pin") if may_run else None,
                rollback_path=in_tenant(*of_version, "rollback") if may_run and number != latest else None,
                difference_path=in_tenant(
                    tenant, "audiences", name, "differences", earlier=str(before[number]), later=str(number)
                )
                if may_see_users and number in before
                else None,
            )
        )
    return rows


def pending_of(context: PageContext, name: str, operation: str) -> Pending:
    """A change of this audience. Raises as `Operations.get_operation`."""
    found = context.view(Operations).get_operation(operation)
    return Pending(path=in_tenant(context.tenant, "audiences", name, "operations", operation), operation=found)


async def show_pending(request: Request) -> Response:
    """How far a change is."""
    name, operation = request.path_params["audience"], request.path_params["operation"]

    def call(context: PageContext) -> Response:
        pending = pending_of(context, name, operation)
        answer = shown("parts/pending.html", frame_of(request, context, "audiences"), PendingPart(pending=pending))
        if pending.operation.state == "done":
            answer.headers["HX-Redirect"] = in_tenant(context.tenant, "audiences", name, operation=operation)
        return answer

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/audiences", show_audiences),
    Route(f"{IN_TENANT}/audiences/{{audience}}", show_audience),
    Route(f"{IN_TENANT}/audiences/{{audience}}/operations/{{operation}}", show_pending),
)
