"""Which tenants exist, and since when: read from the catalog when a record names one that is not known yet."""

from collections.abc import Callable, Mapping
from typing import Final

from schemas.ids import DEFAULT_TENANT, TenantName
from segmentation.intake.tenants import Existed

FindTenants = Callable[[], Mapping[TenantName, int]]
"""Every tenant with the time when it was created, in microseconds since 1970 UTC. Blocks. Raises `RetriableError`."""


class Tenants:
    """What the owners of a worker know. Tenants are never deleted, so that a known one needs no second look."""

    def __init__(self, find: FindTenants) -> None:
        self._find: Final = find
        self._created_us: Mapping[TenantName, int] = {}

    def for_records_at_hand(self) -> Existed:
        """Judges records that have been received: a tenant created before one of them is found by a look from now on.

        One look serves all of them, however many unknown tenants they name. The default tenant always existed.
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
