"""The moments of the steps of a sequence, for each user, and whether the sequence is true.

Of a bounded step the latest moments are kept, of another only runs: moments no further apart than its span as one, from
the first to the last. Both answer every question as all moments up to T would, in whatever order they came.

An entry of a list is a moment and the key of its value (0 without `same`), or both ends of a run.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from schemas.kernels.compiling import kernel
from segmentation.evaluation.columns import LONG_AGO, NEVER, Columns, Flags, Micros, Users
from segmentation.evaluation.lists import Numbers, drop, lists_from_columns, no_lists, open_place
from segmentation.expressions.literals import SECOND_US
from segmentation.rules.sequences import Sequence

WIDTH: Final = 2
"""Words of an entry."""


class Steps(NamedTuple):
    """What is asked of each step, in microseconds. `span`: of runs; -1 where the latest moments are kept."""

    span: Numbers
    negated: Flags
    gap: Numbers
    within: Numbers
    ties: Flags


class Followed:
    """One sequence. Lists are numbered user by user, and within a user step by step."""

    def __init__(self, sequence: Sequence) -> None:
        steps = sequence.steps
        self._steps = len(steps)
        self._keyed = sequence.same is not None
        self._latest = sequence.latest
        self._window = sequence.window_s * SECOND_US
        numbers = range(len(steps))
        self._horizon = [sequence.horizon_s(n) * SECOND_US for n in numbers]
        self._asked = Steps(
            span=_micros(-1 if sequence.is_bounded(n) else sequence.span_s(n) for n in numbers),
            negated=np.array([step.negated for step in steps], np.bool_),
            gap=_micros(step.gap_s for step in steps),
            within=_micros(step.within_s for step in steps),
            ties=np.array([n > 0 and sequence.takes_ties(n) for n in numbers], np.bool_),
        )
        self._lists = no_lists(WIDTH)
        self._top = 0

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._lists.nbytes

    def grow(self, users: int) -> None:
        """Make room for users, who have no moments."""
        self._lists = self._lists.grown(users * self._steps)

    def add(self, step: int, users: Users, times: Micros, keys: Numbers, at_us: int) -> None:
        """Add moments of a step, up to an instant and in any order; those already present change nothing.

        `keys`: of their values; without `same` they do not matter.
        """
        first, rows = 0, users.astype(np.int64) * self._steps + step
        seconds = keys if self._keyed else np.zeros(len(times), np.int64)
        before, span = at_us - self._horizon[step], int(self._asked.span[step])
        while True:
            first, self._top = _add(first, rows, times, seconds, before, self._latest, span, self._lists, self._top)
            if first == len(rows):
                return
            self._lists = self._lists.enlarged()

    def has(self, users: Users) -> Flags:
        """bool[n]: whether a user has any moment."""
        rows = users.astype(np.int64)[:, None] * self._steps + np.arange(self._steps)
        found: Flags = (self._lists.counts[rows] > 0).any(axis=1)
        return found

    def answers(self, users: Users, at: Micros) -> tuple[Flags, Micros]:
        """bool[n], int64[n]: whether the sequence is true of each user at the user's own instant; when that changes.

        It may change then without a further event, or not: a look too many changes nothing.
        """
        true, due = np.zeros(len(users), np.bool_), np.full(len(users), NEVER, np.int64)
        _answers(users, at, self._keyed, self._window, self._asked, self._lists, true, due)
        return true, due

    def columns(self, users: int) -> Columns:
        """Columns of the first users, which `take_over` reads."""
        return self._lists.columns(users * self._steps)

    def take_over(self, columns: Columns) -> None:
        """Inverse of `columns`."""
        self._lists, self._top = lists_from_columns(WIDTH, columns)


def _micros(seconds: Iterable[int]) -> Numbers:
    """-1 stays."""
    return np.array([s if s < 0 else s * SECOND_US for s in seconds], np.int64)


@kernel
def _add(first, rows, times, seconds, before, latest, span, lists, top):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Returns how many were added, fewer if the pool is too small, and the end of its used part."""
    for k in range(first, rows.shape[0]):
        row, t, second = rows[k], times[k], seconds[k]
        if t <= before:
            continue
        _prune(row, before, span, lists)
        if span >= 0:
            place, second = _join(row, t, span, lists), t
        else:
            place = _place(row, t, second, latest, lists)
        if place < 0:
            continue
        top, enough = open_place(row, place, lists, top)
        if not enough:
            return k, top
        base = lists.starts[row] + WIDTH * place
        lists.words[base], lists.words[base + 1] = t, second
    return rows.shape[0], top


@njit(cache=True, nogil=True)
def _prune(row, before, span, lists):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Remove what has no part after an instant."""
    gone, last = 0, lists.starts[row] + (1 if span >= 0 else 0)
    while gone < lists.counts[row] and lists.words[last + 2 * gone] <= before:
        gone += 1
    if gone:
        drop(row, gone, lists)


@njit(cache=True, nogil=True)
def _join(row, t, span, lists):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Make a moment part of a run that is near, which may join two. Returns the place for a run of its own, or -1."""
    base, n, words = lists.starts[row], lists.counts[row], lists.words
    i = 0
    while i < n and words[base + 2 * i + 1] + span < t:
        i += 1
    if i == n or words[base + 2 * i] - span > t:
        return i
    words[base + 2 * i] = min(words[base + 2 * i], t)
    words[base + 2 * i + 1] = max(words[base + 2 * i + 1], t)
    if i + 1 < n and words[base + 2 * i + 2] - span <= t:
        words[base + 2 * i + 1] = words[base + 2 * i + 3]
        for j in range(2 * (i + 1), 2 * (n - 1)):
            words[base + j] = words[base + j + 2]
        lists.counts[row] = n - 1
    return -1


