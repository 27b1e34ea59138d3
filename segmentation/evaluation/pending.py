"""Events that have arrived before their time: they count when it comes, not before."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from segmentation.evaluation.columns import Micros, Users
from segmentation.evaluation.latest import NEVER


class Occurrences(NamedTuple):
    """Events in columns, n each: the number of their kind, of their user, when, and which."""

    kinds: npt.NDArray[np.int32]
    users: Users
    occurred_at: Micros
    identities: Micros

    @classmethod
    def none(cls) -> Self:
        """No events."""
        small, large = np.zeros(0, np.int32), np.zeros(0, np.int64)
        return cls(small, small, large, large)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> "Occurrences":
        """Some of them."""
        kinds, users, occurred_at, identities = self
        return Occurrences(kinds[rows], users[rows], occurred_at[rows], identities[rows])

    def by_kind(self) -> Iterator[tuple[int, "Occurrences"]]:
        """Each kind and its events; they are together."""
        bounds = [0, *(np.flatnonzero(np.diff(self.kinds)) + 1).tolist(), len(self.kinds)]
        for start, end in pairwise(bounds):
            if start < end:
                yield int(self.kinds[start]), self.take(slice(start, end))

    @classmethod
    def of(cls, parts: Sequence["Occurrences"]) -> "Occurrences":
        """One after the other."""
        return cls(*map(np.concatenate, zip(cls.none(), *parts, strict=True)))


class PendingEvents:
    """Bounded by the producers' clocks: an event too far in the future is refused before it comes here."""

    def __init__(self) -> None:
        self._events = Occurrences.none()
        self._next = NEVER

    def __len__(self) -> int:
        return len(self._events.users)

    def add(self, events: Occurrences) -> None:
        """Events of the future. Copies are kept once."""
        if len(events.users):
            both = Occurrences.of((self._events, events))
            order = np.lexsort((both.identities, both.occurred_at, both.users, both.kinds))
            both = both.take(order)
            same = np.ones(len(order), np.bool_)
            same[0] = False
            for column in both:
                same[1:] &= column[1:] == column[:-1]
            self._events = both.take(~same)
            self._next = int(self._events.occurred_at.min())

    @property
    def events(self) -> Occurrences:
        """All of them."""
        return self._events

    def come(self, at_us: int) -> Occurrences:
        """Those whose time has come at an instant; they stay until they are taken."""
        if self._next > at_us:
            return Occurrences.none()
        return self._events.take(self._events.occurred_at <= at_us)

    def take(self, users: Users, until: Micros) -> Occurrences:
        """Of each of some users (distinct, ascending), the events up to an instant of its own."""
        if not len(users) or not len(self):
            return Occurrences.none()
        place = np.searchsorted(users, self._events.users)
        place = np.where(place < len(users), place, 0)
        taken = (users[place] == self._events.users) & (self._events.occurred_at <= until[place])
        out, self._events = self._events.take(taken), self._events.take(~taken)
        self._next = int(self._events.occurred_at.min()) if len(self) else NEVER
        return out
