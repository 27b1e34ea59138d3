"""Rules of grants and tokens, and their JSON forms."""

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Final

from orchestration.access.pages import Record
from orchestration.access.policy import ADMIN, DEPLOYMENT, Rights, Role, Scope, known_role
from orchestration.catalog.access_records import ApiToken, HeldRoles, Principal
from orchestration.platform.clock import iso
from schemas.errors import UserError
from schemas.ids import JobId, tenant_name

MAX_NAME: Final = 100
"""Characters in the name of a principal."""
DEFAULT_DAYS: Final = 90
MAX_DAYS: Final = 365
DAY_MS: Final = 24 * 3600 * 1000


def check_roles(scope: Scope, roles: Collection[Role]) -> None:
    """Raises `UserError` UNKNOWN_ROLE for one that the scope does not have, BAD_NAME if it cannot be a tenant."""
    if scope != DEPLOYMENT:
        tenant_name(scope)
    for role in roles:
        if not known_role(scope, role):
            where = "the deployment" if scope == DEPLOYMENT else "a tenant"
            raise UserError(
                "UNKNOWN_ROLE", f"{where} has no role {role[:40]!r}; docs/access.md lists them", role=role[:40]
            )


def check_administrators(before: Sequence[HeldRoles], after: Sequence[HeldRoles]) -> None:
    """Raises `UserError` LAST_ADMINISTRATOR if a scope that had an administrator would have none."""
    if _administrators(before) and not _administrators(after):
        raise UserError(
            "LAST_ADMINISTRATOR",
            "no principal would be left with the role admin; grant it to another one first",
            administrators=_administrators(before),
        )


def _administrators(held: Sequence[HeldRoles]) -> list[str]:
    return [one.principal.name for one in held if ADMIN in {*one.roles, *one.group_roles}]


def revision(held: Sequence[HeldRoles]) -> str:
    """Changes whenever the grants of a scope that were given by hand do: what a change must have seen."""
    given = [[one.principal.principal_id, one.roles] for one in held if one.roles]
    text = json.dumps(given, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_revision(held: Sequence[HeldRoles], seen: str) -> None:
    """Raises `UserError` STALE_ETAG if the grants have changed since the caller read them."""
    if revision(held) != seen:
        raise UserError(
            "STALE_ETAG", "the grants have changed since they were read; read them again, then repeat the change"
        )


def lifetime_ms(days: int | None) -> int:
    """Lifetime of a new token; None is the default. Raises `UserError` BAD_LIFETIME."""
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise UserError("BAD_LIFETIME", f"a token lasts 1 to {MAX_DAYS} days, not {days}", days=days)
    return (days or DEFAULT_DAYS) * DAY_MS


def check_cap(cap: Collection[tuple[Scope, Role]], limit: Rights) -> None:
    """Raises `UserError` CAP_TOO_WIDE if a token with this cap would have rights beyond the limit."""
    if not cap:
        raise UserError("CAP_EMPTY", "a token needs at least one role")
    if Rights.of(cap).exceed(limit):
        roles = ", ".join(f"{role} in {scope or 'the deployment'}" for scope, role in sorted(cap))
        raise UserError("CAP_TOO_WIDE", f"the token would have more rights than you or its owner have: {roles}")


def principal_record(one: Principal) -> Record:
    """A principal as plain JSON data."""
    return {
        "principal": one.principal_id,
        "kind": one.kind,
        "name": one.name,
        "created_at": iso(one.created_at_ms),
    }


def grants_record(held: Sequence[HeldRoles]) -> Record:
    """The grants of a scope as plain JSON data."""
    return {
        "items": [
            {**principal_record(one.principal), "roles": list(one.roles), "group_roles": list(one.group_roles)}
            for one in held
        ]
    }


def token_record(token: ApiToken, scopes: Collection[Scope] | None = None) -> Record:
    """A token without its secret as plain JSON data; `scopes` limits what is shown of its cap."""
    shown: dict[Scope, list[Role]] = {}
    for scope, role in token.cap:
        if scopes is None or scope in scopes:
            shown.setdefault(scope, []).append(role)
    return {
        "token": token.token_id,
        "name": token.name,
        "principal": token.principal_id,
        "deployment": shown.pop(DEPLOYMENT, []),
        "tenants": shown,
        "created_at": iso(token.created_at_ms),
        "expires_at": iso(token.expires_at_ms),
        "revoked_at": None if token.revoked_at_ms is None else iso(token.revoked_at_ms),
        "used_at": None if token.used_at_ms is None else iso(token.used_at_ms),
    }


def wanted_roles(scope: Scope, items: Sequence[tuple[JobId, Collection[Role]]]) -> dict[JobId, frozenset[Role]]:
    """The roles of each principal. Raises `UserError` UNKNOWN_ROLE, DUPLICATE_PRINCIPAL."""
    wanted: dict[JobId, frozenset[Role]] = {}
    for principal_id, roles in items:
        check_roles(scope, roles)
        if principal_id in wanted:
            raise UserError("DUPLICATE_PRINCIPAL", f"principal {principal_id} is listed twice", principal=principal_id)
        wanted[principal_id] = frozenset(roles)
    return wanted


def check_principal_name(name: str) -> None:
    """Raises `UserError` BAD_PRINCIPAL."""
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= MAX_NAME:
        raise UserError(
            "BAD_PRINCIPAL",
            f"the name of a principal has 1 to {MAX_NAME} printable characters, and no blanks around them",
        )
