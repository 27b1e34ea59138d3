"""Who may do what in a tenant, and who did what: grants, tokens, the audit trail."""

from collections.abc import Collection, Sequence

from orchestration.access.grant_changes import replace_grants
from orchestration.access.grants import grants_record, revision, token_record
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.new_tokens import make_token
from orchestration.access.pages import Page, Record, page_of
from orchestration.access.policy import Action, Rights, Role
from orchestration.access.request_ids import token_id
from orchestration.access.tokens import Token
from orchestration.access.views.tenant import TenantView
from orchestration.operations.audits import entry_record
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from schemas.ids import (
    JobId,
    job_id,
)


class AdministrationView(TenantView):
    """Grants, tokens and the audit trail as one caller sees them."""

    @reads(Action.MANAGE_ACCESS)
    def grants(self) -> tuple[Record, str]:
        """The roles in the tenant, and their revision."""
        held = self._services.principals.grants(self._name)
        return grants_record(held), revision(held)

    @recorded(Action.MANAGE_ACCESS, "grants replace")
    def replace_grants(
        self, entry: Entry, items: Sequence[tuple[JobId, Collection[Role]]], *, seen: str
    ) -> tuple[Record, str]:
        """Replace all roles in the tenant; returns them and their revision. `seen`: the revision that was read.

        Raises `UserError` STALE_ETAG, UNKNOWN_ROLE, NO_SUCH_PRINCIPAL, DUPLICATE_PRINCIPAL, LAST_ADMINISTRATOR.
        """
        return replace_grants(self._services, entry, self._name, items, seen=seen)

    @reads(Action.OWN_ACCOUNT)
    def tokens(self, *, before: str | None = None, limit: int) -> Page[Record]:
        """Tokens that reach the tenant, newest first: the caller's own, or all for those who manage access."""
        found = self._services.tokens.page(
            principal_id=self._only_own(),
            scope=self._name,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return page_of(found, limit, lambda one: one.token_id, lambda one: token_record(one, {self._name}))

    @recorded(Action.OWN_ACCOUNT, "tokens create")
    def create_token(
        self, entry: Entry, *, name: str, roles: Collection[Role], days: int | None, principal: str | None = None
    ) -> tuple[Record, Token]:
        """A token that reaches this tenant alone: of the caller, or of a service account of the tenant.

        Raises as `make_token`, and NO_SUCH_PRINCIPAL.
        """
        entry.object = "tokens"
        entry.arguments = {"name": name, "roles": sorted(roles), "days": days, "principal": principal}
        owner, limit = self._caller.principal.principal_id, self._caller.rights
        if principal is not None and principal != owner:
            self.require(Action.MANAGE_ACCESS)
            owner, limit = self._service_account(principal)
        cap = {(self._name, role) for role in roles}
        token, secret = make_token(self._services.tokens, owner=owner, name=name, cap=cap, limit=limit, days=days)
        entry.after = token_record(token)
        return token_record(token), secret

    @recorded(Action.OWN_ACCOUNT, "tokens revoke")
    def revoke_token(self, entry: Entry, id_: str) -> Record:
        """Take the tenant from a token, and revoke one that reaches no other. Raises `UserError` UNKNOWN_TOKEN."""
        entry.object, entry.arguments = "tokens", {"token": id_[:26]}
        found = self._services.tokens.revoke_in(
            token_id(id_), self._name, principal_id=self._only_own(), now_ms=now_ms()
        )
        entry.after = token_record(found, {self._name})
        return entry.after

    @reads(Action.MANAGE_ACCESS)
    def audit(
        self,
        *,
        audience: str | None = None,
        job: str | None = None,
        since_ms: int = 0,
        before: str | None = None,
        limit: int,
    ) -> Page[Record]:
        """Entries of the audit trail, newest first: [of an audience] [of a job] [since a time]."""
        found = self._services.audit.page(
            self._name,
            object_=None if audience is None else f"{self._name}/{audience}",
            job_id=None if job is None else job_id(job),
            since_ms=since_ms,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return page_of(found, limit, lambda entry: entry.entry_id, entry_record)

    def _only_own(self) -> JobId | None:
        return None if Action.MANAGE_ACCESS in self.permitted else self._caller.principal.principal_id

    def _service_account(self, wanted: str) -> tuple[JobId, Rights]:
        """A service account with a role in the tenant, and its rights there."""
        for one in self._services.principals.grants(self._name):
            if one.principal.principal_id == wanted and one.principal.kind == "service":
                return one.principal.principal_id, Rights.of((self._name, role) for role in one.roles)
        raise UserError(
            "NO_SUCH_PRINCIPAL",
            f"tenant {self._name} has no service account {wanted[:26]}; people make their own tokens",
            principal=wanted[:26],
        )
