"""The latest events of each user that a condition needs, and the deadlines at which time alone changes a count.

Every question about all events up to an instant is answered by the few that are kept: N events are within a window if
the N-th latest is. Events are ordered by (occurred_at, identity), so the kept ones do not depend on arrival order, and
a second copy of an event, even of one no longer kept, changes nothing.
"""

from typing import Final, Self

import numpy as np
import numpy.typing as npt
from numba import njit

from schemas.kernels.compiling import kernel
from segmentation.evaluation.columns import LONG_AGO, NEVER, Columns, Flags, Micros, Users, grown

NONE: Final = -1
FIRST_ROWS: Final = 256
BLOCK: Final = 64
"""Rows per block: their deadlines fill 8 cache lines."""
Rows = npt.NDArray[np.int32]
"""Row of a user's events in the columns of a kind; -1 (`NONE`) for users without such an event."""


class LatestEvents:
    """One kind of event: the `keep` latest of every user who has any, and the time of the first one.

    A user with events has a row; further columns of state (`Deadlines`) are indexed by the same rows. No event later
    than `since_us` is missing; earlier ones may be.
    """

    def __init__(self, keep: int, since_us: int = LONG_AGO) -> None:
        self.keep = keep
        self.since_us = since_us
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
        """Memory in use."""
        columns = (self._row_of, self._user_of, self._times, self._identities, self._stored, self._first)
        return sum(column.nbytes for column in columns)

    def columns(self) -> Columns:
        """Columns from which `from_columns` builds an equal object."""
        rows = self._rows
        return {
            "user": self._user_of[:rows],
            "times": self._times[:rows],
            "identities": self._identities[:rows],
            "stored": self._stored[:rows],
            "first": self._first[:rows],
            "since": np.array([self.since_us], np.int64),
        }

    @classmethod
    def from_columns(cls, columns: Columns) -> Self:
        """Inverse of `columns`. Those written before `since` was stored may lack any event."""
        rows, keep = columns["times"].shape
        out = cls(keep, int(columns["since"][0]) if "since" in columns else NEVER)
        out._rows = rows
        out._user_of, out._stored = grown(columns["user"], FIRST_ROWS), grown(columns["stored"], FIRST_ROWS)
        out._times, out._identities = grown(columns["times"], FIRST_ROWS), grown(columns["identities"], FIRST_ROWS)
        out._first = grown(columns["first"], FIRST_ROWS)
        if rows:
            out._row_of = grown(out._row_of, int(columns["user"].max()) + 1, NONE)
            out._row_of[columns["user"]] = np.arange(rows, dtype=np.int32)
        return out

    def add(self, users: Users, occurred_at: Micros, identities: Micros) -> None:
        """Add past events, in any order; those already present change nothing."""
        if not len(users):
            return
        self._row_of = grown(self._row_of, int(users.max()) + 1, NONE)
        capacity = self._rows + len(users)
        self._user_of, self._stored = grown(self._user_of, capacity), grown(self._stored, capacity)
        self._times, self._identities = grown(self._times, capacity), grown(self._identities, capacity)
        self._first = grown(self._first, capacity)
        self._insert(users, occurred_at, identities)

    def _insert(self, users: Users, occurred_at: Micros, identities: Micros) -> None:
        self._rows = _insert(
            users, occurred_at, identities, self._row_of, self._user_of, self._times, self._identities,
            self._stored, self._first, self._rows,
        )  # fmt: skip

    def rows(self, users: Users) -> Rows:
        """int32[n]: the row of each user."""
        out = np.empty(len(users), np.int32)
        _rows(self._row_of, users, out)
        return out

    def users(self, rows: Rows) -> Users:
        """The users of these rows."""
        return self._user_of[rows]

    def times(self, rows: Rows, rank: int) -> Micros:
        """int64[n]: time of the event of a rank (1: the latest); `LONG_AGO` if the user has fewer events, or none."""
        out = np.empty(len(rows), np.int64)
        _ranked(self._times, self._stored, rows, rank, out)
        return out

    def within(self, rows: Rows, at: Micros, window: int, times: int) -> Flags:
        """bool[n]: True if `times` (>= 1) events or more are in the window (microseconds) that ends at an instant."""
        out = np.empty(len(rows), np.bool_)
        _within(self._times, self._stored, rows, at, window, times, out)
        return out

    def leaving(self, rows: Rows, at: Micros, window: int, ranks: tuple[int, ...]) -> Micros:
        """int64[n]: when the next of the events of these ranks that are in the window leaves it, or `NEVER`."""
        out = np.empty(len(rows), np.int64)
        _leaving(self._times, self._stored, rows, at, window, np.array(ranks, np.int64), out)
        return out

    def first(self, rows: Rows) -> Micros:
        """int64[n]: time of the first event, `NEVER` for row -1."""
        return np.where(rows != NONE, self._first[np.where(rows != NONE, rows, 0)], NEVER)


class LatestValues(LatestEvents):
    """The `keep` latest values of every user who has any, each at its latest time: an identity is the key of a value.

    One that later values pushed out comes back only by a newer event.
    """

    def _insert(self, users: Users, occurred_at: Micros, identities: Micros) -> None:
        self._rows = _insert_values(
            users, occurred_at, identities, self._row_of, self._user_of, self._times, self._identities,
            self._stored, self._first, self._rows,
        )  # fmt: skip


