"""Notifications that were not delivered, of all tenants, and sending them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.notifications import NewResend
from orchestration.access.views.notifications import Notifications
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.job_texts import ICONS, Badge, Tone
from orchestration.console.language import Texts
from orchestration.console.paths import PREFIX
from orchestration.console.rendering import see_other, shown
from orchestration.records.notifications import Notification
from schemas.errors import UserError

PATH: Final = f"{PREFIX}/notifications"
ROWS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A notification, with what its outcome and its recipient are called."""

    notification: Notification
    outcome: str
    to: str
    badge: Badge


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationsPage:
    """`given_up`: whether one waits for a decision; `resent`: how many the reader has just sent again."""

    rows: Sequence[Undelivered]
    more: bool
    given_up: bool
    resent: int | None
    resend_path: str


async def show_notifications(request: Request) -> Response:
    """The page."""
    resent = request.query_params.get("resent", "")

    def call(context: PageContext) -> Response:
        found = context.in_deployment(Notifications).list_notifications(limit=ROWS)
        frame = frame_of(request, context, "notifications")
        page = NotificationsPage(
            rows=[_row(one, frame.texts) for one in found.items],
            more=found.more,
            given_up=any(one.state == "given up" for one in found.items),
            resent=int(resent) if resent.isdecimal() and len(resent) < 10 else None,
            resend_path=f"{PATH}/resends",
        )
        return shown("notifications.html", frame, page)

    return await ask(request, call)


async def resend(request: Request) -> Response:
    """Start the delivery of one again, or of all that were given up."""
    form = await form_of(request)
    if not (wanted := form.get("notification", "")):
        raise UserError("BAD_BODY", "the form cannot be read; load the page again")

    def call(context: PageContext) -> Response:
        body = NewResend(notifications=None if wanted == "given-up" else [wanted])
        done = context.in_deployment(Notifications).resend_notifications(body)
        return see_other(f"{PATH}?resent={done.resent}")

    return await ask(request, call)


def _row(one: Notification, t: Texts) -> Undelivered:
    given_up, outcome = one.state == "given up", f"notifications.outcome.{one.outcome}"
    tone: Tone = "bad" if given_up else "waiting"
    return Undelivered(
        notification=one,
        outcome=t(outcome) if t.has(outcome) else one.outcome,
        to=one.recipient or t("notifications.log"),
        badge=Badge(tone=tone, icon=ICONS[tone], text=t(f"notifications.{'given_up' if given_up else 'waiting'}")),
    )


ROUTES: Final = (Route(PATH, show_notifications), Route(f"{PATH}/resends", resend, methods=["POST"]))
