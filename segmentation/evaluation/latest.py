"""The latest events of each user that a condition looks at, and when a count of them changes by itself.

Whatever is asked of all events up to an instant is asked of the few that are kept: whether N are within a window is
whether the N-th latest is. Events are in the order of (occurred_at, identity), so that what is kept does not depend on
how they came, and a second copy, also of one that has been pushed out, changes nothing.
"""

from typing import Final, Self

import numpy as np
import numpy.typing as npt
from numba import njit

from segmentation.evaluation.columns import Columns, Micros, Users, grown

NONE: Final = -1
NEVER: Final = np.iinfo(np.int64).max
"""A deadline that does not come."""
LONG_AGO: Final = np.iinfo(np.int64).min
FIRST_ROWS: Final = 256


class LatestEvents:
    """Of one kind of event: the `keep` latest of every user who has some, and the time of the first one.

    A user with events has a row; columns of state beside these (`Deadlines`) are indexed by row.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self._rows = 0
        self._row_of: npt.NDArray[np.int32] = np.full(FIRST_ROWS, NONE, np.int32)
        self._user_of: Users = np.zeros(FIRST_ROWS, np.int32)
        self._times: Micros = np.zeros((FIRST_ROWS, keep), np.int64)
        self._identities: npt.NDArray[np.int64] = np.zeros((FIRST_ROWS, keep), np.int64)
        self._stored: npt.NDArray[np.int32] = np.zeros(FIRST_ROWS, np.int32)
        self._first: Micros = np.zeros(FIRST_ROWS, np.int64)

    def __len__(self) -> int:
        return self._rows

    @property
    def nbytes(self) -> int:
        """Memory that is held."""
        columns = (self._row_of, self._user_of, self._times, self._identities, self._stored, self._first)
        return sum(column.nbytes for column in columns)

    def columns(self) -> Columns:
        """What `of_columns` makes the same of."""
        rows = self._rows
        return {
            "user": self._user_of[:rows],
            "times": self._times[:rows],
            "identities": self._identities[:rows],
            "stored": self._stored[:rows],
            "first": self._first[:rows],
        }

    @classmethod
    def of_columns(cls, columns: Columns) -> Self:
        """Inverse of `columns`."""
        rows, keep = columns["times"].shape
        out = cls(keep)
        out._rows = rows
        out._user_of, out._stored = grown(columns["user"], FIRST_ROWS), grown(columns["stored"], FIRST_ROWS)
        out._times, out._identities = grown(columns["times"], FIRST_ROWS), grown(columns["identities"], FIRST_ROWS)
        out._first = grown(columns["first"], FIRST_ROWS)
        if rows:
            out._row_of = grown(out._row_of, int(columns["user"].max()) + 1, NONE)
            out._row_of[columns["user"]] = np.arange(rows, dtype=np.int32)
        return out

    def every_user(self) -> Users:
        """All users with such an event."""
        return self._user_of[: self._rows]

    def add(self, users: Users, occurred_at: Micros, identities: Micros) -> None:
        """Events that have happened, in any order; those that are there already change nothing."""
        if not len(users):
            return
        self._row_of = grown(self._row_of, int(users.max()) + 1, NONE)
        most = self._rows + len(users)
        self._user_of, self._stored = grown(self._user_of, most), grown(self._stored, most)
        self._times, self._identities = grown(self._times, most), grown(self._identities, most)
        self._first = grown(self._first, most)
        self._rows = _insert(
            users, occurred_at, identities, self._row_of, self._user_of, self._times, self._identities,
            self._stored, self._first, self._rows,
        )  # fmt: skip

    def rows(self, users: Users) -> npt.NDArray[np.int32]:
        """int32[n]: the row of each user, -1 for those without such an event."""
        known = users < len(self._row_of)
        return np.where(known, self._row_of[np.where(known, users, 0)], np.int32(NONE))

    def users(self, rows: npt.NDArray[np.int64]) -> Users:
        """The users of some rows."""
        return self._user_of[rows]

    def times(self, users: Users, nth: int) -> Micros:
        """int64[n]: when the `nth` latest event (1: the latest) was, `LONG_AGO` where there are fewer."""
        rows = self.rows(users)
        there = rows != NONE
        rows = np.where(there, rows, 0)
        return np.where(there & (self._stored[rows] >= nth), self._times[rows, nth - 1], LONG_AGO)

    def first(self, users: Users) -> Micros:
        """int64[n]: when the first event was, `NEVER` where there is none."""
        rows = self.rows(users)
        return np.where(rows != NONE, self._first[np.where(rows != NONE, rows, 0)], NEVER)


class Deadlines:
    """For each user with events of a kind, when the answer to a count changes if no further event comes."""

    def __init__(self) -> None:
        self._due: Micros = np.full(FIRST_ROWS, NEVER, np.int64)
        self._next = NEVER

    @property
    def nbytes(self) -> int:
        """Memory that is held."""
        return self._due.nbytes

    def set(self, rows: npt.NDArray[np.int32], due: Micros) -> None:
        """New deadlines of some rows (none -1)."""
        if len(rows):
            self._due = grown(self._due, int(rows.max()) + 1, NEVER)
            self._due[rows] = due
            self._next = min(self._next, int(due.min()))

    def passed(self, at_us: int) -> tuple[npt.NDArray[np.int64], Micros]:
        """Rows whose deadline is not after an instant, and the deadlines. They stay until they are set anew."""
        if self._next > at_us:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows = np.flatnonzero(self._due <= at_us)
        if not len(rows):
            self._next = int(self._due.min())
        return rows, self._due[rows]


@njit(cache=True, nogil=True)
def _insert(users, occurred_at, identities, row_of, user_of, times, ids, stored, first, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    keep = times.shape[1]
    for k in range(users.shape[0]):
        t, identity = occurred_at[k], identities[k]
        row = row_of[users[k]]
        if row == NONE:
            row = rows
            rows += 1
            row_of[users[k]] = row
            user_of[row] = users[k]
            stored[row] = 0
            first[row] = t
        first[row] = min(first[row], t)
        n = stored[row]
        place = 0
        while place < n and (times[row, place] > t or (times[row, place] == t and ids[row, place] > identity)):
            place += 1
        if place == keep or (place < n and times[row, place] == t and ids[row, place] == identity):
            continue
        for j in range(min(n, keep - 1), place, -1):
            times[row, j] = times[row, j - 1]
            ids[row, j] = ids[row, j - 1]
        times[row, place] = t
        ids[row, place] = identity
        stored[row] = min(n + 1, keep)
    return rows