@njit(cache=True, nogil=True)
def _place(row, t, second, latest, lists):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The place of a moment among the latest, or -1. If they are too many, the oldest goes, with all its values."""
    base, i, words = lists.starts[row], lists.counts[row], lists.words
    if t <= lists.floors[row]:
        return -1
    while i > 0 and (
        words[base + 2 * i - 2] > t or (words[base + 2 * i - 2] == t and words[base + 2 * i - 1] > second)
    ):
        i -= 1
    if i > 0 and words[base + 2 * i - 2] == t and words[base + 2 * i - 1] == second:
        return -1
    if lists.counts[row] == latest:
        oldest, gone = min(t, words[base]), 0
        while gone < latest and words[base + 2 * gone] == oldest:
            gone += 1
        lists.floors[row] = oldest
        drop(row, gone, lists)
        return -1 if t == oldest else i - gone
    return i


@kernel
def _answers(users, at, keyed, window, steps, lists, true, due):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    number, most = steps.span.shape[0], 1
    for k in range(users.shape[0]):
        for i in range(number):
            most = max(most, lists.counts[users[k] * number + i])
    firsts, lasts = np.empty((number, most), np.int64), np.empty((number, most), np.int64)
    reached, kept = np.empty(most, np.int64), np.empty(most, np.int64)
    begins, ends, counts = np.zeros(number, np.int64), np.zeros(number, np.int64), np.zeros(number, np.int64)
    for k in range(users.shape[0]):
        _read(users[k] * number, keyed, lists, firsts, lasts, counts)
        last, later = LONG_AGO, NEVER
        begins[:] = 0
        ends[:] = counts
        while _select(keyed, lasts, counts, begins, ends):
            found = _reached(firsts, lasts, begins, ends, steps, reached, kept)
            for j in range(found):
                if reached[j] <= at[k]:
                    last = max(last, reached[j])
                else:
                    later = min(later, reached[j])
            if not keyed:
                break
            begins[0] = ends[0]
        true[k] = last > at[k] - window
        due[k] = last + window if true[k] else later


@njit(cache=True, nogil=True)
def _read(row, keyed, lists, firsts, lasts, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Copy the lists of a user, one for each step; with keys, sorted by key and within one by time."""
    for i in range(counts.shape[0]):
        base, n = lists.starts[row + i], lists.counts[row + i]
        counts[i] = n
        for j in range(n):
            firsts[i, j] = lists.words[base + 2 * j]
            lasts[i, j] = lists.words[base + 2 * j + 1]
        if keyed:
            order = np.argsort(lasts[i, :n], kind="mergesort")
            firsts[i, :n] = firsts[i, :n][order]
            lasts[i, :n] = lasts[i, :n][order]


@njit(cache=True, nogil=True)
def _select(keyed, lasts, counts, begins, ends):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """With keys, find the moments with the next key of the first step in each step; False if there is none."""
    if not keyed:
        return True
    if begins[0] == counts[0]:
        return False
    key = lasts[0, begins[0]]
    for i in range(counts.shape[0]):
        while begins[i] < counts[i] and lasts[i, begins[i]] < key:
            begins[i] += 1
        ends[i] = begins[i]
        while ends[i] < counts[i] and lasts[i, ends[i]] == key:
            ends[i] += 1
    return True


@njit(cache=True, nogil=True)
def _reached(firsts, lasts, begins, ends, steps, reached, kept):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Write the moments of the last step into `reached`, ascending. Returns their number.

    Of step i there are the pairs begins[i] to ends[i] of firsts[i] and lasts[i]; `kept` is room for as many.
    """
    found = 0
    if steps.span[0] < 0:
        for k in range(begins[0], ends[0]):
            reached[found] = firsts[0, k]
            found += 1
    for i in range(1, steps.span.shape[0]):
        later, later_ends = firsts[i, begins[i] : ends[i]], lasts[i, begins[i] : ends[i]]
        if steps.span[i] < 0:
            later_ends = later
        if steps.negated[i]:
            n = _not_followed(reached[:found], later, later_ends, i, steps, kept)
        elif i == 1 and steps.span[0] >= 0:
            n = _following(firsts[0, begins[0] : ends[0]], lasts[0, begins[0] : ends[0]], later, i, steps, kept)
        else:
            n = _following(reached[:found], reached[:found], later, i, steps, kept)
        found = n
        reached[:n] = kept[:n]
    return found


@njit(cache=True, nogil=True)
def _following(firsts, lasts, later, i, steps, kept):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Keep the moments that follow a run, or a moment (both ends of which are the same). All are ascending."""
    n = j = 0
    for x in later:
        nearest = x if steps.ties[i] else x - steps.gap[i] - 1
        while j < firsts.shape[0] and firsts[j] <= nearest:
            j += 1
        if j > 0 and x <= lasts[j - 1] + steps.within[i]:
            kept[n] = x
            n += 1
    return n


@njit(cache=True, nogil=True)
def _not_followed(reached, firsts, lasts, i, steps, kept):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Keep the ends of the times within which no run, and no moment, follows. All are ascending."""
    n = j = 0
    for s in reached:
        nearest = s if steps.ties[i] else s + steps.gap[i] + 1
        while j < lasts.shape[0] and lasts[j] < nearest:
            j += 1
        if j == lasts.shape[0] or firsts[j] > s + steps.within[i]:
            kept[n] = s + steps.within[i]
            n += 1
    return n
