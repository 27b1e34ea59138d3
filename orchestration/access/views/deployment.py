"""What a caller may see and do in the deployment as a whole."""

from collections.abc import Collection, Mapping, Sequence

from orchestration.access.authentication import Caller
from orchestration.access.grant_changes import replace_grants
from orchestration.access.grants import (
    MAX_NAME,
    check_principal_name,
    grants_record,
    principal_record,
    revision,
    token_record,
)
from orchestration.access.guard import Entry, View, reads, recorded
from orchestration.access.new_tokens import make_token
from orchestration.access.pages import Page, Record, page_of
from orchestration.access.policy import DEPLOYMENT, Action, Role, Scope
from orchestration.access.request_ids import token_id
from orchestration.access.revisions import require_revision, revision_of
from orchestration.access.sessions import session_record
from orchestration.access.tokens import Token
from orchestration.catalog.access_records import Principal, PrincipalKind
from orchestration.catalog.places import EVERYWHERE, Places
from orchestration.composition.service import Services
from orchestration.kinds.places import checked_place
from orchestration.operations.audits import entry_record
from orchestration.operations.notifying import notification_record, resend
from orchestration.platform.clock import fresh_id, now_ms
from schemas.ids import DEFAULT_TENANT, JobId, TenantName, job_id, tenant_name


