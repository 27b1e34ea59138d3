"""Tenants of records: one partition has records of several tenants; which exist, and the rows of each."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import TENANT
from schemas.ids import TenantName
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.values import check_tenant

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)
Existed = Callable[[TenantName, int], bool]
"""True if a tenant existed when a record was received (microseconds since 1970 UTC).

The answer for a record must never change, however often the record is read: a refused one must not be taken later.
A tenant that existed at one time exists at all later ones.
"""


def any_tenant(tenant: TenantName, received_at_us: int) -> bool:
    """Accept every tenant, for records whose tenants were checked before or do not matter."""
    del tenant, received_at_us
    return True


def require_tenant(tenant: TenantName, received_at_us: int, existed: Existed) -> None:
    """Raises `Refused` UNKNOWN_TENANT, BAD_TENANT."""
    if not existed(tenant, received_at_us):
        check_tenant(tenant)
        raise Refused(
            RefusalCode.UNKNOWN_TENANT,
            f"tenant {tenant!r} did not exist when the record arrived; create it with `muster tenants create`, then "
            "replay this dead letter",
        )


def by_tenant(rows: Rows) -> Iterator[tuple[TenantName, Rows]]:
    """The rows of each tenant."""
    tenants = rows.column(TENANT)
    for tenant in pc.unique(tenants).to_pylist():
        of_tenant = pc.equal(tenants, tenant)
        yield TenantName(tenant), rows if pc.all(of_tenant).as_py() else rows.filter(of_tenant)
