"""How far the archive is, and how its positions follow from the offsets of a log that may be another by now."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.ids import Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedLog:
    """The log that the archive has the records of. Where that was made anew, positions go on and offsets do not.

    position = offset + `base` of the partition (0 where there is none). `era`: how often the archive has begun anew.
    """

    era: int = 0
    base: Mapping[Partition, int] = field(default_factory=dict)

    def position(self, partition: Partition, offset: int) -> int:
        """Of the record at an offset."""
        return offset + self.base.get(partition, 0)

    def offset(self, partition: Partition, position: int) -> int:
        """Inverse of `position`: negative for a record of a log before this one."""
        return position - self.base.get(partition, 0)


def behind(last_sent: Mapping[Partition, int], archived_to: Mapping[Partition, int]) -> tuple[Partition, ...]:
    """The partitions in which the archive has not passed the position of the last message yet; -1: nothing was sent."""
    return tuple(p for p, last in last_sent.items() if archived_to.get(p, 0) <= last)
