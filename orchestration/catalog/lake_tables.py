"""Where the tables of the lake are: the rows of Iceberg's own catalog, beside ours in the same database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from schemas.ids import TenantName

CATALOG_NAME: Final = "muster"  # connectors.lake.catalog.CATALOG_NAME
iceberg_tables: Final = sa.table(
    "iceberg_tables",
    sa.column("catalog_name", sa.String),
    sa.column("table_namespace", sa.String),
    sa.column("table_name", sa.String),
    sa.column("metadata_location", sa.String),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeTable:
    """A table with the URI of its current metadata file."""

    name: str
    metadata: str


def lake_table(database: Database, tenant: TenantName, location: str) -> LakeTable | None:
    """The table at a location. None before the first publish.

    `location`: URI prefix of the table, with the slash at its end.
    """
    return lake_tables(database, tenant, [location]).get(location)


def lake_tables(database: Database, tenant: TenantName, locations: Sequence[str]) -> dict[str, LakeTable]:
    """The tables at these locations of a tenant, by location, as far as something was published."""
    if not locations:
        return {}
    t = iceberg_tables.c
    query = sa.select(t.table_name, t.metadata_location).where(
        t.catalog_name == CATALOG_NAME,
        t.table_namespace == tenant,
        sa.or_(*(t.metadata_location.startswith(one, autoescape=True) for one in locations)),
    )
    with database.read() as connection:
        if not sa.inspect(connection).has_table(iceberg_tables.name):  # nothing was ever published in this deployment
            return {}
        found = [LakeTable(name=row.table_name, metadata=row.metadata_location) for row in connection.execute(query)]
    return {f"{one.metadata.rpartition('/metadata/')[0]}/": one for one in found}
