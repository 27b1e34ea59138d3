"""How audiences and segments overlap: the users of each combination, which can be saved as an audience.

The counts are one query, as on the page for SQL: with its limits, its permission and its entry in the audit trail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.questions import NewQuery
from orchestration.access.policy import Action
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.questions import Questions
from orchestration.access.views.segments import Segments
from orchestration.api.service import asked_in_tenant
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import fresh_key
from orchestration.console.frame import bare_frame, frame_of
from orchestration.console.pages.sql import AUDIENCES, LIMIT_S
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.problems import title_of
from orchestration.console.rendering import shown
from orchestration.console.segment_texts import ALL
from schemas.errors import MusterError, UserError

MOST: Final = 4
"""Sets that are compared: 15 combinations can still be read."""
Kind = Literal["audience", "segment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An audience or segment that can be compared."""

    kind: Kind
    name: str
    chosen: bool

    @property
    def value(self) -> str:
        """As the address names it, and as a query reads it."""
        return call_of(self.kind, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapPage:
    """`counts_path`: where the chosen sets are counted; None unless there are two to four. `wrong`: too few or many."""

    audiences: Sequence[Choice]
    segments: Sequence[Choice]
    most: int
    counts_path: str | None
    wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """The users who are in exactly these of the sets. `share`: of the largest combination, from 0 to 1."""

    inside: Sequence[bool]
    users: int
    share: float
    sql_path: str
    sql: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapPart:
    """The combinations, largest first. `fault`: why there are none; `build_path`: None if the caller may not save."""

    names: Sequence[str] = ()
    sizes: Sequence[int] = ()
    combinations: Sequence[Combination] = ()
    users: int = 0
    build_path: str | None = None
    fault: str = ""
    said: str = ""
    code: str = ""


def call_of(kind: Kind, name: str) -> str:
    """How a query reads it. Names have no quotes."""
    return f"{kind}('{name}')"


def counting_sql(calls: Sequence[str]) -> str:
    """The number of users in each combination of two or more sets that a query reads by these calls."""
    members = " UNION ALL ".join(
        f"SELECT user_id, {number} AS n FROM {call}"  # noqa: S608  # calls of sources that exist
        for number, call in enumerate(calls)
    )
    inside = ", ".join(f"bool_or(n = {number}) AS in_{number}" for number in range(len(calls)))
    flags = ", ".join(f"in_{number}" for number in range(len(calls)))
    return (
        f"SELECT {flags}, count(*) AS users\n"  # noqa: S608  # as above
        f"FROM (SELECT {inside} FROM ({members}) GROUP BY user_id)\n"
        f"GROUP BY {flags} ORDER BY users DESC, {flags}"
    )


def combination_sql(calls: Sequence[str], inside: Sequence[bool]) -> str:
    """The users who are in exactly these of the sets."""
    ones, others = (
        [call for call, is_in in zip(calls, inside, strict=True) if is_in is side] for side in (True, False)
    )
    both = "\nINTERSECT ".join(f"SELECT user_id FROM {call}" for call in ones)  # noqa: S608  # as above
    return "\nEXCEPT ".join([both, *(f"SELECT user_id FROM {call}" for call in others)])  # noqa: S608  # as above


async def show_overlap(request: Request) -> Response:
    """A choice of sets; the page itself requests the counts of those in its address."""
    asked = request.query_params.getlist("of")

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "audiences")
        context.view(Questions).require(Action.READ_USERS)
        choices = _choices(context, asked)
        chosen = [one.value for one in choices if one.chosen]
        return shown(
            "overlap.html",
            frame,
            OverlapPage(
                audiences=[one for one in choices if one.kind == "audience"],
                segments=[one for one in choices if one.kind == "segment"],
                most=MOST,
                counts_path=in_tenant(context.tenant, "overlap", "counts", of=chosen)
                if 1 < len(chosen) <= MOST
                else None,
                wrong=bool(asked) and not 1 < len(chosen) <= MOST,
            ),
        )

    return await ask(request, call)


def _choices(context: PageContext, asked: Sequence[str]) -> list[Choice]:
    """Published audiences and segments, by name."""
    found = context.view(Audiences).list_audiences(limit=AUDIENCES, current=True).items
    segments = [one.segment for one in context.view(Segments).list_segments(limit=ALL).items]
    named: list[tuple[Kind, str]] = [("audience", one.audience) for one in found if one.current]
    named += [("segment", one) for one in segments]
    return [Choice(kind=kind, name=name, chosen=call_of(kind, name) in asked) for kind, name in named]


async def show_counts(request: Request) -> Response:
    """The combinations, as a part of the page; an error stands in their place."""
    asked, tenant = request.query_params.getlist("of"), request.path_params["tenant"]
    frame = bare_frame(request)

    def prepare(context: PageContext) -> tuple[list[str], bool]:
        context.view(Questions).require(Action.READ_USERS)
        return [one.value for one in _choices(context, asked) if one.chosen], context.may(Action.RUN_JOBS)

    calls, builds = await ask(request, prepare)
    try:
        if not 1 < len(calls) <= MOST:
            raise UserError("BAD_SQL", f"choose two to {MOST} audiences and segments that exist")
        body = NewQuery(sql=counting_sql(calls), rows=2**MOST, timeout_s=LIMIT_S)
        found = await asked_in_tenant(request, Questions, tenant, Questions.run_query, body)
    except MusterError as exc:
        title = title_of(frame.texts, exc.code, exc.kind)
        return shown("parts/overlap.html", frame, OverlapPart(fault=title, said=exc.message, code=exc.code))
    rows = [([bool(value) for value in flags], int(users)) for *flags, users in found.rows]
    return shown("parts/overlap.html", frame, _part(tenant, calls, rows, builds=builds))


def _part(
    tenant: str, calls: Sequence[str], rows: Sequence[tuple[Sequence[bool], int]], *, builds: bool
) -> OverlapPart:
    most = max((users for _, users in rows), default=1)
    texts = [combination_sql(calls, inside) for inside, _ in rows]
    return OverlapPart(
        names=calls,
        sizes=[sum(users for inside, users in rows if inside[number]) for number in range(len(calls))],
        combinations=[
            Combination(
                inside=inside,
                users=users,
                share=users / most,
                sql=text,
                sql_path=in_tenant(tenant, "sql", sql=text),
                key=fresh_key(),
            )
            for (inside, users), text in zip(rows, texts, strict=True)
        ],
        users=sum(users for _, users in rows),
        build_path=in_tenant(tenant, "sql", "build") if builds else None,
    )


ROUTES: Final = (
    Route(f"{IN_TENANT}/overlap", show_overlap),
    Route(f"{IN_TENANT}/overlap/counts", show_counts),
)