class DeploymentView(View):
    """The deployment as one caller sees it; raises `UserError` FORBIDDEN, `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, services: Services, caller: Caller) -> None:
        super().__init__(services, caller, tenant=None)

    @reads(Action.OWN_ACCOUNT)
    def me(self) -> Record:
        """The caller: principal, token or session, and rights at this moment."""
        rights = self._caller.rights
        return {
            **principal_record(self._caller.principal),
            "token": None if self._caller.token is None else token_record(self._caller.token),
            "session": None if self._caller.session is None else session_record(self._caller.session),
            "rights": {
                "deployment": sorted(rights.deployment),
                "every_tenant": sorted(rights.everywhere),
                "tenants": {tenant: sorted(actions) for tenant, actions in rights.tenants.items()},
            },
        }

    @reads(Action.OWN_ACCOUNT)
    def tenants(self, *, after: str = "", limit: int) -> Page[Record]:
        """The tenants in which the caller has a right, by name."""
        rights = self._caller.rights
        found = (
            self._services.audiences.tenant_page(after=after, limit=limit + 1)
            if rights.everywhere
            else [name for name in sorted(rights.tenants) if name > after][: limit + 1]
        )
        return page_of(found, limit, str, lambda name: {"tenant": name, "actions": sorted(rights.in_tenant(name))})

    @recorded(Action.MANAGE_DEPLOYMENT, "tenants create")
    def create_tenant(self, entry: Entry, name: str) -> Record:
        """Create a tenant without places (`default` has `*`); no effect on one that exists.

        Raises `UserError` BAD_NAME.
        """
        entry.object = name[:63]
        tenant = tenant_name(name)
        places = (EVERYWHERE,) if tenant == DEFAULT_TENANT else ()
        self._services.audiences.add_tenant(tenant, now_ms(), places=places)
        return {"tenant": tenant, "actions": sorted(self._caller.rights.in_tenant(TenantName(tenant)))}

    @reads(Action.MANAGE_DEPLOYMENT)
    def principals(self, *, after: str = "", limit: int) -> Page[Record]:
        """People and service accounts by name."""
        found = self._services.principals.page(after=after, limit=limit + 1)
        return page_of(found, limit, lambda one: one.name, principal_record)

    @recorded(Action.MANAGE_DEPLOYMENT, "principals create")
    def create_principal(self, entry: Entry, *, name: str, kind: PrincipalKind) -> Record:
        """Create a person or a service account without roles. Raises `UserError` BAD_PRINCIPAL, PRINCIPAL_EXISTS."""
        entry.object, entry.arguments = "principals", {"name": name[:MAX_NAME], "kind": kind}
        check_principal_name(name)
        made = Principal(principal_id=fresh_id(), kind=kind, name=name, created_at_ms=now_ms())
        self._services.principals.add(made)
        entry.after = principal_record(made)
        return entry.after

    @reads(Action.MANAGE_ACCESS)
    def grants(self) -> tuple[Record, str]:
        """The roles in the deployment, and their revision."""
        held = self._services.principals.grants(DEPLOYMENT)
        return grants_record(held), revision(held)

    @recorded(Action.MANAGE_ACCESS, "grants replace")
    def replace_grants(
        self, entry: Entry, items: Sequence[tuple[JobId, Collection[Role]]], *, seen: str
    ) -> tuple[Record, str]:
        """Replace all roles in the deployment; as `TenantView.replace_grants`."""
        return replace_grants(self._services, entry, DEPLOYMENT, items, seen=seen)

    @reads(Action.MANAGE_DEPLOYMENT)
    def places(self) -> tuple[Record, str]:
        """The places of all tenants, and their revision."""
        record = _places_record(self._services.places.all())
        return record, revision_of(record, ("items",))

    @recorded(Action.MANAGE_DEPLOYMENT, "places replace")
    def replace_places(self, entry: Entry, wanted: Mapping[str, Sequence[str]], *, seen: str) -> tuple[Record, str]:
        """Replace the places of all tenants; returns them and their revision. `seen`: the revision that was read.

        Raises `UserError` STALE_ETAG, BAD_NAME, BAD_PLACE, UNKNOWN_TENANT.
        """
        entry.object, entry.arguments = "places", {name: list(places) for name, places in wanted.items()}
        checked = {tenant_name(name): [checked_place(one) for one in places] for name, places in wanted.items()}

        def check(present: Places) -> None:
            entry.before = _places_record(present)
            require_revision(revision_of(entry.before, ("items",)), seen)

        _, after = self._services.places.replace(checked, check)
        entry.after = _places_record(after)
        return entry.after, revision_of(entry.after, ("items",))

    @reads(Action.OWN_ACCOUNT)
    def tokens(self, *, before: str | None = None, limit: int) -> Page[Record]:
        """The caller's own tokens, newest first."""
        found = self._services.tokens.page(
            principal_id=self._caller.principal.principal_id,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return page_of(found, limit, lambda one: one.token_id, token_record)

    @recorded(Action.OWN_ACCOUNT, "tokens create")
    def create_token(
        self, entry: Entry, *, name: str, cap: Collection[tuple[Scope, Role]], days: int | None
    ) -> tuple[Record, Token]:
        """A token of the caller, limited to roles in tenants and in the deployment. Raises as `make_token`."""
        entry.object = "tokens"
        entry.arguments = {"name": name, "cap": sorted(cap), "days": days}
        owner, limit = self._caller.principal.principal_id, self._caller.rights
        token, secret = make_token(self._services.tokens, owner=owner, name=name, cap=cap, limit=limit, days=days)
        entry.after = token_record(token)
        return entry.after, secret

    @recorded(Action.OWN_ACCOUNT, "tokens revoke")
    def revoke_token(self, entry: Entry, id_: str) -> Record:
        """Revoke a token of the caller; those who manage access revoke any. Raises `UserError` UNKNOWN_TOKEN."""
        entry.object, entry.arguments = "tokens", {"token": id_[:26]}
        manages = Action.MANAGE_ACCESS in self.permitted
        own = None if manages else self._caller.principal.principal_id
        found = self._services.tokens.revoke(token_id(id_), principal_id=own, now_ms=now_ms())
        entry.after = token_record(found)
        return entry.after

    @reads(Action.MANAGE_ACCESS)
    def audit(
        self,
        *,
        tenant: str | None = None,
        object_: str | None = None,
        job: str | None = None,
        since_ms: int = 0,
        before: str | None = None,
        limit: int,
    ) -> Page[Record]:
        """Entries of the audit trail, newest first, also those of no tenant. `object_`: such as `acme/vip`.

        Raises `UserError` BAD_NAME, BAD_JOB_ID.
        """
        found = self._services.audit.page(
            None if tenant is None else tenant_name(tenant),
            object_=object_,
            job_id=None if job is None else job_id(job),
            since_ms=since_ms,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return page_of(found, limit, lambda entry: entry.entry_id, entry_record)

    @reads(Action.READ_DEPLOYMENT)
    def notifications(self, *, limit: int) -> Record:
        """Notifications of all tenants that are waiting or were given up. `more`: there are others."""
        found = self._services.outbox.undelivered(limit + 1)
        return {"items": [notification_record(one) for one in found[:limit]], "more": len(found) > limit}

    @recorded(Action.READ_DEPLOYMENT, "notifications resend")
    def resend_notifications(self, entry: Entry, ids: Sequence[str] | None) -> Record:
        """Restart the delivery of these notifications, or of all that were given up (None); returns how many.

        Raises `UserError` UNKNOWN_NOTIFICATION, DELIVERED.
        """
        entry.object, entry.arguments = "notifications", {"notifications": None if ids is None else list(ids)}
        entry.after = {"resent": resend(self._services.outbox, ids or (), given_up=ids is None)}
        return entry.after


def _places_record(found: Places) -> Record:
    return {"items": [{"tenant": name, "places": list(places)} for name, places in found.items()]}
