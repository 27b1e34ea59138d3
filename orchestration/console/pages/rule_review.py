"""The end of the builder: who would enter and leave, what depends on the segment, and saving its rule."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.questions import NewCount
from orchestration.access.revisions import Seen
from orchestration.access.views.segments import Segments
from orchestration.console.builder_parts import OF_DRAFTS, ReviewPart, count, may_see_users, paths_of
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import bare_frame
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import shown
from orchestration.console.rule_form import Draft, draft_of
from orchestration.console.segment_texts import Named, dependants
from orchestration.records.questions import Count
from schemas.errors import RetriableError, UserError
from segmentation.rules.nodes import Group, Member, Rule
from segmentation.rules.printer import rule_text

NAMED: Final = 100
"""Users who would enter, and who would leave."""


async def review(request: Request) -> Response:
    """Who would enter and leave, and what depends on the segment."""
    form = await form_of(request)
    draft, tenant = draft_of(form), request.path_params["tenant"]
    named = NAMED if await ask(request, may_see_users) else 0
    try:
        rule = _whole(draft)
        if draft.segment:
            used_by = await ask(request, lambda context: dependants(context, draft.segment, bare_frame(request).texts))
            page = await _compared(request, draft, rule, used_by, named=named)
            return shown("parts/rule_review.html", bare_frame(request), page)
        return await _saved(request, draft, rule)
    except (UserError, RetriableError) as exc:
        return _refused(request, draft, tenant, exc)


async def _compared(request: Request, draft: Draft, rule: Rule, used_by: Sequence[Named], *, named: int) -> ReviewPart:
    inside = Group(conditions=(Member(kind="segment", name=draft.segment),))
    kept = await _exactly(request, _and(rule, inside))
    new = await _exactly(request, _and(rule, replace(inside, negated=True)), users=named)
    before, staying = kept.groups[-1].members or 0, kept.members or 0
    leaving = max(0, before - staying)
    return ReviewPart(
        paths=paths_of(draft, request.path_params["tenant"]),
        same=not new.members and before == staying,
        entering=new.members or 0,
        leaving=leaving,
        staying=staying,
        as_of=new.as_of,
        entering_users=new.users or (),
        leaving_users=await _leaving(request, rule, inside, min(leaving, named)),
        used_by=used_by,
    )


async def _leaving(request: Request, rule: Rule, inside: Group, most: int) -> Sequence[str]:
    """Members of the segment who fail a group of the rule; asked by the first group that each fails."""
    found: list[str] = []
    for number, group in enumerate(rule.groups):
        if len(found) >= most:
            break
        failed = replace(group, negated=not group.negated)
        leavers = replace(rule, groups=(inside, *rule.groups[:number], failed))
        found += (await _exactly(request, leavers, users=most - len(found))).users or ()
    return sorted(found)


async def _exactly(request: Request, rule: Rule, *, users: int = 0) -> Count:
    body = NewCount(rule=rule_text(rule), timezone=rule.timezone, precision="exact")
    return await count(request, body, users=users)


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
    await ask(request, may_see_users)
    try:
        return await _saved(request, draft, _whole(draft))
    except (UserError, RetriableError) as exc:
        return _refused(request, draft, tenant, exc)


async def _saved(request: Request, draft: Draft, rule: Rule) -> Response:
    body = draft.body(rule)

    def call(context: PageContext) -> Response:
        view = context.view(Segments)
        if draft.segment:
            view.edit_segment(draft.segment, body, seen=Seen(draft.seen))
        else:
            view.create_segment(body)
        path = in_tenant(context.tenant, "segments", body.segment)
        return Response(status_code=204, headers={"HX-Redirect": path})

    return await ask(request, call)


def _refused(request: Request, draft: Draft, tenant: str, exc: UserError | RetriableError) -> Response:
    if isinstance(exc, UserError) and exc.code not in OF_DRAFTS:
        raise exc
    page = ReviewPart(paths=paths_of(draft, tenant), fault=exc.message)
    return shown("parts/rule_review.html", bare_frame(request), page)


ROUTES: Final = (
    Route(f"{IN_TENANT}/builder/review", review, methods=["POST"]),
    Route(f"{IN_TENANT}/builder/save", save, methods=["POST"]),
)
