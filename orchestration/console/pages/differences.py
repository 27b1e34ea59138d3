"""The difference of two versions of an audience: who joined, left and changed.

The comparison is an operation of the reader alone. The address of the page names the versions; what it shows of users
comes by requests of their own, each comparison in the audit trail.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.operations import NewDifference
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.operations import Operations
from orchestration.access.views.versions import Versions
from orchestration.console.context import PageContext, ask
from orchestration.console.faults import Fault, fault_of
from orchestration.console.forms import form_of
from orchestration.console.frame import Frame, bare_frame, frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.receipts import Sum, sums_of_difference
from orchestration.console.rendering import shown
from orchestration.records.audiences import Version
from orchestration.records.operations import Operation
from schemas.errors import UserError

VERSIONS: Final = 500
NAMED: Final = 1000
"""Ids of each kind of change that one comparison lists; the next comparison continues after the last of them."""
ROWS: Final = 100
Kind = Literal["added", "removed", "changed"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferencePage:
    """`begin_path`: None as long as two versions are not chosen."""

    audience: str
    audience_path: str
    path: str
    versions: Sequence[Version]
    earlier: int | None
    later: int | None
    begin_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KindChoice:
    """Members with one kind of change. `path`: None if they are found by another comparison."""

    kind: Kind
    count: int
    path: str | None
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewValue:
    """A column that changed; None: no value."""

    column: str
    earlier: str | None
    later: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member that is named, and what has changed."""

    id: str
    values: Sequence[NewValue] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A comparison that can be begun: as of the page, from the first member with a change, or after one."""

    path: str
    earlier: int
    later: int
    after: str = ""
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferencePart:
    """The findings of a comparison. `users`: a page of them; `first`: the number of the first among `count`.

    `start`: of a comparison from the first member; `go_on`: of one after the last that this comparison has named.
    `sql_path`: a query that finds all of them, with their columns.
    """

    running_path: str | None
    fault: Fault | None
    sums: Sequence[Sum] = ()
    kinds: Sequence[KindChoice] = ()
    kind: str = ""
    count: int = 0
    users: Sequence[Member] = ()
    first: int = 0
    previous_path: str | None = None
    next_path: str | None = None
    start: Start | None = None
    go_on: Start | None = None
    user_path: str = ""
    sql_path: str = ""


async def show_difference(request: Request) -> Response:
    """The page: a choice of two versions; the page itself requests what has changed."""
    name = request.path_params["audience"]
    earlier, later = (_number(request.query_params.get(side, "")) for side in ("earlier", "later"))

    def call(context: PageContext) -> Response:
        frame, tenant = frame_of(request, context, "audiences"), context.tenant
        context.view(Operations).require(Action.READ_USERS)
        found = context.view(Versions).list_versions(name, limit=VERSIONS).items
        numbers = [one.version for one in found]
        chosen = earlier in numbers and later in numbers
        page = DifferencePage(
            audience=name,
            audience_path=in_tenant(tenant, "audiences", name),
            path=in_tenant(tenant, "audiences", name, "differences"),
            versions=found,
            earlier=earlier if earlier in numbers else numbers[1] if len(numbers) > 1 else None,
            later=later if later in numbers else numbers[0] if numbers else None,
            begin_path=in_tenant(tenant, "audiences", name, "differences", "begun") if chosen else None,
        )
        return shown("difference.html", frame, page)

    return await ask(request, call)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


async def begin(request: Request) -> Response:
    """Begin to compare two versions."""
    form, name = await form_of(request), request.path_params["audience"]
    earlier, later = (_number(form.get(side, "")) for side in ("earlier", "later"))
    if not earlier or not later:
        raise UserError("NO_SUCH_VERSION", "choose two versions by their numbers")
    change = next((one for one in KINDS if one == form.get("change")), None)

    def call(context: PageContext) -> Response:
        begun = context.view(Operations).compare_versions(
            name,
            NewDifference(
                earlier=earlier,
                later=later,
                sample=NAMED,
                after=form.get("after") or None,
                change=change,
                values=True,
            ),
        )
        return _part(context, bare_frame(request), name, begun, form)

    return await ask(request, call)


async def show_part(request: Request) -> Response:
    """How far a comparison is, and a page of what it has found."""
    name, operation = request.path_params["audience"], request.path_params["operation"]

    def call(context: PageContext) -> Response:
        found = context.view(Operations).get_operation(operation)
        if found.kind != "difference" or (found.result or {"audience": name})["audience"] != name:
            raise UserError("UNKNOWN_OPERATION", "this operation is no comparison of versions of this audience")
        return _part(context, bare_frame(request), name, found, request.query_params)

    return await ask(request, call)


def _part(context: PageContext, frame: Frame, name: str, found: Operation, given: Mapping[str, str]) -> Response:
    def path(**query: str) -> str:
        return in_tenant(context.tenant, "audiences", name, "differences", found.operation, **query)

    result = found.result
    skipped, asked = _number(given.get("skipped", "")) or 0, given.get("change", "")
    rest = {"skipped": str(skipped)} if skipped else {}
    part = DifferencePart(
        running_path=path(change=asked, **rest) if found.running else None, fault=fault_of(found.error, frame.texts)
    )
    if result is not None:
        sample = result["sample"]
        counted = [kind for kind in KINDS if result[kind] and kind in sample] or [*sample][:1] or [KINDS[0]]
        kind = next((one for one in KINDS if one == asked and one in sample), counted[0])
        users, first = _members(result, kind), _number(given.get("from", "")) or 0
        start = Start(
            path=in_tenant(context.tenant, "audiences", name, "differences", "begun"),
            earlier=result["earlier"],
            later=result["later"],
        )
        done = skipped + len(users)
        part = DifferencePart(
            running_path=None,
            fault=None,
            sums=sums_of_difference(result, frame.texts),
            kinds=[
                KindChoice(
                    kind=one,
                    count=result[one],
                    path=path(change=one, **rest) if one in sample else None,
                    chosen=one == kind,
                )
                for one in KINDS
            ],
            kind=kind,
            count=result[kind],
            users=users[first : first + ROWS],
            first=skipped + first + 1,
            previous_path=path(change=kind, **{"from": str(max(0, first - ROWS))}, **rest) if first else None,
            next_path=path(change=kind, **{"from": str(first + ROWS)}, **rest) if first + ROWS < len(users) else None,
            start=start,
            go_on=replace(start, after=users[-1].id, skipped=done) if users and done < result[kind] else None,
            user_path=in_tenant(context.tenant, "users", "found"),
            sql_path=in_tenant(context.tenant, "sql", sql=sql_of(name, kind, result["earlier"], result["later"])),
        )
    return shown("parts/difference.html", frame, part)


def _members(result: Record, kind: Kind) -> list[Member]:
    if kind == "changed" and "changes" in result:
        return [
            Member(
                id=one["user"],
                values=[
                    NewValue(column=column, earlier=_shown(value["earlier"]), later=_shown(value["later"]))
                    for column, value in one["columns"].items()
                ],
            )
            for one in result["changes"]
        ]
    return [Member(id=one) for one in result["sample"].get(kind, ())]


def _shown(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def sql_of(audience: str, kind: Kind, earlier: int, later: int) -> str:
    """A query for all members with a change. Names of audiences have no quotes."""
    before, after = (f"audience('{audience}', version => {number})" for number in (earlier, later))
    match kind:
        case "added":
            return _only(after, before)
        case "removed":
            return _only(before, after)
        case "changed":
            return (
                f"WITH before AS (FROM {before}), after AS (FROM {after})\n"
                "SELECT before, after FROM before JOIN after USING (user_id)\n"
                "WHERE before IS DISTINCT FROM after\nORDER BY user_id"
            )


def _only(one: str, other: str) -> str:
    return f"SELECT * FROM {one}\nWHERE user_id NOT IN (SELECT user_id FROM {other})\nORDER BY user_id"  # noqa: S608  # shown


_DIFFERENCES: Final = f"{IN_TENANT}/audiences/{{audience}}/differences"
ROUTES: Final = (
    Route(_DIFFERENCES, show_difference),
    Route(f"{_DIFFERENCES}/begun", begin, methods=["POST"]),
    Route(f"{_DIFFERENCES}/{{operation}}", show_part),
)
