"""Evaluates conditions over whole columns: counts in a window, tests of properties and attributes."""

from datetime import timedelta
from functools import reduce
from typing import Final, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity_columns import ATTRIBUTE_TYPES, PROPERTY_TYPES
from schemas.columns import ColumnType
from segmentation.evaluation.batches import EventBatch, ProfileBatch
from segmentation.evaluation.columns import Flags, Micros, Users
from segmentation.evaluation.latest import NONE, Rows
from segmentation.evaluation.plan import AttributeTest, fact
from segmentation.evaluation.state import State
from segmentation.expressions.literals import EPOCH
from segmentation.expressions.masks import mask_of
from segmentation.rules.nodes import Count, Events, Ever, Group, Never, Rule, RuleCondition, Seen
from segmentation.rules.typed import typed

MICROS: Final = 1_000_000
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
        self._rows: dict[Events, Rows] = {}

    def rows(self, kind: Events) -> Rows:
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

    def deadlines(self, count: Count, ranks: tuple[int, ...], indices: Indices) -> tuple[Rows, Micros]:
        """When the answer changes if no more events arrive: the next event of one of the ranks leaves the window.

        For the users in `indices`: the rows of their events, and the deadlines.
        """
        rows, window = self.rows(count.events)[indices], count.within_s * MICROS
        return rows, self._state.latest[count.events].leaving(rows, self.at[indices], window, ranks)

    def _group(self, group: Group, rule: Rule, indices: Indices) -> Flags:
        one = reduce(np.logical_or, (self._holds(condition, rule, indices) for condition in group.conditions))
        return ~one if group.negated else one

    def _holds(self, condition: RuleCondition, rule: Rule, indices: Indices) -> Flags:
        match condition:
            case Count():
                return self._count(condition, indices)
            case Ever():
                return self._has(condition.events, indices)
            case Never():
                return ~self._has(condition.events, indices)
            case Seen():
                rows, latest = self.rows(condition.events)[indices], self._state.latest[condition.events]
                seen = latest.first(rows) if condition.which == "first" else latest.times(rows, 1)
                moment = (condition.moment - EPOCH) // timedelta(microseconds=1)
                met: Flags = (seen < moment) if condition.bound == "before" else (seen >= moment)
                return self._has(condition.events, indices) & met
            case _:
                flag_fact = fact(condition, rule)
                return self._state.true[flag_fact][self.users[indices]]  # type: ignore[index]  # events are above

    def _has(self, kind: Events, indices: Indices) -> Flags:
        has: Flags = self.rows(kind)[indices] != NONE
        return has

    def _count(self, count: Count, indices: Indices) -> Flags:
        """N events are within the window if the N-th latest is."""
        latest, rows, at = self._state.latest[count.events], self.rows(count.events)[indices], self.at[indices]

        def at_least(times: int) -> Flags:
            return latest.within(rows, at, count.within_s * MICROS, times)

        match count.quantity:
            case "at_least":
                return at_least(count.times)
            case "at_most":
                return ~at_least(count.times + 1)
            case "exactly":
                return ~at_least(count.times + 1) & (at_least(count.times) if count.times else np.True_)
            case _:
                assert_never(count.quantity)


def event_mask(kind: Events, batch: EventBatch) -> Flags:
    """bool[n]: True for events of a batch with the required properties, whatever their name."""
    columns: dict[str, pa.Array] = {}

    def column(name: str, type_: ColumnType) -> str:
        columns[f"{type_} {name}"] = batch.values(name, type_)
        return f"{type_} {name}"

    masks = (mask_of(typed(test, PROPERTY_TYPES, column, None), columns.__getitem__) for test in kind.where)
    return reduce(np.logical_and, masks, np.ones(len(batch.occurred_at), np.bool_))


def attribute_mask(test: AttributeTest, batch: ProfileBatch) -> Flags:
    """bool[n]: result of a test on each change by itself."""
    columns: dict[str, pa.Array] = {}

    def column(name: str, type_: ColumnType) -> str:
        values = batch.values(name, type_)
        columns[f"{type_} {name}"] = pc.if_else(pa.array(~batch.deleted), values, pa.scalar(None, values.type))
        return f"{type_} {name}"

    return mask_of(typed(test.condition, ATTRIBUTE_TYPES, column, test.timezone), columns.__getitem__)
