"""Operations on access, each of a tenant or of the deployment. Part of `Client`."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from muster.api_methods import ApiMethods
from muster.records import Roles

if TYPE_CHECKING:
    from muster.api_types import Grants, MadeToken, Token

    class TaggedGrants(Grants):
        """The roles in a scope, with the ETag of their revision."""

        etag: str


class Administration(ApiMethods):
    """See `Client`."""

    def grants(self, tenant: str | None) -> "TaggedGrants":
        """The roles in a tenant, or in the deployment (None)."""
        return _tagged(self.deployment_grants_with_etag() if tenant is None else self.tenant_grants_with_etag(tenant))

    def replace_grants(self, tenant: str | None, roles: Roles, *, etag: str) -> "TaggedGrants":
        """Replace all roles in a tenant, or in the deployment (None). `etag`: of the grants that were read."""
        items = [{"principal": principal, "roles": list(held)} for principal, held in roles.items()]
        if tenant is None:
            return _tagged(self.replace_deployment_grants(items, etag=etag))
        return _tagged(self.replace_tenant_grants(tenant, items, etag=etag))

    def tokens(self, tenant: str | None) -> "Iterator[Token]":
        """Tokens that reach a tenant; or one's own, of all tenants (None). Newest first."""
        return self.own_tokens() if tenant is None else self.tenant_tokens(tenant)

    def create_service_token(
        self, tenant: str, principal: str, name: str, roles: Sequence[str], *, days: int | None = None
    ) -> "MadeToken":
        """Make a token of a service account of a tenant."""
        return self.create_tenant_token(tenant, name, roles, days=days, principal=principal)

    def revoke_token(self, token: str, *, tenant: str | None = None) -> "Token":
        """Revoke a token of one's own; or take a tenant from any that reaches it."""
        return self.revoke_own_token(token) if tenant is None else self.revoke_tenant_token(tenant, token)

    def console_url(self, *, confirm: bool = False) -> str:
        """An address that opens the service in a browser with one's rights, once, within a minute: keep it secret.

        It is for the address bar, and refused if another page led to it. `confirm`: one that asks first, for links.
        """
        made, _ = self._calls.call("POST", "/console-codes")
        address = made.get("confirm_url" if confirm else "url")
        return str(address or f"{self._url}{made['path']}")  # 0.2.0 gives the path alone


def _tagged(answer: "tuple[Grants, str]") -> "TaggedGrants":
    return {"items": answer[0]["items"], "etag": answer[1]}
