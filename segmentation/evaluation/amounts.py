"""The latest numbers of a property of each user's events, and their sums over windows.

Numbers are whole steps of 0.0001, so that sums are exact in any order. Of the copies of an event the greatest number
counts. Everything follows from the set of (occurred_at, identity, number), whatever the order in which events arrive.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.kernels.compiling import kernel
from segmentation.evaluation.columns import LONG_AGO, NEVER, Columns, Flags, Micros, Users
from segmentation.evaluation.lists import Numbers, drop, lists_from_columns, no_lists, open_place
from segmentation.rules.aggregates import MAX_NUMBER, STEPS

WIDTH: Final = 3
"""Words of an entry: its time, its identity and its number."""


def in_steps(numbers: npt.NDArray[np.float64]) -> tuple[Flags, Numbers]:
    """bool[n] and int64[n]: whether a number can be summed (NaN and very large ones cannot), and its steps.

    Rounded half away from zero.
    """
    fits: Flags = np.abs(numbers) <= MAX_NUMBER
    scaled = np.where(fits, numbers, 0.0) * STEPS
    whole = np.trunc(scaled)  # adding 0.5 first would round up 0.49999999999999994
    return fits, (whole + np.copysign(np.abs(scaled - whole) >= 0.5, scaled)).astype(np.int64)


class Amounts:
    """The numbers of a property, a list for each user. `keep`: the most that count.

    `horizon`: numbers so long ago (microseconds) are dropped; None: never. No event later than `since_us` is missing,
    unless `keep` events are at or after it; earlier ones may be.
    """

    def __init__(self, keep: int, horizon: int | None) -> None:
        self.keep = keep
        self.horizon = horizon
        self.since_us = LONG_AGO
        self._lists = no_lists(WIDTH)
        self._top = 0

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._lists.nbytes

    def grow(self, users: int) -> None:
        """Make room for users, who have no numbers."""
        self._lists = self._lists.grown(users)

    def add(self, users: Users, times: Micros, identities: Numbers, amounts: Numbers, at_us: int) -> None:
        """Add numbers, in steps, of events up to an instant, in any order; those already present change nothing."""
        before = LONG_AGO if self.horizon is None else at_us - self.horizon
        self.since_us = max(self.since_us, before)
        first = 0
        while True:
            first, self._top = _add(first, users, times, identities, amounts, before, self.keep, self._lists, self._top)
            if first == len(users):
                return
            self._lists = self._lists.enlarged()

    def has(self, users: Users) -> Flags:
        """bool[n]: whether a user has any number."""
        found: Flags = self._lists.counts[users] > 0
        return found

    def totals(self, users: Users, since: Micros, latest: int) -> tuple[Numbers, Numbers, Micros]:
        """int64[n] each: sum, number, and earliest time (`NEVER` without any) of each user's numbers after an instant.

        Those count that have at most `latest` numbers at or after them.
        """
        total, number, oldest = (np.empty(len(users), np.int64) for _ in range(3))
        _totals(users, since, latest, self._lists, total, number, oldest)
        return total, number, oldest

    def columns(self, users: int) -> Columns:
        """Columns of the first users, which `take_over` reads."""
        return {**self._lists.columns(users), "since": np.array([self.since_us], np.int64)}

    def take_over(self, columns: Columns) -> None:
        """Inverse of `columns`."""
        self._lists, self._top = lists_from_columns(WIDTH, columns)
        self.since_us = int(columns["since"][0])


@kernel
def _add(first, users, times, identities, amounts, before, keep, lists, top):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Returns how many were added, fewer if the pool is too small, and the end of its used part."""
    words = lists.words
    for k in range(first, users.shape[0]):
        row, t, identity = users[k], times[k], identities[k]
        gone = 0
        while gone < lists.counts[row] and words[lists.starts[row] + WIDTH * gone] <= before:
            gone += 1
        if gone:
            drop(row, gone, lists)
        if t <= before or t <= lists.floors[row]:
            continue
        base, i = lists.starts[row], lists.counts[row]
        while i > 0 and (
            words[base + WIDTH * (i - 1)] > t
            or (words[base + WIDTH * (i - 1)] == t and words[base + WIDTH * (i - 1) + 1] > identity)
        ):
            i -= 1
        last = base + WIDTH * (i - 1)
        if i > 0 and words[last] == t and words[last + 1] == identity:
            words[last + 2] = max(words[last + 2], amounts[k])
            continue
        if lists.counts[row] == keep:  # one too many: the oldest go, all of that moment
            oldest, gone = min(t, words[base]), 0
            while gone < keep and words[base + WIDTH * gone] == oldest:
                gone += 1
            lists.floors[row] = oldest
            drop(row, gone, lists)
            i -= gone
            if t == oldest:
                continue
        top, enough = open_place(row, i, lists, top)
        if not enough:
            return k, top
        place = lists.starts[row] + WIDTH * i
        words[place], words[place + 1], words[place + 2] = t, identity, amounts[k]
    return users.shape[0], top


@kernel
def _totals(users, since, latest, lists, total, number, oldest):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for k in range(users.shape[0]):
        total[k], number[k], oldest[k] = 0, 0, NEVER
        base, i = lists.starts[users[k]], lists.counts[users[k]]
        while i > 0:
            t = lists.words[base + WIDTH * (i - 1)]
            first = i - 1
            while first > 0 and lists.words[base + WIDTH * (first - 1)] == t:
                first -= 1
            if t <= since[k] or lists.counts[users[k]] - first > latest:
                break
            for j in range(first, i):
                total[k] += lists.words[base + WIDTH * j + 2]
            number[k], oldest[k], i = number[k] + i - first, t, first
