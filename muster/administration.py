"""Who may do what, who did what, and tenants with their places. Part of `Client`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from muster.methods import Methods, Tagged, scoped
from muster.records import Grants, MadeToken, Me, Principal, Record, Roles, Session, Tenant, Token


class Administration(Methods):
    """See `Client`."""

    def me(self) -> Me:
        """The caller and its rights."""
        return cast(Me, self._get("/me"))

    def grants(self, tenant: str | None) -> Grants:
        """The roles in a tenant, or in the deployment (None)."""
        path, names = scoped(tenant, "/grants")
        return _with_etag(self._calls.call("GET", path, *names))

    def replace_grants(self, tenant: str | None, roles: Roles, *, etag: str) -> Grants:
        """Replace all roles in a tenant, or in the deployment (None). `etag`: of the grants that were read."""
        path, names = scoped(tenant, "/grants")
        items = [{"principal": principal, "roles": list(held)} for principal, held in roles.items()]
        return _with_etag(self._calls.call("PUT", path, *names, body={"items": items}, headers={"If-Match": etag}))

    def tokens(self, tenant: str | None) -> Iterator[Token]:
        """Tokens that reach a tenant; or one's own, of all tenants (None). Newest first."""
        path, names = scoped(tenant, "/tokens")
        return self._calls.pages(path, *names)

    def create_token(
        self,
        name: str,
        *,
        tenants: Roles | None = None,
        deployment: Sequence[str] = (),
        days: int | None = None,
    ) -> MadeToken:
        """Make a token of one's own, limited to these roles."""
        capped = {tenant: list(roles) for tenant, roles in (tenants or {}).items()}
        body = {"name": name, "tenants": capped, "deployment": list(deployment), "days": days}
        return cast(MadeToken, self._calls.call("POST", "/tokens", body=body)[0])

    def create_service_token(
        self, tenant: str, principal: str, name: str, roles: Sequence[str], *, days: int | None = None
    ) -> MadeToken:
        """Make a token of a service account of a tenant."""
        body = {"name": name, "roles": list(roles), "days": days, "principal": principal}
        return cast(MadeToken, self._calls.call("POST", "/tenants/{}/tokens", tenant, body=body)[0])

    def revoke_token(self, token: str, *, tenant: str | None = None) -> Token:
        """Revoke a token of one's own; or take a tenant from any that reaches it."""
        path, names = scoped(tenant, "/tokens/{}")
        return cast(Token, self._calls.call("DELETE", path, *names, token)[0])

    def sessions(self) -> list[Session]:
        """One's own sessions in browsers that have not ended, newest first."""
        return cast("list[Session]", self._get("/sessions")["items"])

    def end_session(self, session: str) -> Session:
        """End a session of one's own."""
        return cast(Session, self._calls.call("DELETE", "/sessions/{}", session)[0])

    def console_url(self, *, confirm: bool = False) -> str:
        """An address that opens the service in a browser with one's rights, once, within a minute: keep it secret.

        It is for the address bar, and refused if another page led to it. `confirm`: one that asks first, for links.
        """
        made, _ = self._calls.call("POST", "/console-codes")
        address = made.get("confirm_url" if confirm else "url")
        return str(address or f"{self._url}{made['path']}")  # 0.2.0 gives the path alone

    def audit(
        self,
        tenant: str,
        *,
        audience: str | None = None,
        job: str | None = None,
        since: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Who did what, newest first. `since`: RFC 3339, with an offset."""
        query = {"audience": audience, "job": job, "since": since}
        return self._calls.pages("/tenants/{}/audit", tenant, query=query, limit=limit)

    def whole_audit(
        self,
        *,
        tenant: str | None = None,
        on: str | None = None,
        job: str | None = None,
        since: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Who did what in all tenants and in the deployment, newest first. `on`: an object, such as `acme/vip`."""
        query = {"tenant": tenant, "on": on, "job": job, "since": since}
        return self._calls.pages("/audit", query=query, limit=limit)

    def tenants(self) -> Iterator[Tenant]:
        """The tenants in which the caller has a right."""
        return self._calls.pages("/tenants")

    def create_tenant(self, tenant: str) -> Tenant:
        """Create a tenant."""
        return cast(Tenant, self._calls.call("POST", "/tenants", body={"tenant": tenant})[0])

    def places(self) -> Tagged:
        """The places of all tenants, and their ETag."""
        return self._tagged("GET", "/places")

    def replace_places(self, places: Mapping[str, Sequence[str]], *, etag: str) -> Tagged:
        """Replace the places of all tenants."""
        items = [{"tenant": tenant, "places": list(of)} for tenant, of in places.items()]
        return self._tagged("PUT", "/places", body={"items": items}, etag=etag)

    def principals(self) -> Iterator[Principal]:
        """People and service accounts."""
        return self._calls.pages("/principals")

    def create_principal(self, name: str, *, kind: str) -> Principal:
        """Create a `person` or a `service` account, without roles."""
        return cast(Principal, self._calls.call("POST", "/principals", body={"name": name, "kind": kind})[0])

    def principal(self, principal: str) -> Record:
        """A principal with its roles in the deployment and in tenants, and its tokens."""
        return self._get("/principals/{}", principal)

    def withdraw_access(self, principal: str) -> Record:
        """Take all roles from a principal, revoke its tokens and end its sessions."""
        return self._send("DELETE", "/principals/{}/access", principal)


def _with_etag(answer: tuple[Any, Mapping[str, str]]) -> Grants:
    record, headers = answer
    return {"items": record["items"], "etag": headers["etag"]}
