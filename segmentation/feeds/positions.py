"""Where a feed is in a partition of the membership changes.

An offset alone does not say which changes count: those of a replaced owner are in the log as well, and a worker may
repeat a message at another offset. So a position has the newest generation and the next seq too, and how many users of
a message are delivered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from schemas.segment_messages import SegmentCut

MEMBERS: Final = -2
"""As `seq`: the members of a cut are being sent, and `ordinal` of them are."""
ANY: Final = -1
"""As `seq`: any is the next one."""


class Position(NamedTuple):
    """`offset`: of the next record; `ordinal`: how many users of that record, or of the cut, are delivered."""

    offset: int
    generation: int
    seq: int
    ordinal: int = 0


Positions = Mapping[int, Position]
"""By partition, of all partitions."""


def as_json(positions: Positions) -> dict[str, list[int]]:
    """Positions as the catalog keeps them."""
    return {str(partition): list(positions[partition]) for partition in sorted(positions)}


def from_json(record: Mapping[str, Sequence[int]]) -> dict[int, Position]:
    """Inverse of `as_json`."""
    return {int(partition): Position(*values) for partition, values in record.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPart:
    """Members of a partition at the instant at which a feed begins. `part`: their file; None if there are none."""

    partition: int
    part: str | None
    members: int
    rule_version: int
    at_us: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`."""
        return cls(**record)

    @classmethod
    def of(cls, cut: SegmentCut) -> Self:
        """That of an answer of a worker."""
        return cls(
            partition=cut.partition,
            part=cut.part,
            members=cut.members,
            rule_version=cut.rule_version,
            at_us=cut.at_us,
        )


def beginning(cuts: Sequence[SegmentCut], *, with_members: bool) -> dict[int, Position]:
    """Where a feed begins that begins with a cut: with its members, or after them."""
    seq = MEMBERS if with_members else ANY
    return {cut.partition: Position(cut.changes, cut.generation, seq) for cut in cuts}
