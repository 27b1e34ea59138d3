"""Events that arrived before their time: they count once it comes, not before."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from segmentation.evaluation.columns import NEVER, Micros, Users


class Occurrences(NamedTuple):
    """Columns of n events: the number of their kind, of their user, their time, their identity, and what is summed."""

    kinds: npt.NDArray[np.int32]
    users: Users
    occurred_at: Micros
    identities: Micros
    amounts: Micros

    @classmethod
    def none(cls) -> Self:
        """No events."""
        small, large = np.zeros(0, np.int32), np.zeros(0, np.int64)
        return cls(small, small, large, large, large)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> "Occurrences":
        """The events in these rows."""
        kinds, users, occurred_at, identities, amounts = self
        return Occurrences(kinds[rows], users[rows], occurred_at[rows], identities[rows], amounts[rows])

    def by_kind(self) -> Iterator[tuple[int, "Occurrences"]]:
        """Each kind with its events; the events of a kind must be contiguous."""
        bounds = [0, *(np.flatnonzero(np.diff(self.kinds)) + 1).tolist(), len(self.kinds)]
        for start, end in pairwise(bounds):
            if start < end:
                yield int(self.kinds[start]), self.take(slice(start, end))

    @classmethod
    def of(cls, parts: Sequence["Occurrences"]) -> "Occurrences":
        """Concatenate parts."""
        return cls(*map(np.concatenate, zip(cls.none(), *parts, strict=True)))


class PendingEvents:
    """Future events. Bounded by the producers' clocks: intake refuses events too far in the future."""

    def __init__(self) -> None:
        self._events = Occurrences.none()
        self._next = NEVER

    def __len__(self) -> int:
        return len(self._events.users)

    def add(self, events: Occurrences) -> None:
        """Add future events. Copies are kept once."""
        if len(events.users):
            both = Occurrences.of((self._events, events))
            order = np.lexsort((both.amounts, both.identities, both.occurred_at, both.users, both.kinds))
            both = both.take(order)
            same = np.ones(len(order), np.bool_)
            same[0] = False
            for column in both:
                same[1:] &= column[1:] == column[:-1]
            self._events = both.take(~same)
            self._next = int(self._events.occurred_at.min())

    @property
    def events(self) -> Occurrences:
        """All pending events."""
        return self._events

    @property
    def next_us(self) -> int:
        """When the first of them is due; `NEVER` without any."""
        return self._next

    def due(self, at_us: int) -> Occurrences:
        """The events due at an instant; they stay pending until taken."""
        if self._next > at_us:
            return Occurrences.none()
        return self._events.take(self._events.occurred_at <= at_us)

    def take(self, users: Users, until: Micros) -> Occurrences:
        """Remove and return, for each of these users (distinct, ascending), the events up to the user's own instant."""
        if not len(users) or not len(self):
            return Occurrences.none()
        index = np.searchsorted(users, self._events.users)
        index = np.where(index < len(users), index, 0)
        taken = (users[index] == self._events.users) & (self._events.occurred_at <= until[index])
        out, self._events = self._events.take(taken), self._events.take(~taken)
        self._next = int(self._events.occurred_at.min()) if len(self) else NEVER
        return out
