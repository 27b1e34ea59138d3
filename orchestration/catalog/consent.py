"""Consent policies of tenants in the catalog. A policy is never changed: each change adds one with the next number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.names import lock_tenant
from orchestration.catalog.tables import audiences, consent_policies
from schemas.ids import AudienceName, JobId, TenantName
from schemas.records import as_record, from_record


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingList:
    """An entry of a policy. `destination`: a place or `download`; None: all. `audience`: its current name.

    `exempt`: the list does not apply to this destination. `max_age_s`: exports refuse an older version of the list.
    """

    audience_id: JobId
    audience: AudienceName
    destination: str | None = None
    max_age_s: int | None = None
    exempt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentPolicy:
    """The policy of a tenant. `policy` 0: it never had one."""

    policy: int = 0
    lists: tuple[StandingList, ...] = ()


class ConsentStore:
    """Policies. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, tenant: TenantName) -> ConsentPolicy:
        """The policy that holds in a tenant."""
        with self._database.read() as connection:
            return _current(connection, tenant)

    def replace(
        self,
        tenant: TenantName,
        lists: Sequence[StandingList],
        *,
        now_ms: int,
        check: Callable[[ConsentPolicy], None],
    ) -> ConsentPolicy:
        """Make these lists the next policy; equal ones make none. `check` may refuse by the policy before.

        Raises `UserError` UNKNOWN_TENANT.
        """
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            before = _current(connection, tenant)
            check(before)
            if tuple(lists) == before.lists:
                return before
            after = ConsentPolicy(policy=before.policy + 1, lists=tuple(lists))
            connection.execute(
                consent_policies.insert().values(
                    tenant=tenant,
                    policy=after.policy,
                    lists=[as_record(one) for one in lists],
                    created_at_ms=now_ms,
                )
            )
            return after

    def uses(self, tenant: TenantName, audience_id: JobId) -> bool:
        """Whether an entry of the policy names the audience."""
        return any(one.audience_id == audience_id for one in self.of(tenant).lists)


def _current(connection: sa.Connection, tenant: TenantName) -> ConsentPolicy:
    c = consent_policies.c
    query = sa.select(c.policy, c.lists).where(c.tenant == tenant).order_by(c.policy.desc()).limit(1)
    row = connection.execute(query).first()
    if row is None:
        return ConsentPolicy()
    found = [from_record(StandingList, record) for record in row.lists]
    names: dict[Any, Any] = dict(
        connection.execute(  # they may have been renamed
            sa.select(audiences.c.audience_id, audiences.c.name).where(
                audiences.c.audience_id.in_([one.audience_id for one in found])
            )
        ).all()
    )
    lists = (replace(one, audience=names.get(one.audience_id, one.audience)) for one in found)
    return ConsentPolicy(policy=row.policy, lists=tuple(lists))
