"""The builder of rules: rows or text, and how many users a draft has while it is edited."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.revisions import SEGMENT, revision_of
from orchestration.access.views.questions import QuestionsView, WantedCount
from orchestration.access.views.segment_changes import SegmentChangesView
from orchestration.access.views.segments import SegmentsView
from orchestration.api.service import asked_in_tenant
from orchestration.console.count_texts import Figure, Notes, figure_of, notes_of
from orchestration.console.desk import Desk, ask
from orchestration.console.forms import form_of, fresh_key
from orchestration.console.frame import bare_frame, frame_of
from orchestration.console.language import Texts
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import shown
from orchestration.console.rule_form import Draft, changed, draft_of
from orchestration.console.rule_rows import BOUNDS, KINDS, OF_EVENTS, QUANTITIES, TESTS, UNITS_SHOWN
from orchestration.console.segment_texts import Named, dependants, rule_of
from schemas.errors import MusterError, RetriableError, UserError
from segmentation.rules.nodes import Group, Member, Rule
from segmentation.rules.printer import rule_text
from segmentation.rules.records import rule_record

SHOWN_USERS: Final = 5
SUPERSEDED: Final = "SUPERSEDED"
OF_DRAFTS: Final = frozenset(
    {
        *("BAD_RULE", "RULE_TOO_BIG", "BAD_TIMEZONE", "UNKNOWN_AUDIENCE", "UNKNOWN_SEGMENT", "SEGMENT_CYCLE"),
        *("BAD_NAME", "NAME_TAKEN", "AUDIENCE_NAME_TAKEN", "SEGMENT_EXISTS", "TOO_MANY_SEGMENTS", "STALE_ETAG"),
        *("SEGMENT_PAUSED", "TOO_MANY_QUESTIONS", "BAD_BODY"),
    }
)
"""Errors that are shown within the page, where they can be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where the parts of the page send to."""

    rows: str
    count: str
    names: str
    review: str
    save: str
    back: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderPage:
    """The form. `fault`: of a rule that was typed and cannot be taken; `marked`: its line with a caret."""

    draft: Draft
    paths: Paths
    text: str
    json: str
    fault: str = ""
    marked: str = ""
    kinds: Sequence[str] = KINDS
    of_events: frozenset[str] = OF_EVENTS
    quantities: Sequence[str] = tuple(QUANTITIES)
    bounds: Sequence[str] = tuple(BOUNDS)
    units: Sequence[str] = UNITS_SHOWN
    tests: Sequence[str] = TESTS


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPart:
    """What a draft would have. `rows`: the figures and faults of rows, by the ids of their places.

    `more`: the estimate is followed by the exact number; `samples`: members can be named.
    """

    paths: Paths
    total: Figure | None
    groups: Mapping[str, Figure]
    rows: Mapping[str, Figure]
    faults: Mapping[str, str]
    blank: bool
    fault: str
    marked: str
    as_of: str | None
    notes: Notes | None
    users: Sequence[str] | None
    more: bool
    samples: bool
    text: str | None
    json: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesPart:
    """What rules can name, for suggestions."""

    paths: Paths
    events: Sequence[str]
    properties: Sequence[str]
    attributes: Sequence[str]
    audiences: Sequence[str]
    segments: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPart:
    """What saving would do."""

    fault: str
    same: bool
    entering: int
    leaving: int
    staying: int
    as_of: str
    users: Sequence[str]
    used_by: Sequence[Named]
    paths: Paths


async def show_builder(request: Request) -> Response:
    """The builder, for a new segment or for the rule of one."""
    segment = request.query_params.get("segment", "")

    def call(desk: Desk) -> Response:
        frame = frame_of(request, desk, "segments")
        desk.view(SegmentChangesView).require(Action.WRITE_SEGMENTS)
        draft = Draft(editor=fresh_key())
        if segment:
            found = desk.view(SegmentsView).segment(segment)
            draft = replace(draft, segment=segment, seen=revision_of(found, SEGMENT), timezone=found["timezone"] or "")
            draft = draft.with_rule(rule_of(found))
        return shown("builder.html", frame, _page(draft, desk.tenant))

    return await ask(request, call)


async def change_rows(request: Request) -> Response:
    """The form after a button, or after a rule was given in other words."""
    form = await form_of(request)

    def call(desk: Desk) -> Response:
        desk.view(SegmentChangesView).require(Action.WRITE_SEGMENTS)
        frame, draft = bare_frame(request), draft_of(form)
        try:
            page = _page(changed(draft, form.get("action", ""), form), desk.tenant)
        except UserError as exc:
            if exc.code not in OF_DRAFTS:
                raise
            page = replace(
                _page(draft, desk.tenant),
                text=form.get("text", ""),
                json=form.get("json", ""),
                fault=exc.message,
                marked=str(exc.detail.get("marked", "")),
            )
        return shown("parts/builder_form.html", frame, page)

    return await ask(request, call)


def _page(draft: Draft, tenant: str) -> BuilderPage:
    text, document = _words(draft)
    return BuilderPage(draft=draft, paths=_paths(draft, tenant), text=text, json=document)


def _words(draft: Draft) -> tuple[str, str]:
    """The rule as text and as JSON; empty as long as it is none."""
    try:
        rule, _ = draft.rule()
    except UserError:
        rule = None
    return ("", "") if rule is None else _words_of(rule)


def _words_of(rule: Rule) -> tuple[str, str]:
    return rule_text(rule), json.dumps(rule_record(rule), indent=2, ensure_ascii=False)


def _paths(draft: Draft, tenant: str) -> Paths:
    return Paths(
        **{name: in_tenant(tenant, "builder", name) for name in ("rows", "count", "names", "review", "save")},
        back=in_tenant(tenant, "segments", *((draft.segment,) if draft.segment else ())),
    )


async def count(request: Request) -> Response:
    """The numbers of a draft: of each row, each group and the whole."""
    form = await form_of(request)
    draft, t, tenant = draft_of(form), bare_frame(request).texts, request.path_params["tenant"]
    rule: Rule | None = None
    faults: Mapping[tuple[int, int], UserError] = {}
    found: Record | None = None
    error: MusterError | None = None
    may_see_users = await ask(request, _samples)
    try:
        rule, faults = draft.rule()
        if rule is not None:
            found = await _counted(request, form, draft, rule)
    except (UserError, RetriableError) as exc:
        if exc.code == SUPERSEDED:  # the answer to a newer revision fills the page
            return Response(status_code=204)
        if isinstance(exc, UserError) and exc.code not in OF_DRAFTS:
            raise
        error = exc
    blank = draft.source == "rows" and all(row.blank for group in draft.groups for row in group.rows)
    text, document = (None, None) if rule is None else _words_of(rule)
    rows, groups = ({}, {}) if found is None else _figures(found, t)
    page = CountPart(
        paths=_paths(draft, tenant),
        total=None if found is None else figure_of(found, t),
        groups=groups,
        rows=rows,
        faults={
            f"{g}-{r}": t("builder.choose") if draft.groups[g].rows[r].blank else fault.message.partition(": ")[2]
            for (g, r), fault in faults.items()
        },
        blank=blank,
        fault="" if error is None else error.message,
        marked="" if error is None else str(error.detail.get("marked", "")),
        as_of=None if found is None else found["as_of"],
        notes=None if found is None else notes_of(found),
        users=None if found is None else found["users"],
        more=found is not None and found["precision"] == "estimate",
        samples=may_see_users,
        text=text if draft.source == "rows" else None,
        json=document,
    )
    return shown("parts/rule_count.html", bare_frame(request), page)


def _samples(desk: Desk) -> bool:
    """Whether members can be named. Raises `UserError` FORBIDDEN to those who may not write rules."""
    desk.view(SegmentChangesView).require(Action.WRITE_SEGMENTS)
    return desk.may(Action.READ_USERS)


async def _counted(request: Request, form: Mapping[str, str], draft: Draft, rule: Rule) -> Record:
    exact, users = form.get("precision") == "exact", SHOWN_USERS if form.get("users") else 0
    wanted = WantedCount(
        rule=rule_text(rule),
        timezone=rule.timezone,
        exact=exact,
        users=users,
        notes=exact,
        editor=draft.editor,
        revision=_revision(form.get("revision", "")),
    )
    method = QuestionsView.count_with_users if users else QuestionsView.count
    found: Record = await _asked(request, lambda view, cancellation: method(view, cancellation, wanted))
    return found


async def _asked(request: Request, call: Callable[[QuestionsView, Any], Record]) -> Record:
    return await asked_in_tenant(request, QuestionsView, request.path_params["tenant"], call)


def _revision(text: str) -> int:
    return min(int(text), 2**53) if text.isascii() and text.isdecimal() and len(text) <= 17 else 0


def _figures(found: Record, t: Texts) -> tuple[dict[str, Figure], dict[str, Figure]]:
    rows = {
        f"{g}-{r}": figure_of(one, t)
        for g, group in enumerate(found["groups"])
        for r, one in enumerate(group["conditions"])
    }
    return rows, {f"{g}": figure_of(group, t) for g, group in enumerate(found["groups"])}


async def suggest_names(request: Request) -> Response:
    """Names for the fields of the form."""
    await ask(request, lambda desk: desk.view(SegmentChangesView).require(Action.WRITE_SEGMENTS))
    found = await _asked(request, lambda view, cancellation: view.names(cancellation))
    page = NamesPart(
        paths=_paths(Draft(editor=""), request.path_params["tenant"]),
        events=[one["event"] for one in found["events"]],
        properties=sorted({one["name"] for event in found["events"] for one in event["properties"]}),
        attributes=[one["name"] for one in found["attributes"]],
        audiences=found["audiences"],
        segments=found["segments"],
    )
    return shown("parts/rule_names.html", bare_frame(request), page)


async def review(request: Request) -> Response:
    """Who would enter and leave, and what depends on the segment."""
    form = await form_of(request)
    draft, tenant = draft_of(form), request.path_params["tenant"]
    may_see_users = await ask(request, _samples)
    try:
        rule = _whole(draft)
        if draft.segment:
            used_by = await ask(request, lambda desk: dependants(desk, draft.segment, bare_frame(request).texts))
            page = await _compared(request, draft, rule, used_by, users=SHOWN_USERS if may_see_users else 0)
            return shown("parts/rule_review.html", bare_frame(request), page)
        return await _saved(request, draft, rule)
    except (UserError, RetriableError) as exc:
        return _refused(request, draft, tenant, exc)


async def _compared(request: Request, draft: Draft, rule: Rule, used_by: Sequence[Named], *, users: int) -> ReviewPart:
    inside = Member(kind="segment", name=draft.segment)
    kept = await _exactly(request, _and(rule, Group(conditions=(inside,))))
    new = await _exactly(request, _and(rule, Group(conditions=(inside,), negated=True)), users=users)
    before = kept["groups"][-1]["members"]
    return ReviewPart(
        fault="",
        same=not new["members"] and before == kept["members"],
        entering=new["members"],
        leaving=max(0, before - kept["members"]),
        staying=kept["members"],
        as_of=new["as_of"],
        users=new["users"] or (),
        used_by=used_by,
        paths=_paths(draft, request.path_params["tenant"]),
    )


async def _exactly(request: Request, rule: Rule, *, users: int = 0) -> Record:
    wanted = WantedCount(rule=rule_text(rule), timezone=rule.timezone, exact=True, users=users)
    method = QuestionsView.count_with_users if users else QuestionsView.count
    return await _asked(request, lambda view, cancellation: method(view, cancellation, wanted))


def _and(rule: Rule, group: Group) -> Rule:
    return replace(rule, groups=(*rule.groups, group))


def _whole(draft: Draft) -> Rule:
    """The rule. Raises `UserError` BAD_RULE if a row is not one yet."""
    rule, faults = draft.rule()
    for fault in faults.values():
        raise fault
    if rule is None:
        raise UserError("BAD_RULE", "a rule must have at least one condition")
    return rule


async def save(request: Request) -> Response:
    """Create the segment, or change its rule."""
    form = await form_of(request)
    draft, tenant = draft_of(form), request.path_params["tenant"]
    await ask(request, _samples)
    try:
        return await _saved(request, draft, _whole(draft))
    except (UserError, RetriableError) as exc:
        return _refused(request, draft, tenant, exc)


async def _saved(request: Request, draft: Draft, rule: Rule) -> Response:
    text = draft.text if draft.source == "text" else rule_text(rule)

    def call(desk: Desk) -> Response:
        view = desk.view(SegmentChangesView)
        if draft.segment:
            view.edit_segment(draft.segment, text, rule.timezone, seen=draft.seen)
        else:
            view.create_segment(draft.name, text, rule.timezone)
        path = in_tenant(desk.tenant, "segments", draft.segment or draft.name)
        return Response(status_code=204, headers={"HX-Redirect": path})

    return await ask(request, call)


def _refused(request: Request, draft: Draft, tenant: str, exc: UserError | RetriableError) -> Response:
    if isinstance(exc, UserError) and exc.code not in OF_DRAFTS:
        raise exc
    page = ReviewPart(
        fault=exc.message,
        same=False,
        entering=0,
        leaving=0,
        staying=0,
        as_of="",
        users=(),
        used_by=(),
        paths=_paths(draft, tenant),
    )
    return shown("parts/rule_review.html", bare_frame(request), page)


ROUTES: Final = (
    Route(f"{IN_TENANT}/builder", show_builder),
    Route(f"{IN_TENANT}/builder/rows", change_rows, methods=["POST"]),
    Route(f"{IN_TENANT}/builder/count", count, methods=["POST"]),
    Route(f"{IN_TENANT}/builder/names", suggest_names),
    Route(f"{IN_TENANT}/builder/review", review, methods=["POST"]),
    Route(f"{IN_TENANT}/builder/save", save, methods=["POST"]),
)
