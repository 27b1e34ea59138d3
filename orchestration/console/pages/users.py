"""A user: what is known, and why the user is in a segment or not. Ids are in request bodies, never in a path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.imports import NamedUsers
from orchestration.access.bodies.questions import WantedExplanation, WantedUser
from orchestration.access.policy import Action
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.questions import Questions
from orchestration.access.views.segments import Segments
from orchestration.access.views.submissions import Submissions
from orchestration.api.service import asked_in_tenant
from orchestration.console.context import PageContext, ask
from orchestration.console.formatting import plain
from orchestration.console.forms import form_of, fresh_key, key_of
from orchestration.console.frame import Frame, frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other, shown
from orchestration.console.segment_texts import ALL, Named
from orchestration.records.questions import Explanation, User
from schemas.errors import UserError
from segmentation.rules.aggregates import Extreme, Total
from segmentation.rules.nodes import Count, Distinct
from segmentation.rules.parser import parse_rule
from segmentation.rules.sequences import Sequence as EventSequence

MAX_ID: Final = 1024
AUDIENCES: Final = 500
"""That a user can be added to from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An event on a timeline. `at`: its place, from 0 to 1000."""

    at: int
    occurred_at: str
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStep:
    """One step of a sequence. `value`: of the property that is the same in all of them; None if there is none."""

    text: str
    reached_at: str | None
    value: str | None
    waits_until: str | None
    counted: int
    events: Sequence[Moment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One condition. `counted`: None if it counts no events; `window_from`: None without a window.

    `steps`: of a sequence. Their events are on one timeline, too, which begins with the earliest of them.
    """

    text: str
    true: bool
    value: str | None
    counted: int | None
    events: Sequence[Moment]
    window_from: str | None
    window_at: int
    changes_at: str | None
    steps: Sequence[ExplainedStep]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """An explanation. `groups`: each with its conditions; a negated one holds if none of its conditions does."""

    found: Explanation
    path: str
    groups: Sequence[tuple[Mapping[str, Any], Sequence[Explained]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Audiences that the user can be added to, and removed from, by forms to `path`."""

    path: str
    key: str
    user: str
    add_to: Sequence[str]
    remove_from: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage:
    """`unknown`: no user has this id. `segments`: those that can be explained; `inside`: those of the user.

    `membership`: None for callers who may not change it.
    """

    path: str
    user: str
    unknown: bool
    known: User | None
    audiences: Sequence[Named]
    inside: Sequence[Named]
    segments: Sequence[str]
    chosen: str
    why: Why | None
    membership: Membership | None


async def show_form(request: Request) -> Response:
    """The page before a lookup."""

    def call(context: PageContext) -> Response:
        context.view(Questions).require(Action.READ_USERS)
        return shown("users.html", frame_of(request, context, "users"), _page(context, "", None))

    return await ask(request, call)


async def look_up(request: Request) -> Response:
    """A user, and with a segment the explanation."""
    form, tenant = await form_of(request), request.path_params["tenant"]
    user, segment = form.get("user", "").strip()[:MAX_ID], form.get("segment", "")
    if not user:
        return await show_form(request)
    wanted, why = WantedUser(user=user), WantedExplanation(user=user)
    found: User | None = None
    explained: Explanation | None = None
    try:
        found = await asked_in_tenant(request, Questions, tenant, Questions.look_up_user, wanted)
        if segment:
            explained = await asked_in_tenant(request, Questions, tenant, Questions.explain_membership, segment, why)
    except UserError as exc:
        if exc.code != "UNKNOWN_USER":
            raise

    def call(context: PageContext) -> Response:
        frame: Frame = frame_of(request, context, "users")
        return shown("users.html", frame, _page(context, user, found, segment=segment, explained=explained))

    return await ask(request, call)


async def change_membership(request: Request) -> Response:
    """Add the user to an audience, or remove the user; leads to the job that does."""
    form = await form_of(request)
    key, change, body = key_of(request, form), form.get("change", ""), NamedUsers(users=[form.get("user", "")])
    if change not in {"add", "remove"}:
        raise UserError("BAD_BODY", "the form cannot be read; load the page again")

    def call(context: PageContext) -> Response:
        view = context.view(Submissions)
        start = view.add_members if change == "add" else view.remove_members
        started = start(form.get("audience", ""), body, key=key)
        return see_other(in_tenant(context.tenant, "jobs", started.job, started="1"))

    return await ask(request, call)


def _page(
    context: PageContext, user: str, found: User | None, *, segment: str = "", explained: Explanation | None = None
) -> UserPage:
    return UserPage(
        path=in_tenant(context.tenant, "users", "found"),
        user=user,
        unknown=bool(user) and found is None,
        known=found,
        audiences=() if found is None else _named(context, "audiences", found.audiences),
        inside=() if found is None else _named(context, "segments", found.segments),
        segments=[one.segment for one in context.view(Segments).list_segments(limit=ALL).items],
        chosen=segment,
        why=None if explained is None else why_of(explained, context.tenant),
        membership=_membership(context, user, found) if user and context.may(Action.RUN_JOBS) else None,
    )


def _membership(context: PageContext, user: str, found: User | None) -> Membership:
    inside = () if found is None else found.audiences
    every = [one.audience for one in context.view(Audiences).list_audiences(limit=AUDIENCES).items]
    return Membership(
        path=in_tenant(context.tenant, "users", "membership"),
        key=fresh_key(),
        user=user,
        add_to=[name for name in every if name not in inside],
        remove_from=inside,
    )


def _named(context: PageContext, section: str, names: Sequence[str]) -> list[Named]:
    return [Named(name=name, path=in_tenant(context.tenant, section, name)) for name in names]


def why_of(found: Explanation, tenant: str) -> Why:
    """An explanation with the places of its events on timelines."""
    as_of = datetime.fromisoformat(found.as_of)
    return Why(
        found=found,
        path=in_tenant(tenant, "segments", found.segment),
        groups=[(group, [_explained(one, as_of) for one in group["conditions"]]) for group in found.groups],
    )


def _explained(found: Mapping[str, Any], as_of: datetime) -> Explained:
    """A timeline goes from the beginning of the window, or the oldest event shown, to the instant, with some room."""
    given = [found, *found.get("steps", ())]
    times = [datetime.fromisoformat(one["occurred_at"]) for of in given for one in of.get("events", ())]
    window = _window(found["condition"])
    begin = min([*times, as_of - timedelta(days=1)]) if window is None else as_of - window
    first = min([begin, *times])
    span = max((as_of - first).total_seconds(), 1.0)

    def place(at: datetime) -> int:
        return round(20 + 960 * (at - first).total_seconds() / span)

    def moments(events: Sequence[Mapping[str, Any]]) -> list[Moment]:
        times = [one["occurred_at"] for one in events]
        ids = [str(one.get("event_id") or "") for one in events]
        places = [place(datetime.fromisoformat(at)) for at in times]
        return [Moment(at=at, occurred_at=then, event_id=id_) for at, then, id_ in zip(places, times, ids, strict=True)]

    return Explained(
        text=found["condition"],
        true=found["true"],
        value=_value(found["value"]) if "value" in found else None,
        counted=found.get("counted"),
        events=moments(found.get("events", ())),
        window_from=None if window is None else begin.isoformat(),
        window_at=place(begin),
        changes_at=found.get("changes_at"),
        steps=[
            ExplainedStep(
                text=step["step"],
                reached_at=step["reached_at"],
                value=_value(step["value"]) if step.get("value") is not None else None,
                waits_until=step["waits_until"],
                counted=step["counted"],
                events=moments(step["events"]),
            )
            for step in found.get("steps", ())
        ],
    )


def _value(value: object) -> str:
    return "–" if value is None else plain(value)


def _window(text: str) -> timedelta | None:
    """The window of a condition that has one. Texts of conditions are parsed as rules; dates in them need a zone."""
    match parse_rule(f"rule 2: {text}", timezone="UTC").conditions:
        case (
            Count(within_s=int(seconds))
            | Distinct(within_s=int(seconds))
            | Total(within_s=int(seconds))
            | Extreme(within_s=int(seconds))
            | EventSequence(window_s=seconds),
        ):
            return timedelta(seconds=seconds)
        case _:
            return None


ROUTES: Final = (
    Route(f"{IN_TENANT}/users", show_form),
    Route(f"{IN_TENANT}/users/found", look_up, methods=["POST"]),
    Route(f"{IN_TENANT}/users/membership", change_membership, methods=["POST"]),
)
