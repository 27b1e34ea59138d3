"""Evaluates conditions over whole columns: counts in a window, tests of properties and attributes."""

from collections.abc import Mapping
from functools import reduce
from typing import assert_never, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.activity_columns import PROPERTY_TYPES
from schemas.buffers import string_buffers, validity
from schemas.columns import ColumnType
from schemas.kernels.hashing import chain_strings, chain_words
from segmentation.evaluation.amounts import in_steps
from segmentation.evaluation.batches import EventBatch, ProfileBatch
from segmentation.evaluation.columns import LONG_AGO, NEVER, Flags, Micros, Users
from segmentation.evaluation.latest import NONE, Rows
from segmentation.evaluation.plan import AttributeTest, Keyed, Numbered, Timed, fact, kind_of
from segmentation.evaluation.spans import next_change, span_of
from segmentation.evaluation.state import State
from segmentation.expressions.literals import EPOCH, SECOND_US, micros
from segmentation.expressions.masks import mask_of
from segmentation.rules.aggregates import Total
from segmentation.rules.events import Events, OnEvents
from segmentation.rules.nodes import (
    Count,
    Distinct,
    EventCondition,
    Ever,
    Group,
    Never,
    Rule,
    RuleCondition,
    Seen,
    SeenNear,
    Which,
    parts_of,
)
from segmentation.rules.sequences import Sequence
from segmentation.rules.typed import typed, typed_at

Indices = npt.NDArray[np.int64]
"""Indices of some of n users."""


class Answers:
    """Answers of rules for n users, distinct and ascending, each at its own instant (`at`).

    `rows`: where the events of a kind are stored, looked up once for all conditions.
    """

    def __init__(self, state: State, users: Users, at: Micros) -> None:
        self.users = users
        self.at = at
        self._state = state
        self._rows: dict[Events | Keyed, Rows] = {}
        self._of_sequences: dict[Sequence, tuple[Indices, Flags, Micros]] = {}

    def rows(self, kind: Events | Keyed) -> Rows:
        """int32[n]: row of each user's events of a kind, -1 for users without one."""
        if kind not in self._rows:
            self._rows[kind] = self._state.latest[kind].rows(self.users)
        return self._rows[kind]

    def is_in(self, rule: Rule, indices: Indices) -> Flags:
        """True for those of the users in `indices` whom a rule asks about, and who satisfy it."""
        users = self.users[indices]
        asked = [self._state.known[users], *(self._state.true[member][users] for member in rule.admits)]
        groups = (self._group(group, rule, indices) for group in rule.groups)
        return reduce(np.logical_and, groups, reduce(np.logical_or, asked))

    def deadlines(
        self, timed: Timed, ranks: Mapping[Count | Distinct, tuple[int, ...]], indices: Indices
    ) -> tuple[Rows, Micros]:
        """When answers change next if no more records arrive, for the users in `indices`.

        Rows of the store that the answers come from, and the deadlines. A count changes when an event of one of its
        `ranks` leaves the window, a sum may change when the earliest of its numbers does.
        """
        at = self.at[indices]
        match timed:
            case Count(within_s=int(within_s)) | Distinct(within_s=int(within_s)):
                kind = counted_kind(timed)
                rows = self.rows(kind)[indices]
                return rows, self._state.latest[kind].leaving(rows, at, within_s * SECOND_US, ranks[timed])
            case Total(within_s=int(within_s)):
                oldest = self._total(timed, indices)[2]
                return self.users[indices], np.where(oldest == NEVER, NEVER, oldest + within_s * SECOND_US)
            case SeenNear(events=events):
                enter, leave = self._seen_near(timed, indices)
                return self.rows(events)[indices], next_change(enter, leave, at)
            case Sequence():
                return self.users[indices], self._followed(timed, indices)[1]
            case AttributeTest():
                users = self.users[indices]
                return users, self._state.spans[timed].due(users, at)
            case _:
                raise TypeError(f"time alone does not change {timed}")

    def _group(self, group: Group, rule: Rule, indices: Indices) -> Flags:
        one = reduce(np.logical_or, (self._holds(condition, rule, indices) for condition in group.conditions))
        return ~one if group.negated else one

    def _holds(self, condition: RuleCondition, rule: Rule, indices: Indices) -> Flags:
        if isinstance(condition, OnEvents):
            parts = cast("tuple[EventCondition, ...]", parts_of(condition))
            return reduce(np.logical_and, (self._of_events(part, indices) for part in parts))
        if isinstance(condition, Sequence):
            return self._followed(condition, indices)[0]
        users, one = self.users[indices], fact(condition, rule)
        if isinstance(one, AttributeTest) and one.is_timed:
            return self._state.spans[one].true(users, self.at[indices])
        return self._state.true[one][users]  # type: ignore[index]  # events are above

    def _of_events(self, condition: EventCondition, indices: Indices) -> Flags:
        match condition:
            case Count() | Distinct():
                return self._count(condition, indices)
            case Total():
                total, number, _ = self._total(condition, indices)
                met: Flags = condition.met(total, number)
                return met
            case Ever():
                return self._has(condition.events, indices)
            case Never():
                return ~self._has(condition.events, indices)
            case Seen(events=events):
                seen, moment = self._seen(events, condition.which, self.rows(events)[indices]), micros(condition.moment)
                met = (seen < moment) if condition.bound == "before" else (seen >= moment)
                return self._has(events, indices) & met
            case SeenNear():
                enter, leave = self._seen_near(condition, indices)
                near: Flags = (enter <= self.at[indices]) & (self.at[indices] < leave)
                return near

    def _followed(self, sequence: Sequence, indices: Indices) -> tuple[Flags, Micros]:
        """Whether a sequence is true, and when it changes; the last answer is kept, since it is asked twice."""
        kept = self._of_sequences.get(sequence)
        if kept is None or not np.array_equal(kept[0], indices):
            found = self._state.followed[sequence].answers(self.users[indices], self.at[indices])
            kept = self._of_sequences[sequence] = (indices, *found)
        return kept[1:]

    def _seen_near(self, condition: SeenNear, indices: Indices) -> tuple[Micros, Micros]:
        """From when to when the condition is true; the first instant is `NEVER` for users without such an event."""
        rows = self.rows(condition.events)[indices]
        enter, leave = span_of(self._seen(condition.events, condition.which, rows), condition.distance)
        return np.where(rows != NONE, enter, NEVER), leave

    def _seen(self, events: Events, which: Which, rows: Rows) -> Micros:
        """The time of the first or last event of each row."""
        latest = self._state.latest[events]
        return latest.first(rows) if which == "first" else latest.times(rows, 1)

    def _has(self, kind: Events, indices: Indices) -> Flags:
        has: Flags = self.rows(kind)[indices] != NONE
        return has

    def _total(self, total: Total, indices: Indices) -> tuple[Micros, Micros, Micros]:
        """Sum, number and earliest time of the numbers that count."""
        users, at = self.users[indices], self.at[indices]
        since = np.full(len(users), LONG_AGO) if total.within_s is None else at - total.within_s * SECOND_US
        return self._state.amounts[Numbered(events=total.events, of=total.of)].totals(users, since, total.latest)

    def _count(self, count: Count | Distinct, indices: Indices) -> Flags:
        """N events, or values, are within the window if the N-th latest is."""
        kind, at = counted_kind(count), self.at[indices]
        latest, rows = self._state.latest[kind], self.rows(kind)[indices]

        def at_least(times: int) -> Flags:
            if count.within_s is None:
                enough: Flags = latest.times(rows, times) != LONG_AGO
                return enough
            return latest.within(rows, at, count.within_s * SECOND_US, times)

        match count.quantity:
            case "at_least":
                return at_least(count.times)
            case "at_most":
                return ~at_least(count.times + 1)
            case "exactly":
                return ~at_least(count.times + 1) & (at_least(count.times) if count.times else np.True_)
            case _:
                assert_never(count.quantity)


