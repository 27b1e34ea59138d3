"""Acknowledgement of records in a topic-partition: strictly in offset order, once their content is durable.

A committed offset means "everything before it is done", so a record that finishes early waits for those before it.
(faust-streaming issue 606 shows the alternative: an acknowledgement out of order commits past a record in flight.)
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self


class DeliveryGapError(Exception):
    """A delivered record does not have the next offset: the records in between were lost on the way."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"offset {got} was delivered, but {expected} was expected")
        self.expected = expected
        self.got = got


@dataclass(frozen=True, slots=True, kw_only=True)
class AckLedger:
    """Offsets `acked_to` .. `next_offset - 1` have been delivered and not acknowledged; `done` of them are durable."""

    acked_to: int
    next_offset: int
    done: frozenset[int] = frozenset()

    @classmethod
    def start(cls, offset: int) -> Self:
        """Ledger of a partition at position `offset`, the offset of the first record to come."""
        return cls(acked_to=offset, next_offset=offset)

    @property
    def pending(self) -> int:
        """Records delivered and not acknowledged."""
        return self.next_offset - self.acked_to

    def deliver(self, first: int, end: int) -> Self:
        """Add the delivered records at `first` to `end` - 1. Raises `DeliveryGapError` unless `first` is next."""
        if first != self.next_offset:
            raise DeliveryGapError(self.next_offset, first)
        return replace(self, next_offset=end)

    def skip_to(self, end: int) -> Self:
        """Count the due offsets below `end` as delivered: they hold no record."""
        return replace(self, next_offset=max(end, self.next_offset))

    def complete_to(self, end: int) -> Self:
        """Mark everything below `end` as durable. Raises ValueError if it was not delivered."""
        if end > self.next_offset:
            raise ValueError(f"offset {end - 1} has not been delivered; the next one is {self.next_offset}")
        return replace(self, acked_to=max(end, self.acked_to), done=frozenset(o for o in self.done if o >= end))

    def complete(self, offsets: Iterable[int]) -> tuple[Self, range]:
        """Mark records as durable; returns the offsets that may be acknowledged now, in order.

        Completing a record twice is allowed. Raises ValueError for a record that was not delivered.
        """
        done = self.done | {o for o in offsets if o >= self.acked_to}
        if done and max(done) >= self.next_offset:
            raise ValueError(f"offset {max(done)} has not been delivered; the next one is {self.next_offset}")
        end = self.acked_to
        while end in done:
            end += 1
        ackable = range(self.acked_to, end)
        return replace(self, acked_to=end, done=done.difference(ackable)), ackable
