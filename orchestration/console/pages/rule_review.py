"""The end of the builder: who would enter and leave, what depends on the segment, and saving its rule."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.questions import NewEditPreview
from orchestration.access.bodies.segments import SegmentEdit
from orchestration.access.revisions import Seen
from orchestration.access.views.questions import Questions
from orchestration.access.views.segments import Segments
from orchestration.api.service import asked_in_tenant
from orchestration.console.builder_parts import OF_DRAFTS, ReviewPart, asked, may_see_users, paths_of
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import bare_frame
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import shown
from orchestration.console.rule_form import Draft, draft_of
from orchestration.readers.cancellation import Cancellation
from orchestration.records.questions import EditPreview
from schemas.errors import RetriableError, UserError
from segmentation.rules.nodes import Rule
from segmentation.rules.printer import rule_text

NAMED: Final = 100
"""Users who would enter, and who would leave."""


async def review(request: Request) -> Response:
    """Who would enter and leave, and what depends on the segment."""
    form = await form_of(request)
    draft, tenant = draft_of(form), request.path_params["tenant"]
    await ask(request, may_see_users)
    try:
        rule = _whole(draft)
        if draft.segment:
            return shown("parts/rule_review.html", bare_frame(request), await _compared(request, draft, rule))
        return await _saved(request, draft, rule)
    except (UserError, RetriableError) as exc:
        return _refused(request, draft, tenant, exc)


async def _compared(request: Request, draft: Draft, rule: Rule, *, moved: bool = False) -> ReviewPart:
    body = NewEditPreview(rule=rule_text(rule), timezone=rule.timezone, users=NAMED)

    def call(view: Questions, cancellation: Cancellation) -> EditPreview:
        return view.preview_edit(cancellation, draft.segment, body)

    tenant, t = request.path_params["tenant"], bare_frame(request).texts
    preview = await asked(request, call)
    changed, *others = preview.changes
    return ReviewPart(
        paths=paths_of(draft, tenant),
        same=not changed.entering and not changed.leaving,
        changed=changed,
        others=[(in_tenant(tenant, "segments", one.segment), one) for one in others],
        as_of=preview.as_of,
        used_by=[
            *(t("segment.schedule", name=name) for name in preview.schedules),
            *(t("segment.feed", name=name) for name in preview.feeds),
        ],
        approve=preview.approve or "",
        moved=moved,
    )


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
        rule = _whole(draft)
        try:
            return await _saved(request, draft, rule, approve=form.get("approve") or None)
        except UserError as exc:
            if exc.code != "EDIT_WOULD_CHANGE":
                raise
            page = await _compared(request, draft, rule, moved=True)
            return shown("parts/rule_review.html", bare_frame(request), page)
    except (UserError, RetriableError) as exc:
        return _refused(request, draft, tenant, exc)


async def _saved(request: Request, draft: Draft, rule: Rule, approve: str | None = None) -> Response:
    body, tenant = draft.body(rule), request.path_params["tenant"]

    def create(context: PageContext) -> None:
        context.view(Segments).create_segment(body)

    def edit(view: Segments, cancellation: Cancellation) -> None:
        edited = SegmentEdit(rule=body.rule, timezone=body.timezone, approve=approve)
        view.edit_segment(cancellation, draft.segment, edited, seen=Seen(draft.seen))

    if draft.segment:
        await asked_in_tenant(request, Segments, tenant, edit)
    else:
        await ask(request, create)
    return Response(status_code=204, headers={"HX-Redirect": in_tenant(tenant, "segments", body.segment)})


def _refused(request: Request, draft: Draft, tenant: str, exc: UserError | RetriableError) -> Response:
    if isinstance(exc, UserError) and exc.code not in OF_DRAFTS:
        raise exc
    page = ReviewPart(paths=paths_of(draft, tenant), fault=exc.message)
    return shown("parts/rule_review.html", bare_frame(request), page)


ROUTES: Final = (
    Route(f"{IN_TENANT}/builder/review", review, methods=["POST"]),
    Route(f"{IN_TENANT}/builder/save", save, methods=["POST"]),
)
