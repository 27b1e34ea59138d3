"""Tokens that reach the tenant, and making one, which is shown once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.access import NewTenantToken
from orchestration.access.grants import DEFAULT_DAYS, MAX_DAYS
from orchestration.access.policy import TENANT_ROLES
from orchestration.access.views.tokens import TenantTokens
from orchestration.api import cursors
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.job_texts import ICONS, Badge, Tone
from orchestration.console.language import Texts
from orchestration.console.paths import IN_TENANT, in_tenant, page_start
from orchestration.console.rendering import see_other, shown
from orchestration.platform.clock import iso, now_ms
from orchestration.records.access import Token
from schemas.errors import UserError

ROWS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token. `revoke_path` None: it has ended."""

    token: Token
    roles: str
    badge: Badge
    revoke_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensPage:
    """`made`: the secret of the token that was just made, which nothing shows again."""

    rows: Sequence[TokenRow]
    roles: Sequence[str]
    days: int
    most_days: int
    make_path: str
    next_path: str | None
    made: str = ""


async def show_tokens(request: Request) -> Response:
    """The page."""
    before = page_start(request)

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "tokens")
        return shown("tokens.html", frame, _page(context, frame.texts, before=before))

    return await ask(request, call)


async def make(request: Request) -> Response:
    """Make a token, and show it."""
    form = await form_of(request)
    days = form.get("days", "")
    if not days.isdecimal() or len(days) > 4:
        raise UserError("BAD_LIFETIME", f"a token lasts 1 to {MAX_DAYS} days")
    roles = [role for role in TENANT_ROLES if f"role_{role}" in form]

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "tokens")
        wanted = NewTenantToken(name=form.get("name", ""), roles=roles, days=int(days))
        made = context.view(TenantTokens).create_token(wanted)
        return shown("tokens.html", frame, replace(_page(context, frame.texts), made=made.secret))

    return await ask(request, call)


async def revoke(request: Request) -> Response:
    """Revoke a token."""
    await form_of(request)
    token = request.path_params["token"]

    def call(context: PageContext) -> Response:
        context.view(TenantTokens).revoke_token(token)
        return see_other(in_tenant(context.tenant, "tokens"))

    return await ask(request, call)


def _page(context: PageContext, t: Texts, *, before: str | None = None) -> TokensPage:
    path = in_tenant(context.tenant, "tokens")
    found = context.view(TenantTokens).list_tokens(before=before, limit=ROWS)
    return TokensPage(
        rows=[
            token_row(
                one,
                {context.tenant: one.tenants.get(context.tenant, ())},
                t,
                in_tenant(context.tenant, "tokens", one.token, "revocation"),
            )
            for one in found.items
        ],
        roles=TENANT_ROLES,
        days=DEFAULT_DAYS,
        most_days=MAX_DAYS,
        make_path=in_tenant(context.tenant, "tokens", "new"),
        next_path=None
        if found.next is None
        else in_tenant(context.tenant, "tokens", cursor=cursors.encode(path, {}, found.next)),
    )


def token_row(token: Token, roles: Mapping[str, Sequence[str]], t: Texts, revoke_path: str) -> TokenRow:
    """A token with its roles by tenant (empty: the deployment), which are named if there are several."""
    held = {scope: ", ".join(t(f"role.{role}") for role in named) for scope, named in roles.items() if named}
    ended = "revoked" if token.revoked_at else "expired" if token.expires_at <= iso(now_ms()) else ""
    tone: Tone = "neutral" if ended else "good"
    return TokenRow(
        token=token,
        roles=next(iter(held.values()), "")
        if len(roles) == 1
        else " · ".join(f"{scope or t('frame.deployment')}: {named}" for scope, named in held.items()),
        badge=Badge(tone=tone, icon=ICONS[tone], text=t(f"tokens.{ended or 'active'}")),
        revoke_path=None if ended else revoke_path,
    )


ROUTES: Final = (
    Route(f"{IN_TENANT}/tokens", show_tokens),
    Route(f"{IN_TENANT}/tokens/new", make, methods=["POST"]),
    Route(f"{IN_TENANT}/tokens/{{token}}/revocation", revoke, methods=["POST"]),
)
