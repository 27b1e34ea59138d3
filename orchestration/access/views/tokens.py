"""Tokens that reach a tenant, and the caller's own."""

from typing import Final

from orchestration.access.bodies.access import NewTenantToken, NewToken
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.new_tokens import make_token
from orchestration.access.pages import Page, first
from orchestration.access.policy import DEPLOYMENT, Action, Rights
from orchestration.access.request_ids import token_id
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.tenant import TenantView
from orchestration.platform.clock import now_ms
from orchestration.records.access import MadeToken, Token
from schemas.errors import UserError
from schemas.ids import JobId

OF_TOKENS: Final = ("UNKNOWN_ROLE", "BAD_NAME", "CAP_EMPTY", "CAP_TOO_WIDE", "BAD_LIFETIME")


class TenantTokens(TenantView):
    """Tokens that reach a tenant, limited to it."""

    @reads(Action.OWN_ACCOUNT, "GET /tokens", client="tenant_tokens")
    def list_tokens(self, *, before: str | None = None, limit: int) -> Page[Token]:
        """Tokens that reach the tenant, newest first: the caller's own, or all for those who manage access."""
        found = self._services.tokens.page(
            principal_id=self._only_own,
            scope=self._name,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return first(found, limit, lambda one: one.token)

    @recorded(
        Action.OWN_ACCOUNT,
        "tokens create",
        "POST /tokens",
        status=201,
        problems=(*OF_TOKENS, "NO_SUCH_PRINCIPAL"),
        client="create_tenant_token",
    )
    def create_token(self, entry: Entry, body: NewTenantToken) -> MadeToken:
        """Make a token that reaches this tenant alone. Its secret is shown this once."""
        entry.object = "tokens"
        entry.arguments = {
            "name": body.name,
            "roles": sorted(body.roles),
            "days": body.days,
            "principal": body.principal,
        }
        owner, limit = self._caller.principal_id, self._caller.rights
        if body.principal not in {None, owner}:
            self.require(Action.MANAGE_ACCESS)
            owner, limit = self._service_account(str(body.principal))
        cap = {(self._name, role) for role in body.roles}
        token, secret = make_token(
            self._services.tokens, owner=owner, name=body.name, cap=cap, limit=limit, days=body.days
        )
        entry.after = token
        return token.with_secret(secret.reveal())

    @recorded(Action.OWN_ACCOUNT, "tokens revoke", "DELETE /tokens/{token}", client="revoke_tenant_token")
    def revoke_token(self, entry: Entry, token: str) -> Token:
        """Take the tenant from a token, and revoke one that reaches no other."""
        entry.object, entry.arguments = "tokens", {"token": token[:26]}
        entry.after = found = self._services.tokens.revoke_in(
            token_id(token), self._name, principal_id=self._only_own, now_ms=now_ms()
        )
        return found

    def _service_account(self, wanted: str) -> tuple[JobId, Rights]:
        """A service account with a role in the tenant, and its rights there."""
        for one in self._services.principals.grants(self._name).items:
            if one.principal == wanted and one.kind == "service":
                return JobId(wanted), Rights.of((self._name, role) for role in one.roles)
        raise UserError(
            "NO_SUCH_PRINCIPAL",
            f"tenant {self._name} has no service account {wanted[:26]}; people make their own tokens",
            principal=wanted[:26],
        )


class OwnTokens(DeploymentView):
    """Tokens of the caller, with all that they reach."""

    @reads(Action.OWN_ACCOUNT, "GET /tokens")
    def list_own_tokens(self, *, before: str | None = None, limit: int) -> Page[Token]:
        """The caller's own tokens, newest first."""
        found = self._services.tokens.page(
            principal_id=self._caller.principal_id,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return first(found, limit, lambda one: one.token)

    @recorded(
        Action.OWN_ACCOUNT, "tokens create", "POST /tokens", status=201, problems=OF_TOKENS, client="create_token"
    )
    def create_own_token(self, entry: Entry, body: NewToken) -> MadeToken:
        """Make a token of the caller, across tenants. Its secret is shown this once."""
        cap = {(DEPLOYMENT, role) for role in body.deployment}
        cap |= {(tenant, role) for tenant, roles in body.tenants.items() for role in roles}
        entry.object = "tokens"
        entry.arguments = {"name": body.name, "cap": sorted(cap), "days": body.days}
        token, secret = make_token(
            self._services.tokens,
            owner=self._caller.principal_id,
            name=body.name,
            cap=cap,
            limit=self._caller.rights,
            days=body.days,
        )
        entry.after = token
        return token.with_secret(secret.reveal())

    @recorded(Action.OWN_ACCOUNT, "tokens revoke", "DELETE /tokens/{token}")
    def revoke_own_token(self, entry: Entry, token: str) -> Token:
        """Revoke a token of the caller; an administrator of the deployment revokes any."""
        entry.object, entry.arguments = "tokens", {"token": token[:26]}
        entry.after = found = self._services.tokens.revoke(
            token_id(token), principal_id=self._only_own, now_ms=now_ms()
        )
        return found
