"""Create and edit schedules: what runs, and when, in words and with the next times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.imports import ImportSettings, NewImport
from orchestration.access.bodies.schedules import (
    ExportChange,
    ImportChange,
    NewSchedule,
    ScheduleChange,
    ScheduledExport,
    ScheduledSnapshot,
    SnapshotChange,
)
from orchestration.access.policy import Action
from orchestration.access.revisions import Seen, revision_of
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.schedules import Schedules
from orchestration.access.views.segments import Segments
from orchestration.console.context import PageContext, ask
from orchestration.console.export_form import COMPRESSIONS, FORMATS, export_of
from orchestration.console.forms import form_of
from orchestration.console.frame import bare_frame, frame_of
from orchestration.console.language import Texts
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other, shown
from orchestration.console.segment_texts import ALL
from orchestration.console.timing import ALL_DAYS, EVERY, LAST, WEEKDAYS, When, next_runs, when_of, words_of
from orchestration.records.schedules import Schedule
from schemas.columns import ImportMode
from schemas.errors import UserError
from schemas.import_targets import MAX_BUILD_SQL
from schemas.layout import s3_uri

Kind = Literal["import", "export", "snapshot", "build"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""A build is an import of what a query finds."""
MODES: Final = get_args(ImportMode)
AUDIENCES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times in words. `fault`: why there are none."""

    words: str = ""
    next_runs: Sequence[str] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormPage:
    """The form. `name`: of the schedule that is edited; empty for a new one. `given`: what runs, by its fields.

    `kinds`: those that can be created, each with its path.
    """

    name: str
    kind: Kind
    kinds: Sequence[tuple[str, str]]
    given: Mapping[str, Any]
    when: When
    timing: Timing
    seen: str
    path: str
    preview_path: str
    back: str
    audiences: Sequence[str]
    segments: Sequence[str]
    every: Sequence[str] = EVERY
    weekdays: Sequence[int] = WEEKDAYS
    days: Sequence[int] = ALL_DAYS
    last: str = LAST
    modes: Sequence[str] = MODES
    formats: Sequence[str] = FORMATS
    compressions: Sequence[str] = COMPRESSIONS
    max_build: int = MAX_BUILD_SQL


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingPart:
    """The same, as the form is filled."""

    timing: Timing


async def show_new(request: Request) -> Response:
    """The form of a new schedule."""
    query = request.query_params
    kind = next((one for one in KINDS if one == query.get("kind")), KINDS[0])
    given = {name: query.get(name, "")[:MAX_BUILD_SQL] for name in ("audience", "segment", "sql")}

    def call(context: PageContext) -> Response:
        frame, tenant = frame_of(request, context, "schedules"), context.tenant
        context.view(Schedules).require(Action.RUN_JOBS)
        page = _page(context, kind, given, When(), frame.texts)
        kinds = [(one, in_tenant(tenant, "schedules", "new", kind=one)) for one in KINDS if _may(context, one)]
        return shown("schedule_form.html", frame, replace(page, kinds=kinds))

    return await ask(request, call)


def _may(context: PageContext, kind: Kind) -> bool:
    return kind != "build" or context.may(Action.READ_USERS)


async def show_edit(request: Request) -> Response:
    """The form of a schedule as it is."""
    name = request.path_params["schedule"]

    def call(context: PageContext) -> Response:
        frame, view = frame_of(request, context, "schedules"), context.view(Schedules)
        view.require(Action.RUN_JOBS)
        found = view.get_schedule(name)
        when = when_of(found.expression, found.timezone)
        page = _page(context, kind_of(found), _given(found), when, frame.texts)
        path = in_tenant(context.tenant, "schedules", name, "edit")
        seen = revision_of(found, found.revision)
        return shown("schedule_form.html", frame, replace(page, name=name, path=path, seen=seen))

    return await ask(request, call)


def _page(context: PageContext, kind: Kind, given: Mapping[str, Any], when: When, t: Texts) -> FormPage:
    tenant = context.tenant
    reads = context.may(Action.READ)
    return FormPage(
        name="",
        kind=kind,
        kinds=(),
        given=given,
        when=when,
        timing=timing_of(when, t),
        seen="",
        path=in_tenant(tenant, "schedules", "new"),
        preview_path=in_tenant(tenant, "schedules", "times"),
        back=in_tenant(tenant, "schedules"),
        audiences=[one.audience for one in context.view(Audiences).list_audiences(limit=AUDIENCES).items]
        if reads
        else (),
        segments=[one.segment for one in context.view(Segments).list_segments(limit=ALL).items] if reads else (),
    )


def kind_of(schedule: Schedule) -> Kind:
    """What a schedule runs."""
    return "build" if "sql" in schedule.request else schedule.kind


def _given(schedule: Schedule) -> dict[str, Any]:
    """What runs, as fields."""
    request = schedule.request
    match kind_of(schedule):
        case "import":
            return {
                "audience": request["audience"],
                "source": s3_uri(request["bucket"], request["key"]),
                "list": request.get("form") == "list",
            }
        case "build":
            mode = request.get("overrides", {}).get("mode", "")
            return {"audience": request["audience"], "sql": request["sql"], "mode": mode}
        case "snapshot":
            return {name: request.get(name) for name in ("segment", "audience", "allow_shrink")}
        case "export":
            style, shape = request.get("format", {}), request.get("shape", {})
            return {
                "audience": request["audience"],
                "to": request["to"],
                "format": style.get("name", "parquet"),
                "compression": style.get("compression", "none"),
                "formulas": style.get("formulas", "as-is"),
                "where": shape.get("where"),
                "since_last": request.get("delta_from") is not None,
                "allow_shrink": request.get("allow_shrink", False),
            }


def timing_of(when: When, t: Texts) -> Timing:
    """The times in words, or what is wrong with them."""
    try:
        expression = when.text()
        return Timing(words=words_of(expression, when.timezone, t), next_runs=next_runs(expression, when.timezone))
    except UserError as exc:
        return Timing(fault=exc.message)


async def show_times(request: Request) -> Response:
    """The times that a form has so far."""
    form = await form_of(request)

    def call(context: PageContext) -> Response:
        context.view(Schedules).require(Action.RUN_JOBS)
        frame = bare_frame(request)
        return shown("parts/timing.html", frame, TimingPart(timing=timing_of(When.of(form), frame.texts)))

    return await ask(request, call)


async def create(request: Request) -> Response:
    """Create the schedule."""
    form = await form_of(request)

    def call(context: PageContext) -> Response:
        view = context.view(Schedules)
        view.require(Action.RUN_JOBS)
        when = When.of(form)
        view.create_schedule(
            NewSchedule(
                name=form.get("name", "").strip(), expression=when.text(), timezone=when.timezone, **_wanted(form)
            )
        )
        return see_other(in_tenant(context.tenant, "schedules"))

    return await ask(request, call)


def _wanted(form: Mapping[str, str]) -> dict[str, Any]:
    audience = form.get("audience", "").strip()
    match form.get("kind", ""):
        case "import":
            source: dict[str, Any] = {_source_of(form): form.get("source", "").strip()}
            return {"import": NewImport(audience=audience, **source)}
        case "build":
            return {"import": NewImport(audience=audience, sql=_sql_of(form), settings=_mode_of(form))}
        case "export":
            return {"export": ScheduledExport(audience=audience, **_runs_of(form), **export_of(form))}
        case "snapshot":
            return {
                "snapshot": ScheduledSnapshot(
                    segment=form.get("segment", ""), audience=audience or None, allow_shrink="allow_shrink" in form
                )
            }
        case _:
            raise UserError("BAD_BODY", "the form cannot be read; load the page again")


async def edit(request: Request) -> Response:
    """Keep what the form has."""
    form, name = await form_of(request), request.path_params["schedule"]

    def call(context: PageContext) -> Response:
        view = context.view(Schedules)
        view.require(Action.RUN_JOBS)
        when = When.of(form)
        change = ScheduleChange(
            expression=when.text(), timezone=when.timezone, **_changes(form, kind_of(view.get_schedule(name)))
        )
        view.change_schedule(name, change, seen=Seen(form.get("seen", "")))
        return see_other(in_tenant(context.tenant, "schedules"))

    return await ask(request, call)


def _changes(form: Mapping[str, str], kind: Kind) -> dict[str, Any]:
    match kind:
        case "import":
            source: dict[str, Any] = {_source_of(form): form.get("source", "").strip()}
            return {"import": ImportChange(**source)}
        case "build":
            return {"import": ImportChange(sql=_sql_of(form), settings=_mode_of(form))}
        case "export":
            wanted = {name: value for name, value in export_of(form).items() if name != "columns"}
            return {"export": ExportChange(**_runs_of(form), **wanted)}
        case "snapshot":
            return {
                "snapshot": SnapshotChange(
                    audience=form.get("audience", "").strip() or None, allow_shrink="allow_shrink" in form
                )
            }


def _runs_of(form: Mapping[str, str]) -> dict[str, Any]:
    return {name: name in form for name in ("since_last", "allow_shrink")}


def _source_of(form: Mapping[str, str]) -> str:
    return "list" if "list" in form else "source"


def _sql_of(form: Mapping[str, str]) -> str:
    return form.get("sql", "").replace("\r\n", "\n")


def _mode_of(form: Mapping[str, str]) -> ImportSettings:
    mode: Any = form.get("mode") or None
    return ImportSettings(mode=mode)


ROUTES: Final = (
    Route(f"{IN_TENANT}/schedules/new", show_new),
    Route(f"{IN_TENANT}/schedules/new", create, methods=["POST"]),
    Route(f"{IN_TENANT}/schedules/times", show_times, methods=["POST"]),
    Route(f"{IN_TENANT}/schedules/{{schedule}}/edit", show_edit),
    Route(f"{IN_TENANT}/schedules/{{schedule}}/edit", edit, methods=["POST"]),
)
