"""The builder of rules: rows or text, and how many users a draft has while it is edited."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.questions import NewCount
from orchestration.access.policy import Action
from orchestration.access.views.questions import Questions
from orchestration.access.views.segments import Segments
from orchestration.console.builder_parts import (
    OF_DRAFTS,
    BuilderPage,
    CountPart,
    NamesPart,
    asked,
    count,
    may_see_users,
    paths_of,
)
from orchestration.console.context import PageContext, ask
from orchestration.console.count_texts import Figure, figure_of, mistyped_of, suggestion_text
from orchestration.console.forms import form_of, fresh_key
from orchestration.console.frame import bare_frame, frame_of
from orchestration.console.language import Texts
from orchestration.console.pages.live import live
from orchestration.console.paths import IN_TENANT
from orchestration.console.rendering import shown
from orchestration.console.rule_form import Draft, changed, draft_of
from orchestration.records.questions import Count
from schemas.errors import MusterError, RetriableError, UserError
from segmentation.rules.nodes import Rule
from segmentation.rules.printer import rule_text
from segmentation.rules.records import rule_record

SHOWN_USERS: Final = 5
SUPERSEDED: Final = "SUPERSEDED"


async def show_builder(request: Request) -> Response:
    """The builder, for a new segment or for the rule of one."""
    segment = request.query_params.get("segment", "")

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "segments")
        context.view(Segments).require(Action.WRITE_SEGMENTS)
        draft = Draft(editor=fresh_key())
        if segment:
            draft = draft.with_segment(context.view(Segments).get_segment(segment))
        return shown("builder.html", frame, _page(draft, context.tenant))

    return await ask(request, call)


async def change_rows(request: Request) -> Response:
    """The form after a button, or after a rule was given in other words."""
    form = await form_of(request)

    def call(context: PageContext) -> Response:
        context.view(Segments).require(Action.WRITE_SEGMENTS)
        frame, draft = bare_frame(request), draft_of(form)
        try:
            page = _page(changed(draft, form.get("action", ""), form), context.tenant)
        except UserError as exc:
            if exc.code not in OF_DRAFTS:
                raise
            page = replace(
                _page(draft, context.tenant),
                text=form.get("text", ""),
                json=form.get("json", ""),
                fault=exc.message,
                marked=str(exc.detail.get("marked", "")),
                chosen=form.get("action", "").partition("template.")[2],
                typed=form,
            )
        return shown("parts/builder_form.html", frame, page)

    return await ask(request, call)


def _page(draft: Draft, tenant: str) -> BuilderPage:
    text, document = _words(draft)
    stream = live(tenant, "segment")
    return BuilderPage(draft=draft, paths=paths_of(draft, tenant), stream=stream, text=text, json=document)


def _words(draft: Draft) -> tuple[str, str]:
    """The rule as text and as JSON; empty while it is invalid."""
    try:
        rule, _ = draft.rule()
    except UserError:
        rule = None
    return ("", "") if rule is None else _words_of(rule)


def _words_of(rule: Rule) -> tuple[str, str]:
    return rule_text(rule), json.dumps(rule_record(rule), indent=2, ensure_ascii=False)


async def show_count(request: Request) -> Response:
    """The numbers of a draft: of each row, each group and the whole."""
    form = await form_of(request)
    draft, t, tenant = draft_of(form), bare_frame(request).texts, request.path_params["tenant"]
    rule: Rule | None = None
    faults: Mapping[tuple[int, int], UserError] = {}
    found: Count | None = None
    error: MusterError | None = None
    samples = await ask(request, may_see_users)
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
        paths=paths_of(draft, tenant),
        found=found,
        total=None if found is None else figure_of(found, t, found.rounded_to),
        groups=groups,
        rows=rows,
        faults={f"{g}-{r}": "" if blank else _fault(draft, g, r, fault, t) for (g, r), fault in faults.items()},
        blank=blank,
        fault="" if error is None else error.message,
        marked="" if error is None else str(error.detail.get("marked", "")),
        suggestions=() if found is None else [suggestion_text(one, t) for one in found.suggestions],
        mistyped=() if found is None else [mistyped_of(one) for one in found.mistyped or ()],
        samples=samples,
        text=text if draft.source == "rows" else None,
        json=document,
    )
    return shown("parts/rule_count.html", bare_frame(request), page)


def _fault(draft: Draft, group: int, row: int, fault: UserError, t: Texts) -> str:
    """The text beside a row. A draft in which nothing was chosen yet has none: the page says how to begin."""
    return t("builder.choose") if draft.groups[group].rows[row].blank else fault.message.partition(": ")[2]


async def _counted(request: Request, form: Mapping[str, str], draft: Draft, rule: Rule) -> Count:
    exact = form.get("precision") == "exact"
    body = NewCount(
        rule=rule_text(rule),
        timezone=rule.timezone,
        precision="exact" if exact else "estimate",
        notes=exact,
        editor=draft.editor,
        revision=_revision(form.get("revision", "")),
    )
    return await count(request, body, users=SHOWN_USERS if form.get("users") else 0)


def _revision(text: str) -> int:
    return min(int(text), 2**53) if text.isascii() and text.isdecimal() and len(text) <= 17 else 0


def _figures(found: Count, t: Texts) -> tuple[dict[str, Figure], dict[str, Figure]]:
    to = found.rounded_to
    rows = {
        f"{g}-{r}": figure_of(one, t, to)
        for g, group in enumerate(found.groups)
        for r, one in enumerate(group.conditions)
    }
    return rows, {f"{g}": figure_of(group, t, to) for g, group in enumerate(found.groups)}


async def suggest_names(request: Request) -> Response:
    """Names for the fields of the form."""
    await ask(request, lambda context: context.view(Segments).require(Action.WRITE_SEGMENTS))
    found = await asked(request, Questions.list_names)
    page = NamesPart(
        events=[one.event for one in found.events],
        properties=sorted({one.name for event in found.events for one in event.properties}),
        attributes=[one.name for one in found.attributes],
        audiences=found.audiences,
        segments=found.segments,
    )
    return shown("parts/rule_names.html", bare_frame(request), page)


ROUTES: Final = (
    Route(f"{IN_TENANT}/builder", show_builder),
    Route(f"{IN_TENANT}/builder/rows", change_rows, methods=["POST"]),
    Route(f"{IN_TENANT}/builder/count", show_count, methods=["POST"]),
    Route(f"{IN_TENANT}/builder/names", suggest_names),
)
