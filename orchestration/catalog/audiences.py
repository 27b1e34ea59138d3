"""Tenants and audiences in the catalog."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.names import lock_tenant, refuse_segment, require_tenant
from orchestration.catalog.records import Audience, Retention
from orchestration.catalog.tables import activated_audiences, audiences, pins, recipients, tenants
from schemas.columns import ImportSpec
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName, Version


class AudienceStore:
    """Tenants and audiences. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_tenant(self, name: TenantName, now_ms: int) -> None:
        """Make sure that a tenant exists."""
        with self._database.write() as connection:
            if connection.execute(sa.select(tenants.c.name).where(tenants.c.name == name)).first() is None:
                connection.execute(tenants.insert().values(name=name, created_at_ms=now_ms))

    def tenants(self) -> list[TenantName]:
        """All tenants, sorted."""
        with self._database.read() as connection:
            return [TenantName(name) for name in connection.scalars(sa.select(tenants.c.name).order_by(tenants.c.name))]

    def tenants_since(self) -> dict[TenantName, int]:
        """When each tenant was created, in milliseconds."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tenants.c.name, tenants.c.created_at_ms))
            return {TenantName(name): int(at_ms) for name, at_ms in rows}

    def require_tenant(self, tenant: TenantName) -> None:
        """Raises `UserError` UNKNOWN_TENANT."""
        with self._database.read() as connection:
            require_tenant(connection, tenant)

    def ensure(
        self, tenant: TenantName, name: AudienceName, *, new_id: JobId, now_ms: int, spec: ImportSpec | None = None
    ) -> Audience:
        """The audience of that name, created with `spec` (else the defaults) when the tenant has none.

        Raises `UserError` UNKNOWN_TENANT, NAME_TAKEN.
        """
        try:
            return self._ensure(tenant, name, new_id=new_id, now_ms=now_ms, spec=spec)
        except sa.exc.IntegrityError:  # another process created it between our look and our insert
            return self.get(tenant, name)

    def _ensure(
        self, tenant: TenantName, name: AudienceName, *, new_id: JobId, now_ms: int, spec: ImportSpec | None
    ) -> Audience:
        with self._database.write() as connection:
            row: Mapping[Any, Any] | None = connection.execute(_by_name(tenant, name)).mappings().first()
            if row is None:
                lock_tenant(connection, tenant)
                refuse_segment(connection, tenant, name)
                row = {
                    "audience_id": new_id,
                    "tenant": tenant,
                    "name": name,
                    "spec": (spec or ImportSpec()).as_record(),
                    "retention": Retention().as_record(),
                    "created_at_ms": now_ms,
                }
                connection.execute(audiences.insert().values(**row))
            return _audience(row)

    def get(self, tenant: TenantName, name: AudienceName) -> Audience:
        """The audience of that name. Raises `UserError` UNKNOWN_AUDIENCE."""
        with self._database.read() as connection:
            row = connection.execute(_by_name(tenant, name)).mappings().first()
        if row is None:
            raise UserError(
                "UNKNOWN_AUDIENCE",
                f"tenant {tenant} has no audience {name!r}; `muster audiences list` shows those that exist",
                tenant=tenant,
                audience=name,
            )
        return _audience(row)

    def by_id(self, audience_id: JobId) -> Audience | None:
        """The audience of an id, or none when it was deleted."""
        with self._database.read() as connection:
            row = (
                connection.execute(sa.select(audiences).where(audiences.c.audience_id == audience_id))
                .mappings()
                .first()
            )
        return None if row is None else _audience(row)

    def all(self, tenant: TenantName | None = None) -> list[Audience]:
        """All audiences [of a tenant], by tenant and name."""
        query = sa.select(audiences).order_by(audiences.c.tenant, audiences.c.name)
        if tenant is not None:
            query = query.where(audiences.c.tenant == tenant)
        with self._database.read() as connection:
            return [_audience(row) for row in connection.execute(query).mappings()]

    def configure(self, audience_id: JobId, *, spec: ImportSpec, retention: Retention) -> None:
        """Replace the import spec and retention of an audience; running jobs keep those they were registered with."""
        with self._database.write() as connection:
            connection.execute(
                audiences.update()
                .where(audiences.c.audience_id == audience_id)
                .values(spec=spec.as_record(), retention=retention.as_record())
            )

    def check_free(self, tenant: TenantName, name: AudienceName) -> None:
        """Raises `UserError` NAME_TAKEN where a segment has the name."""
        with self._database.read() as connection:
            refuse_segment(connection, tenant, name)

    def rename(self, audience_id: JobId, tenant: TenantName, name: AudienceName) -> None:
        """Give an audience another name. Raises `UserError` AUDIENCE_EXISTS, NAME_TAKEN."""
        try:
            with self._database.write() as connection:
                lock_tenant(connection, tenant)
                refuse_segment(connection, tenant, name)
                connection.execute(audiences.update().where(audiences.c.audience_id == audience_id).values(name=name))
        except sa.exc.IntegrityError as exc:
            raise UserError(
                "AUDIENCE_EXISTS", f"tenant {tenant} already has an audience {name!r}", tenant=tenant, audience=name
            ) from exc

    def delete(self, audience_id: JobId) -> None:
        """Forget an audience and its pins; its jobs and receipts stay."""
        with self._database.write() as connection:
            connection.execute(pins.delete().where(pins.c.audience_id == audience_id))
            activated = activated_audiences.c.audience_id == audience_id
            connection.execute(activated_audiences.delete().where(activated))
            connection.execute(recipients.delete().where(recipients.c.audience_id == audience_id))
            connection.execute(audiences.delete().where(audiences.c.audience_id == audience_id))

    def kept(self, audience_id: JobId) -> frozenset[Version]:
        """The versions that retention must keep: those that are pinned, and those that segments are evaluated with."""
        a = activated_audiences.c
        with self._database.read() as connection:
            row = connection.execute(sa.select(a.version, a.earlier).where(a.audience_id == audience_id)).first()
        activated = () if row is None else row
        return self.pins(audience_id) | {Version(number) for number in activated if number is not None}

    def pins(self, audience_id: JobId) -> frozenset[Version]:
        """The versions that people have pinned."""
        query = sa.select(pins.c.version).where(pins.c.audience_id == audience_id)
        with self._database.read() as connection:
            return frozenset(Version(number) for number in connection.scalars(query))

    def pin(self, audience_id: JobId, version: Version, now_ms: int) -> None:
        """Let retention keep a version; nothing changes when it does already."""
        key = (pins.c.audience_id == audience_id) & (pins.c.version == version)
        with self._database.write() as connection:
            if connection.execute(sa.select(pins.c.version).where(key)).first() is None:
                connection.execute(pins.insert().values(audience_id=audience_id, version=version, pinned_at_ms=now_ms))

    def unpin(self, audience_id: JobId, version: Version) -> bool:
        """Leave a version to retention; whether it was pinned."""
        key = (pins.c.audience_id == audience_id) & (pins.c.version == version)
        with self._database.write() as connection:
            return connection.execute(pins.delete().where(key)).rowcount > 0


def _by_name(tenant: TenantName, name: AudienceName) -> sa.Select[Any]:
    return sa.select(audiences).where(audiences.c.tenant == tenant, audiences.c.name == name)


def _audience(row: Mapping[Any, Any]) -> Audience:
    return Audience(
        audience_id=JobId(row["audience_id"]),
        tenant=TenantName(row["tenant"]),
        name=AudienceName(row["name"]),
        spec=ImportSpec.from_record(row["spec"]),
        retention=Retention(**row["retention"]),
        created_at_ms=row["created_at_ms"],
    )
