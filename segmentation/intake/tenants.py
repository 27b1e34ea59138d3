"""Rows of one partition are of several tenants: taken apart, each in the order of the log."""

from collections.abc import Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import TENANT
from schemas.ids import TenantName

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


def by_tenant(rows: Rows) -> Iterator[tuple[TenantName, Rows]]:
    """The rows of each tenant."""
    tenants = rows.column(TENANT)
    for tenant in pc.unique(tenants).to_pylist():
        of_tenant = pc.equal(tenants, tenant)
        yield TenantName(tenant), rows if pc.all(of_tenant).as_py() else rows.filter(of_tenant)
