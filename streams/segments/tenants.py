"""Existing tenants and their creation times, read from the catalog when a record names an unknown one."""

from collections.abc import Callable, Mapping
from typing import Final

from schemas.ids import DEFAULT_TENANT, TenantName
from segmentation.intake.tenants import Existed

FindTenants = Callable[[], Mapping[TenantName, int]]
"""Every tenant with its creation time, in microseconds since 1970 UTC. Blocks. Raises `RetriableError`."""


class Tenants:
    """Tenants known to a worker. Tenants are never deleted, so a known one needs no second lookup."""

    def __init__(self, find: FindTenants) -> None:
        self._find: Final = find
        self._created_us: Mapping[TenantName, int] = {}

    def for_received_records(self) -> Existed:
        """Returns a check for records already received: a lookup from now on finds every tenant created before them.

        One lookup serves all of them, however many unknown tenants they name. The default tenant always existed.
        """
        looked = False

        def existed(tenant: TenantName, received_at_us: int) -> bool:
            nonlocal looked
            if tenant == DEFAULT_TENANT:
                return True
            if tenant not in self._created_us and not looked:
                looked = True
                self._created_us = dict(self._find())
            created_us = self._created_us.get(tenant)
            return created_us is not None and created_us <= received_at_us

        return existed