class Deadlines:
    """For each user with events of a kind: when the answer to a count changes if no further event arrives.

    Rows are scanned in blocks of `BLOCK`; each block has a lower bound of its deadlines.
    """

    def __init__(self) -> None:
        self._due: Micros = np.full(FIRST_ROWS, NEVER, np.int64)
        self._bounds: Micros = np.full(FIRST_ROWS // BLOCK, NEVER, np.int64)
        self._next = NEVER

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._due.nbytes + self._bounds.nbytes

    @property
    def next_us(self) -> int:
        """No deadline is earlier than this."""
        return int(self._next)

    def set(self, rows: Rows, due: Micros) -> None:
        """Set the deadlines of some rows (none of them -1)."""
        if len(rows):
            self._due = grown(self._due, int(rows.max()) + 1, NEVER)
            self._bounds = grown(self._bounds, -(-len(self._due) // BLOCK), NEVER)
            self._next = min(self._next, _set(rows, due, self._due, self._bounds))

    def passed(self, at_us: int) -> tuple[Rows, Micros]:
        """Rows whose deadline is at or before an instant, and the deadlines. They stay until they are set again."""
        if self._next > at_us:
            return np.zeros(0, np.int32), np.zeros(0, np.int64)
        rows = np.empty(len(self._due), np.int32)
        found, self._next = _passed(self._due, self._bounds, at_us, rows)
        return rows[:found], self._due[rows[:found]]


@kernel
def _rows(row_of, users, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for k in range(users.shape[0]):
        out[k] = row_of[users[k]] if users[k] < row_of.shape[0] else NONE


@kernel
def _ranked(times, stored, rows, rank, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for k in range(rows.shape[0]):
        row = rows[k]
        out[k] = times[row, rank - 1] if row != NONE and stored[row] >= rank else LONG_AGO


@kernel
def _within(times, stored, rows, at, window, rank, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for k in range(rows.shape[0]):
        row = rows[k]
        out[k] = row != NONE and stored[row] >= rank and times[row, rank - 1] > at[k] - window


@kernel
def _leaving(times, stored, rows, at, window, ranks, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for k in range(rows.shape[0]):
        row, out[k] = rows[k], NEVER
        for rank in ranks:
            if stored[row] >= rank and times[row, rank - 1] > at[k] - window:
                out[k] = min(out[k], times[row, rank - 1] + window)


@kernel
def _set(rows, values, due, bounds):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Returns the earliest of the new deadlines."""
    least = NEVER
    for k in range(rows.shape[0]):
        row, value = rows[k], values[k]
        due[row] = value
        bounds[row // BLOCK] = min(bounds[row // BLOCK], value)
        least = min(least, value)
    return least


@kernel
def _passed(due, bounds, at_us, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Writes the due rows and makes their blocks' bounds exact. Returns their number and the earliest deadline."""
    found, least = 0, NEVER
    for block in range(bounds.shape[0]):
        if bounds[block] <= at_us:
            bound = NEVER
            for row in range(block * BLOCK, min((block + 1) * BLOCK, due.shape[0])):
                bound = min(bound, due[row])
                if due[row] <= at_us:
                    out[found] = row
                    found += 1
            bounds[block] = bound
        least = min(least, bounds[block])
    return found, least


@njit(cache=True, nogil=True)
def _row(user, t, row_of, user_of, stored, first, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The row of a user, who may be new, and the number of rows."""
    row = row_of[user]
    if row == NONE:
        row = rows
        rows += 1
        row_of[user] = row
        user_of[row] = user
        stored[row] = 0
        first[row] = t
    first[row] = min(first[row], t)
    return row, rows


@kernel
def _insert(users, occurred_at, identities, row_of, user_of, times, ids, stored, first, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    keep = times.shape[1]
    for k in range(users.shape[0]):
        t, identity = occurred_at[k], identities[k]
        row, rows = _row(users[k], t, row_of, user_of, stored, first, rows)
        n = stored[row]
        position = 0
        while position < n and (
            times[row, position] > t or (times[row, position] == t and ids[row, position] > identity)
        ):
            position += 1
        if position == keep or (position < n and times[row, position] == t and ids[row, position] == identity):
            continue
        for j in range(min(n, keep - 1), position, -1):
            times[row, j] = times[row, j - 1]
            ids[row, j] = ids[row, j - 1]
        times[row, position] = t
        ids[row, position] = identity
        stored[row] = min(n + 1, keep)
    return rows


@kernel
def _insert_values(users, occurred_at, keys, row_of, user_of, times, ids, stored, first, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    keep = times.shape[1]
    for k in range(users.shape[0]):
        t, key = occurred_at[k], keys[k]
        row, rows = _row(users[k], t, row_of, user_of, stored, first, rows)
        n = stored[row]
        last = 0
        while last < n and ids[row, last] != key:
            last += 1
        if last < n:  # the value moves up from there
            if times[row, last] >= t:
                continue
        elif n < keep:
            stored[row] = n + 1
        elif times[row, keep - 1] >= t:
            continue
        else:
            last = keep - 1
        while last > 0 and times[row, last - 1] < t:
            times[row, last] = times[row, last - 1]
            ids[row, last] = ids[row, last - 1]
            last -= 1
        times[row, last] = t
        ids[row, last] = key
    return rows
