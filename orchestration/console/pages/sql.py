"""SQL over a tenant's data: an editor, what can be read, and the rows of a result.

A query runs as long as its request: cancelling it or leaving the page ends the request, and frees the reader.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.imports import ImportSettings, NewImport
from orchestration.access.bodies.questions import MAX_SQL, LongQuery, NewQuery
from orchestration.access.policy import Action
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.jobs import Jobs
from orchestration.access.views.questions import Questions
from orchestration.access.views.segments import Segments
from orchestration.access.views.submissions import Submissions
from orchestration.api.query_stream import Put
from orchestration.api.service import QUERY_S, asked_in_tenant, service_of
from orchestration.console.context import PageContext, ask
from orchestration.console.csv_download import CsvDownload
from orchestration.console.faults import counted_rejects
from orchestration.console.forms import form_of, fresh_key, key_of
from orchestration.console.frame import bare_frame, frame_of
from orchestration.console.job_texts import id_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.problems import title_of
from orchestration.console.rendering import see_other, shown
from orchestration.console.segment_texts import ALL
from orchestration.readers.cancellation import Cancellation
from orchestration.records.questions import QueryResult
from schemas.columns import USER_ID
from schemas.errors import MusterError, UserError
from schemas.import_targets import MAX_BUILD_SQL

ROWS: Final = 1000
LIMIT_S: Final = 50.0
"""As long as `POST /queries` takes; the download and `muster sql` take an hour."""
AUDIENCES: Final = 500
JOBS: Final = 50
"""Of the newest, those with rejected rows can be chosen."""
PREFILLED: Final = 4000
VALUES: Final = "MAP"
"""From a name to a struct with a field for each type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a query can read. `call`: as it stands in a query."""

    name: str
    call: str
    columns: Sequence[tuple[str, str]]


MEMBER: Final = (("user_id", "string"), ("as_of", "timestamp"))
EVENT: Final = (
    ("user_id", "string"),
    ("event", "string"),
    ("occurred_at", "timestamp"),
    ("event_id", "string"),
    ("properties", VALUES),
)
ACTIVITY: Final = (
    Source(name="events", call="events(since => '30d')", columns=EVENT),
    Source(name="profiles", call="profiles()", columns=(("user_id", "string"), ("attributes", VALUES))),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlPage:
    """The editor. `sql`: a query from the address, which runs only when the reader runs it."""

    sql: str
    run_path: str
    audiences: Sequence[Source]
    segments: Sequence[Source]
    activity: Sequence[Source]
    rejects: Sequence[Source]
    rows: int
    limit_s: int
    max_sql: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value. `null`: there is none, which is not the same as an empty text."""

    text: str
    null: bool
    number: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPart:
    """A result, or why there is none: `fault` is a title, `said` the message of DuckDB or the service.

    `build_path`: where the result is saved as an audience; None if the caller may not, or it has no user_id.
    """

    sql: str
    csv_path: str
    build_path: str | None = None
    key: str = ""
    max_build: int = MAX_BUILD_SQL
    found: QueryResult | None = None
    rows: Sequence[Sequence[Cell]] = ()
    seconds: str = ""
    fault: str = ""
    said: str = ""
    code: str = ""


async def show_editor(request: Request) -> Response:
    """The page before a query is run."""
    sql = request.query_params.get("sql", "")[:PREFILLED]

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "sql")
        context.view(Questions).require(Action.READ_USERS)
        page = SqlPage(
            sql=sql,
            run_path=in_tenant(context.tenant, "sql", "run"),
            audiences=_audiences(context) if context.may(Action.READ) else (),
            segments=_segments(context) if context.may(Action.READ) else (),
            activity=ACTIVITY,
            rejects=_rejects(context) if context.may(Action.READ_REJECTS) and context.may(Action.READ_JOBS) else (),
            rows=ROWS,
            limit_s=round(LIMIT_S),
            max_sql=MAX_SQL,
        )
        return shown("sql.html", frame, page)

    return await ask(request, call)


