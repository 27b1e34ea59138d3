"""Port for a stream worker's reads from the archive: the state of a new rule is computed from the past.

`connectors.lake` implements it, `streams` calls it. All rows belong to one tenant and one partition. Offsets are
positions of the archive (`segmentation.archived`).
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from schemas.ids import AudienceName, Partition, TenantName, Version


class HistoricalActivity(Protocol):
    """Every method may block, and raises `RetriableError` LAKE_UNAVAILABLE."""

    def known_users(
        self, tenant: TenantName, partition: Partition, *, events: int, profiles: int
    ) -> Iterator[pa.StringArray]:
        """Users, each at least once, with events or profiles at offsets below these."""

    def events(
        self,
        tenant: TenantName,
        partition: Partition,
        *,
        before: int,
        first: int = 0,
        names: Sequence[str] | None = None,
        since_us: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Events (`EVENT_ROWS`, in no order) at the offsets `first`..`before` - 1.

        `names`: only these; `since_us`: only later ones. An implementation may ignore both.
        """

    def profiles(
        self, tenant: TenantName, partition: Partition, *, before: int, first: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Changes of profiles (`PROFILE_ROWS`, in the order in which they apply) at the offsets `first`..`before` - 1.

        They may be folded: one or two rows per user with the result of all the user's changes.
        """

    def members(
        self, tenant: TenantName, audience: AudienceName, version: Version, partition: Partition, partitions: int
    ) -> Iterator[pa.StringArray]:
        """Members of a version in this one of `partitions` partitions; none if the version no longer exists."""
