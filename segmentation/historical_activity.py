"""What a stream worker asks of the archive: the state of rules that are new to it is made of the past.

A port: `connectors.lake` has the archive, `streams` asks. All rows are of one tenant and one partition.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from schemas.ids import AudienceName, Partition, TenantName, Version


class HistoricalActivity(Protocol):
    """Every method may block, and raises `RetriableError` LAKE_UNAVAILABLE."""

    def archived_to(self, topic: str, partition: Partition) -> int | None:
        """The offset below which the archive has all records of a partition; none where it has nothing yet."""

    def known_users(
        self, tenant: TenantName, partition: Partition, *, events: int, profiles: int
    ) -> Iterator[pa.StringArray]:
        """Users, each once or more, of events and of profiles at offsets below these."""

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

        `names`: no others; `since_us`: none at or before it. Both may be ignored.
        """

    def profiles(
        self, tenant: TenantName, partition: Partition, *, before: int, first: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Changes of profiles (`PROFILE_ROWS`, in the order in which they apply) at the offsets `first`..`before` - 1.

        They may be folded: of each user what all of his changes come to, in one or two rows.
        """

    def members(
        self, tenant: TenantName, audience: AudienceName, version: Version, partition: Partition, partitions: int
    ) -> Iterator[pa.StringArray]:
        """Those members of a version whose partition, of so many, this is; none where it is not there any more."""
