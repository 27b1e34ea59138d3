"""The end of the archive, and the mapping from log offsets to archive positions, which outlive the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.ids import Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedLog:
    """The log whose records the archive has. After the log is replaced, positions continue and offsets restart.

    position = offset + `base` of the partition (0 by default). `epoch`: the number of rebases.
    """

    epoch: int = 0
    base: Mapping[Partition, int] = field(default_factory=dict)

    def position(self, partition: Partition, offset: int) -> int:
        """Archive position of the record at an offset."""
        return offset + self.base.get(partition, 0)

    def offset(self, partition: Partition, position: int) -> int:
        """Inverse of `position`; negative for a record of an earlier log."""
        return position - self.base.get(partition, 0)


def unarchived_partitions(
    last_sent: Mapping[Partition, int], archived_to: Mapping[Partition, int]
) -> tuple[Partition, ...]:
    """Partitions whose archive has not passed the last sent message, by position; -1: no message was sent."""
    return tuple(p for p, last in last_sent.items() if archived_to.get(p, 0) <= last)