def counted_kind(count: Count | Distinct) -> Events | Keyed:
    """The events that a count is answered from."""
    kind = kind_of(count)
    assert not isinstance(kind, Numbered)  # noqa: S101
    return kind


def amounts_of(batch: EventBatch, name: str) -> tuple[Flags, npt.NDArray[np.int64]]:
    """bool[n] and int64[n]: whether an event has a number of a property that can be summed, and its steps."""
    return in_steps(batch.values(name, "double").fill_null(np.nan).to_numpy(zero_copy_only=False))


def event_mask(kind: Events, batch: EventBatch) -> Flags:
    """bool[n]: True for events of a batch with the required properties and times, whatever their name."""
    columns: dict[str, pa.Array] = {}

    def column(name: str, type_: ColumnType) -> str:
        columns[f"{type_} {name}"] = batch.values(name, type_)
        return f"{type_} {name}"

    masks = (mask_of(typed(test, PROPERTY_TYPES, column, None), columns.__getitem__) for test in kind.where)
    in_time = np.ones(len(batch.occurred_at), np.bool_)
    if kind.since is not None and kind.before is not None:
        in_time = (batch.occurred_at >= micros(kind.since)) & (batch.occurred_at < micros(kind.before))
    return reduce(np.logical_and, masks, in_time)


def keys_of(batch: EventBatch, name: str) -> tuple[Flags, npt.NDArray[np.int64]]:
    """bool[n] and int64[n]: whether an event has a value of a property, and its key: equal for equal values of a type.

    A key is 64 bits of a hash, as identities are. NaN is no value; -0 is 0.
    """
    numbers, strings, booleans = (batch.values(name, type_) for type_ in ("double", "string", "boolean"))
    plain = numbers.fill_null(np.nan).to_numpy(zero_copy_only=False) + 0.0
    of_number, of_string, of_boolean = ~np.isnan(plain), _valid(strings), _valid(booleans)
    truth = booleans.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64)  # noqa: FBT003
    words = np.where(of_number, plain.view(np.uint64), truth)
    h0, h1 = np.where(of_boolean, np.uint64(2), np.uint64(1)), np.zeros(len(words), np.uint64)
    chain_words(words, np.zeros(0, np.uint8), h0, h1)
    s0, s1 = np.full(len(words), 3, np.uint64), np.zeros(len(words), np.uint64)
    chain_strings(*string_buffers(strings), validity(strings), s0, s1)
    return of_number | of_string | of_boolean, np.where(of_string, s0, h0).view(np.int64)


def _valid(values: pa.Array) -> Flags:
    valid: Flags = values.is_valid().to_numpy(zero_copy_only=False)
    return valid


def attribute_mask(test: AttributeTest, batch: ProfileBatch) -> Flags:
    """bool[n]: result, on each change by itself, of a test that is not timed."""
    columns: dict[str, pa.Array] = {}

    def column(name: str, type_: ColumnType) -> str:
        columns[f"{type_} {name}"] = batch.current(name, type_)
        return f"{type_} {name}"

    tree = typed_at(test.condition, column, test.timezone, EPOCH)  # at whatever instant: time does not change it
    return mask_of(tree, columns.__getitem__)
