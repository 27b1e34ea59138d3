"""The places of tenants in the catalog: addresses that they may name beyond their own."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.tables import tenant_places, tenants
from schemas.errors import UserError
from schemas.ids import TenantName

EVERYWHERE: Final = "*"
"""All addresses but those of Muster's own data: what tenants had before places were introduced."""
Places = Mapping[TenantName, tuple[str, ...]]


class PlaceStore:
    """Places. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, tenant: TenantName) -> tuple[str, ...]:
        """The places of a tenant, sorted."""
        query = sa.select(tenant_places.c.place).where(tenant_places.c.tenant == tenant)
        with self._database.read() as connection:
            return tuple(sorted(connection.scalars(query)))

    def is_tenant(self, name: str) -> bool:
        """Whether there is a tenant of that name."""
        with self._database.read() as connection:
            return connection.execute(sa.select(tenants.c.name).where(tenants.c.name == name)).first() is not None

    def all(self) -> Places:
        """The places of all tenants, by name."""
        with self._database.read() as connection:
            return _all(connection)

    def replace(
        self, wanted: Mapping[TenantName, Collection[str]], check: Callable[[Places], None]
    ) -> tuple[Places, Places]:
        """Replace the places of all tenants; returns those before and after. `check` may refuse by those before.

        Tenants that are not named have none. Raises `UserError` UNKNOWN_TENANT.
        """
        with self._database.write() as connection:
            names = list(connection.scalars(sa.select(tenants.c.name).order_by(tenants.c.name).with_for_update()))
            before = _all(connection)
            check(before)
            if unknown := sorted(set(wanted) - set(names)):
                raise UserError("UNKNOWN_TENANT", f"tenant {unknown[0]!r} does not exist", tenant=unknown[0])
            connection.execute(tenant_places.delete())
            rows = [
                {"tenant": name, "place": place} for name, places in wanted.items() for place in sorted(set(places))
            ]
            if rows:
                connection.execute(tenant_places.insert(), rows)
            return before, _all(connection)


def _all(connection: sa.Connection) -> Places:
    found: dict[TenantName, list[str]] = {
        TenantName(name): [] for name in connection.scalars(sa.select(tenants.c.name).order_by(tenants.c.name))
    }
    for row in connection.execute(sa.select(tenant_places).order_by(tenant_places.c.place)):
        found[TenantName(row.tenant)].append(row.place)
    return {name: tuple(places) for name, places in found.items()}
