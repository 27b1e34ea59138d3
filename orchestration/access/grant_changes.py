"""Changes the grants of a scope: the rules are checked in the transaction that changes them."""

from collections.abc import Collection, Sequence

from orchestration.access.grants import (
    check_administrators,
    check_revision,
    grants_record,
    revision,
    wanted_roles,
)
from orchestration.access.guard import Entry
from orchestration.access.pages import Record
from orchestration.access.policy import Role
from orchestration.catalog.access_records import HeldRoles
from orchestration.composition.service import Services
from orchestration.platform.clock import now_ms
from schemas.ids import JobId


def replace_grants(
    services: Services, entry: Entry, scope: str, items: Sequence[tuple[JobId, Collection[Role]]], *, seen: str
) -> tuple[Record, str]:
    """Replace all roles in a scope. Raises as `TenantView.replace_grants`."""
    entry.object = "grants"
    wanted = wanted_roles(scope, items)
    entry.arguments = {principal: sorted(roles) for principal, roles in wanted.items()}

    def check(before: Sequence[HeldRoles], after: Sequence[HeldRoles]) -> None:
        check_revision(before, seen)
        check_administrators(before, after)

    before, after = services.principals.replace_grants(scope, wanted, now_ms=now_ms(), check=check)
    entry.before, entry.after = grants_record(before), grants_record(after)
    return grants_record(after), revision(after)
