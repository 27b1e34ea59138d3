"""When everything that an attempt has sent is in the archive."""

from collections.abc import Mapping

from schemas.ids import Partition


def behind(last_sent: Mapping[Partition, int], archived_to: Mapping[Partition, int]) -> tuple[Partition, ...]:
    """The partitions in which the archive has not passed the offset of the last message yet; -1: nothing was sent."""
    return tuple(p for p, last in last_sent.items() if archived_to.get(p, 0) <= last)
