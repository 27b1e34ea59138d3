"""The names of a tenant: a rule says `in audience x` or `in segment x`, and x is one of the two."""

from typing import Any

import sqlalchemy as sa

from orchestration.catalog.tables import audiences, segments, tenants
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName


def require_tenant(connection: sa.Connection, tenant: TenantName) -> None:
    """Raises `UserError` UNKNOWN_TENANT."""
    _require(connection, sa.select(tenants.c.name).where(tenants.c.name == tenant), tenant)


def lock_tenant(connection: sa.Connection, tenant: TenantName) -> None:
    """One change of names and rules of a tenant at a time, until the transaction ends.

    Raises `UserError` UNKNOWN_TENANT.
    """
    _require(connection, sa.select(tenants.c.name).where(tenants.c.name == tenant).with_for_update(), tenant)


def _require(connection: sa.Connection, found: sa.Select[Any], tenant: TenantName) -> None:
    if connection.execute(found).first() is None:
        raise UserError(
            "UNKNOWN_TENANT", f"there is no tenant {tenant!r}; `muster tenants create {tenant}`", tenant=tenant
        )


def refuse_audience(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> None:
    """Raises `UserError` NAME_TAKEN where an audience has the name."""
    taken = sa.select(audiences.c.name).where(audiences.c.tenant == tenant, audiences.c.name == name)
    _refuse(connection, taken, tenant, name, "audience")


def refuse_segment(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> None:
    """Raises `UserError` NAME_TAKEN where a segment has the name."""
    mine = (segments.c.tenant == tenant) & (segments.c.name == name) & (segments.c.state != "deleted")
    _refuse(connection, sa.select(segments.c.name).where(mine), tenant, name, "segment")


def _refuse(
    connection: sa.Connection, taken: sa.Select[tuple[str]], tenant: TenantName, name: AudienceName, by: str
) -> None:
    if connection.execute(taken).first() is not None:
        raise UserError(
            "NAME_TAKEN",
            f"tenant {tenant} has {'an' if by == 'audience' else 'a'} {by} {name!r}, and audiences and segments share "
            "their names; take another one",
            tenant=tenant,
            name=name,
            by=by,
        )
