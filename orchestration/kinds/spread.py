"""How a stage is divided among functions and tasks: so the workflow divides it, and so a quote reckons."""

from collections.abc import Sequence
from typing import Final

from orchestration.kinds.compute_target import MEMBER_BYTES
from orchestration.platform.settings import Settings
from schemas.ids import Partition

UNITS_MAX: Final = 50_000
"""Of a job: those of a larger source are larger than the setting says. The keys of their results have six digits, which
leaves room for the rounds, in which all may be read again."""


def has_units(settings: Settings, size: int, files: int, *, cut: bool) -> bool:
    """Whether files of `size` bytes together are read in units. `cut`: whether a single one may be read in ranges."""
    return size > settings.unit_bytes and (files > 1 or cut)


def unit_bytes_of(settings: Settings, size: int) -> int:
    """The most bytes of a unit, of files of `size` bytes together."""
    return max(settings.unit_bytes, -(-size // UNITS_MAX))


def has_groups(settings: Settings, work_bytes: int) -> bool:
    """Whether partitions are built or read in groups. `work_bytes`: MEMBER_BYTES for each row, and the file's."""
    return work_bytes > settings.unit_bytes


def groups_of(settings: Settings, rows: Sequence[int]) -> tuple[tuple[Partition, ...], ...]:
    """Consecutive partitions, up to a unit's bytes together; a larger one by itself. `rows`: of each partition.

    If they are too large for functions, there are no more groups than run at once: a task takes a minute to start.
    """
    largest, most = max(rows), settings.unit_bytes // MEMBER_BYTES
    groups = _grouped(rows, most)
    if MEMBER_BYTES * largest <= settings.lambda_file_bytes:
        return groups
    at_once = settings.units_side_by_side
    fair = -(-sum(rows) // at_once)
    for eighths in range(9):  # with a partition more than its share in each, there are certainly not too many
        if len(groups) <= at_once:
            break
        groups = _grouped(rows, max(most, fair + largest * eighths // 8))
    return groups


def _grouped(rows: Sequence[int], most: int) -> tuple[tuple[Partition, ...], ...]:
    groups: list[list[Partition]] = [[]]
    room = most
    for number, of_partition in enumerate(rows):
        if groups[-1] and of_partition > room:
            groups.append([])
            room = most
        groups[-1].append(Partition(number))
        room -= of_partition
    return tuple(map(tuple, groups))
