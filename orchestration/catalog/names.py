"""The namespace of a tenant: a rule says `in audience x` or `in segment x`, and x can be only one of the two."""

from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.tables import audiences, jobs, segments, tenants
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName
from segmentation.jobs import FINAL

VISIBLE: Final = audiences.c.state != "awaited"
"""True for an audience that is visible beyond its own jobs."""


def require_tenant(connection: sa.Connection, tenant: TenantName) -> None:
    """Raises `UserError` UNKNOWN_TENANT."""
    _require(connection, sa.select(tenants.c.name).where(tenants.c.name == tenant), tenant)


def lock_tenant(connection: sa.Connection, tenant: TenantName) -> None:
    """Serialize changes of a tenant's names, rules and recipients until the transaction ends.

    Raises `UserError` UNKNOWN_TENANT.
    """
    _require(connection, sa.select(tenants.c.name).where(tenants.c.name == tenant).with_for_update(), tenant)


def lock_tenant_of(connection: sa.Connection, audience_id: JobId) -> None:
    """As `lock_tenant`, for the tenant of an audience. No effect if the audience was deleted."""
    tenant = sa.select(audiences.c.tenant).where(audiences.c.audience_id == audience_id).scalar_subquery()
    connection.execute(sa.select(tenants.c.name).where(tenants.c.name == tenant).with_for_update())


def _require(connection: sa.Connection, query: sa.Select[Any], tenant: TenantName) -> None:
    if connection.execute(query).first() is None:
        raise UserError(
            "UNKNOWN_TENANT",
            f"tenant {tenant!r} does not exist; create it with `muster tenants create {tenant}`",
            tenant=tenant,
        )


def refuse_audience(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> None:
    """Raises `UserError` NAME_TAKEN if an audience has the name, or a running import will create one with it."""
    query = sa.select(audiences.c.name).where(audiences.c.tenant == tenant, audiences.c.name == name, VISIBLE)
    _refuse(connection, query, tenant, name, "audience")
    if is_awaited(connection, tenant, name):
        raise UserError(
            "NAME_TAKEN",
            f"an import into the new audience {name!r} of tenant {tenant} is running, and audiences and segments "
            "share one namespace; use another name",
            tenant=tenant,
            name=name,
            by="audience",
        )


def is_awaited(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> bool:
    """Whether a running job will create the audience of that name."""
    query = (
        sa.select(jobs.c.job_id)
        .join(audiences, audiences.c.audience_id == jobs.c.audience_id)
        .where(audiences.c.tenant == tenant, audiences.c.name == name, ~VISIBLE, jobs.c.state.not_in(FINAL))
    )
    return connection.execute(query.limit(1)).first() is not None


def refuse_segment(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> None:
    """Raises `UserError` NAME_TAKEN if a segment has the name."""
    existing = (segments.c.tenant == tenant) & (segments.c.name == name) & (segments.c.state != "deleted")
    _refuse(connection, sa.select(segments.c.name).where(existing), tenant, name, "segment")


def _refuse(
    connection: sa.Connection, query: sa.Select[tuple[str]], tenant: TenantName, name: AudienceName, by: str
) -> None:
    if connection.execute(query).first() is not None:
        raise UserError(
            "NAME_TAKEN",
            f"tenant {tenant} already has {'an' if by == 'audience' else 'a'} {by} {name!r}, and audiences and "
            "segments share one namespace; use another name",
            tenant=tenant,
            name=name,
            by=by,
        )
