"""Exports of an audience or a segment: a form that starts one, and the files of one that waits for its receiver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.exports import NewExport
from orchestration.access.policy import Action
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.segments import Segments
from orchestration.access.views.submissions import Submissions
from orchestration.access.views.versions import Versions
from orchestration.console.context import PageContext, ask
from orchestration.console.export_form import COMPRESSIONS, FORMATS, export_of
from orchestration.console.forms import form_of, fresh_key, key_of
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other, shown
from orchestration.kinds.export.request import SINCE_LAST
from orchestration.records.audiences import Version
from orchestration.records.jobs import ExportFile
from schemas.errors import UserError

VERSIONS: Final = 100
MANIFEST: Final = "manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPage:
    """The form. `versions`: newest first; `columns`: of the current version, of which some can be chosen.

    `of_segment`: its members as of now are exported, and there is nothing to choose.
    """

    name: str
    back: str
    path: str
    key: str
    schedule_path: str
    versions: Sequence[Version] = ()
    columns: Sequence[str] = ()
    of_segment: bool = False
    formats: Sequence[str] = FORMATS
    compressions: Sequence[str] = COMPRESSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesPage:
    """The files of an export, each with the path that leads to it."""

    job: str
    job_path: str
    version: int
    rows: int
    manifest_path: str
    files: Sequence[tuple[ExportFile, str]]


async def show_form(request: Request) -> Response:
    """The page before an export."""
    name = request.path_params["audience"]

    def call(context: PageContext) -> Response:
        frame, tenant = frame_of(request, context, "audiences"), context.tenant
        context.view(Submissions).require(Action.RUN_JOBS)
        audience = context.view(Audiences).get_audience(name, current=True).record
        page = ExportPage(
            name=name,
            back=in_tenant(tenant, "audiences", name),
            path=in_tenant(tenant, "audiences", name, "exports"),
            versions=context.view(Versions).list_versions(name, limit=VERSIONS).items,
            columns=[str(one["name"]) for one in audience.current.schema] if audience.current else (),
            key=fresh_key(),
            schedule_path=in_tenant(tenant, "schedules", "new", kind="export", audience=name),
        )
        return shown("export.html", frame, page)

    return await ask(request, call)


async def show_form_of_segment(request: Request) -> Response:
    """The page before an export of a segment."""
    name = request.path_params["segment"]

    def call(context: PageContext) -> Response:
        frame, tenant = frame_of(request, context, "segments"), context.tenant
        context.view(Submissions).require(Action.RUN_JOBS)
        context.view(Segments).get_segment(name)
        page = ExportPage(
            name=name,
            back=in_tenant(tenant, "segments", name),
            path=in_tenant(tenant, "segments", name, "exports"),
            key=fresh_key(),
            schedule_path=in_tenant(tenant, "schedules", "new", kind="export", audience=name),
            of_segment=True,
        )
        return shown("export.html", frame, page)

    return await ask(request, call)


async def start(request: Request) -> Response:
    """Start the export, and go to its job."""
    given, form = request.path_params, await form_of(request)
    key = key_of(request, form)

    def call(context: PageContext) -> Response:
        if name := given.get("segment", ""):
            context.view(Segments).get_segment(name)
        else:
            context.view(Audiences).get_audience(name := given["audience"])
        started = context.view(Submissions).start_export(_body(name, form), key=key)
        return see_other(in_tenant(context.tenant, "jobs", started.export, started="1"))

    return await ask(request, call)


def _body(audience: str, form: Mapping[str, str]) -> NewExport:
    given: dict[str, Any] = export_of(form)
    for name in ("version", "delta_from"):
        if text := form.get(name, ""):
            given[name] = text if (name, text) == ("delta_from", SINCE_LAST) else _number(text)
    if form.get("rows") != "changes":
        given.pop("delta_from", None)
    return NewExport(audience=audience, allow_shrink="allow_shrink" in form, **given)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UserError("NO_SUCH_VERSION", f"{text[:20]!r} is no number of a version")
    return int(text)


async def show_files(request: Request) -> Response:
    """The files of an export to `download`. Each view is in the audit trail."""
    job = request.path_params["job"]

    def call(context: PageContext) -> Response:
        frame, tenant = frame_of(request, context, "jobs"), context.tenant
        found = context.view(Submissions).list_export_files(job)
        path = in_tenant(tenant, "jobs", found.export, "files")
        page = FilesPage(
            job=found.export,
            job_path=in_tenant(tenant, "jobs", found.export),
            version=found.version,
            rows=found.rows,
            manifest_path=f"{path}/{MANIFEST}",
            files=[(one, f"{path}/{number}") for number, one in enumerate(found.items, 1)],
        )
        return shown("export_files.html", frame, page)

    return await ask(request, call)


async def fetch_file(request: Request) -> Response:
    """Leads to one file, by an address that is valid for five minutes."""
    job, file = request.path_params["job"], request.path_params["file"]

    def call(context: PageContext) -> Response:
        found = context.view(Submissions).list_export_files(job)
        if file == MANIFEST:
            return see_other(found.manifest)
        if not file.isdecimal() or len(file) > 9 or not 1 <= int(file) <= len(found.items):
            raise UserError("NO_SUCH_PATH", "the export has no file of this number")
        return see_other(found.items[int(file) - 1].url)

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/audiences/{{audience}}/export", show_form),
    Route(f"{IN_TENANT}/audiences/{{audience}}/exports", start, methods=["POST"]),
    Route(f"{IN_TENANT}/segments/{{segment}}/export", show_form_of_segment),
    Route(f"{IN_TENANT}/segments/{{segment}}/exports", start, methods=["POST"]),
    Route(f"{IN_TENANT}/jobs/{{job}}/files", show_files),
    Route(f"{IN_TENANT}/jobs/{{job}}/files/{{file}}", fetch_file),
)
