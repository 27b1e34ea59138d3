"""The operator's settings for the identity provider, and the roles of its groups."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from orchestration.access.grants import check_roles
from orchestration.access.policy import DEPLOYMENT, Role, Scope
from orchestration.platform.settings import Secret, Settings
from schemas.errors import UserError

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
Grants = Mapping[str, frozenset[tuple[Scope, Role]]]
"""(scope, role)s by group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """`issuer` as the provider writes it in its tokens. An empty `client_secret`: a public client."""

    issuer: str
    client_id: str
    client_secret: Secret
    algorithms: tuple[str, ...] = ALGORITHMS
    scopes: str = "openid profile email"
    groups_claim: str = "groups"
    grants: Grants

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None without a provider. Raises `UserError` BAD_SETTINGS."""
        if not settings.oidc_issuer:
            return None
        if not usable(settings.oidc_issuer, settings.oidc_issuer):
            raise _bad("oidc_issuer", f"{settings.oidc_issuer!r} is not like https://id.example (http: only loopback)")
        if not settings.oidc_client_id:
            raise _bad("oidc_client_id", "it is empty; the provider gives it when you register Muster")
        algorithms = tuple(settings.oidc_algorithms.replace(",", " ").split())
        if not algorithms or (unknown := sorted(set(algorithms) - set(ALGORITHMS))):
            raise _bad("oidc_algorithms", f"{unknown if algorithms else 'none'} is not one of {', '.join(ALGORITHMS)}")
        if "openid" not in settings.oidc_scopes.split():
            raise _bad("oidc_scopes", "they must include openid")
        return cls(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret,
            algorithms=algorithms,
            scopes=settings.oidc_scopes,
            groups_claim=settings.oidc_groups_claim,
            grants=parse_grants(settings.oidc_grants),
        )

    def granted(self, groups: Collection[str]) -> frozenset[tuple[Scope, Role]]:
        """What the members of all these groups have."""
        return frozenset().union(*(self.grants.get(group, frozenset()) for group in groups))


def parse_grants(text: str) -> Grants:
    """`{"GROUP": {"deployment": [ROLE], "tenants": {"TENANT": [ROLE]}}}`. Raises `UserError` BAD_SETTINGS."""
    try:
        found = json.loads(text or "{}")
        return {group: frozenset(_grants(group, given)) for group, given in found.items()}
    except UserError as exc:
        raise _bad("oidc_grants", exc.message) from exc
    except (ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise _bad(
            "oidc_grants", 'it is not like {"GROUP": {"deployment": ["admin"], "tenants": {"acme": ["viewer"]}}}'
        ) from exc


def _grants(group: str, given: Mapping[str, object]) -> list[tuple[Scope, Role]]:
    if unknown := sorted(given.keys() - {"deployment", "tenants"}):
        raise UserError("BAD_SETTINGS", f"group {group!r} has {unknown[0]!r}, which is neither deployment nor tenants")
    tenants, deployment = given.get("tenants", {}), given.get("deployment", [])
    if not isinstance(tenants, dict) or not all(isinstance(roles, list) for roles in (deployment, *tenants.values())):
        raise TypeError
    if DEPLOYMENT in tenants:
        raise UserError("BAD_SETTINGS", f"group {group!r} has a tenant without a name")
    scopes = {DEPLOYMENT: deployment, **tenants}
    for scope, roles in scopes.items():
        check_roles(scope, roles)
    return [(scope, role) for scope, roles in scopes.items() for role in roles]


def usable(url: str, issuer: str) -> bool:
    """Whether an address of the provider may be called: over https; over http only if issuer and it are on loopback."""
    try:
        parts, _ = urlsplit(url), urlsplit(url).port
    except ValueError:
        return False
    if not parts.hostname or parts.username or parts.fragment:
        return False
    local = all(urlsplit(one).hostname in LOOPBACK and urlsplit(one).scheme == "http" for one in (url, issuer))
    return parts.scheme == "https" or local


def _bad(name: str, why: str) -> UserError:
    return UserError("BAD_SETTINGS", f"setting {name}: {why}", name=name)
