"""Rules of grants and tokens."""

from collections.abc import Collection
from typing import Final

from orchestration.access.policy import ADMIN, DEPLOYMENT, Rights, Role, Scope, known_role
from orchestration.records.access import Grants
from schemas.errors import UserError
from schemas.ids import tenant_name

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


def check_administrators(before: Grants, after: Grants) -> None:
    """Raises `UserError` LAST_ADMINISTRATOR if a scope that had an administrator would have none."""
    if _administrators(before) and not _administrators(after):
        raise UserError(
            "LAST_ADMINISTRATOR",
            "no principal would be left with the role admin; grant it to another one first",
            administrators=_administrators(before),
        )


def _administrators(held: Grants) -> list[str]:
    return [one.name for one in held.items if ADMIN in {*one.roles, *one.group_roles}]


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


def check_principal_name(name: str) -> None:
    """Raises `UserError` BAD_PRINCIPAL."""
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= MAX_NAME:
        raise UserError(
            "BAD_PRINCIPAL",
            f"the name of a principal has 1 to {MAX_NAME} printable characters, and no blanks around them",
        )