def _audiences(context: PageContext) -> list[Source]:
    found = context.view(Audiences).list_audiences(limit=AUDIENCES).items
    return [
        Source(
            name=one.audience,
            call=f"audience('{one.audience}')",
            columns=[("user_id", "string"), *((c["name"], c["type"]) for c in one.spec["columns"])],
        )
        for one in found
    ]


def _segments(context: PageContext) -> list[Source]:
    found = context.view(Segments).list_segments(limit=ALL).items
    return [Source(name=one.segment, call=f"segment('{one.segment}')", columns=MEMBER) for one in found]


def _rejects(context: PageContext) -> list[Source]:
    """Newest first."""
    found = [one for one in context.view(Jobs).list_jobs(limit=JOBS).items if counted_rejects(one).get("rejected")]
    return [Source(name=one.audience, call=f"rejects('{id_of(one)}')", columns=()) for one in found]


async def run_query(request: Request) -> Response:
    """The first rows of a query, as a part of the page; errors stand in their place."""
    form, tenant = await form_of(request), request.path_params["tenant"]
    sql, began = _sql_of(form), time.perf_counter()
    may, builds = await ask(request, lambda context: (context.may(Action.READ_USERS), context.may(Action.RUN_JOBS)))
    frame = bare_frame(request)
    part = ResultPart(sql=sql, csv_path=in_tenant(tenant, "sql", "csv"))
    try:
        _check(sql)
        body = NewQuery(sql=sql, rows=ROWS, timeout_s=LIMIT_S)
        found = await asked_in_tenant(request, Questions, tenant, Questions.run_query, body)
    except MusterError as exc:
        if not may:
            raise
        title = title_of(frame.texts, exc.code, exc.kind)
        return shown("parts/sql_result.html", frame, replace(part, fault=title, said=exc.message, code=exc.code))
    named = any(column.name == USER_ID for column in found.columns) and len(sql) <= MAX_BUILD_SQL
    result = replace(
        part,
        found=found,
        build_path=in_tenant(tenant, "sql", "build") if builds and named else None,
        key=fresh_key(),
        rows=[[_cell(value) for value in row] for row in found.rows],
        seconds=f"{time.perf_counter() - began:.1f}",
    )
    return shown("parts/sql_result.html", frame, result)


def _sql_of(form: dict[str, str]) -> str:
    """As it was typed: browsers send lines with CR LF, which would stand in the places of errors."""
    return form.get("sql", "").replace("\r\n", "\n")


def _check(sql: str) -> None:
    if not sql.strip():
        raise UserError("BAD_SQL", "the query is empty; write one SELECT")
    if len(sql) > MAX_SQL:
        raise UserError("BAD_SQL", f"the query has {len(sql):,} characters; at most {MAX_SQL:,} are taken")


def _cell(value: object) -> Cell:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, bool):
        value = "true" if value else "false"
    return Cell(text="" if value is None else str(value), null=value is None, number=number)


async def build(request: Request) -> Response:
    """Save what a query finds as an audience; leads to the job that does."""
    form = await form_of(request)
    key = key_of(request, form)
    mode: Any = form.get("mode") or None
    body = NewImport(audience=form.get("audience", ""), sql=_sql_of(form), settings=ImportSettings(mode=mode))

    def call(context: PageContext) -> Response:
        started = context.view(Submissions).start_import(body, key=key)
        return see_other(in_tenant(context.tenant, "jobs", started.job, started="1"))

    return await ask(request, call)


async def download(request: Request) -> Response:
    """All rows as CSV, as they arrive."""
    sql, tenant = _sql_of(await form_of(request)), request.path_params["tenant"]
    service, caller = service_of(request), request.state.caller

    def run(cancellation: Cancellation, put: Put) -> None:
        view = Questions(service.services, caller, tenant)
        _check(sql)
        view.stream_query(cancellation, LongQuery(sql=sql, timeout_s=QUERY_S), put)

    return await CsvDownload.begin(request, tenant, run)


ROUTES: Final = (
    Route(f"{IN_TENANT}/sql", show_editor),
    Route(f"{IN_TENANT}/sql/run", run_query, methods=["POST"]),
    Route(f"{IN_TENANT}/sql/build", build, methods=["POST"]),
    Route(f"{IN_TENANT}/sql/csv", download, methods=["POST"]),
)
