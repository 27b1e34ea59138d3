"""Answers to conditions, over whole columns: counts in a window, tests of properties and attributes."""

from datetime import timedelta
from functools import reduce
from typing import Final, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import ColumnType
from segmentation.evaluation.batches import EventBatch, ProfileBatch
from segmentation.evaluation.columns import Flags, Micros, Users
from segmentation.evaluation.latest import NEVER, NONE, Rows
from segmentation.evaluation.plan import AttributeTest, fact
from segmentation.evaluation.state import State
from segmentation.expressions.literals import EPOCH
from segmentation.expressions.masks import mask_of
from segmentation.expressions.nodes import Presence
from segmentation.rules.nodes import Count, Events, Ever, Never, Rule, RuleCondition, Seen
from segmentation.rules.typed import OF_EVENTS, OF_PROFILES, typed

MICROS: Final = 1_000_000


class Answers:
    """What rules say of some users, n of them, distinct and ascending, each at an instant of its own (`at`).

    What several rules ask is looked up once: where events are, when the N-th latest was, what a condition says.
    """

    def __init__(self, state: State, users: Users, at: Micros) -> None:
        self.users = users
        self.at = at
        self.known = state.known[users]
        self._state = state
        self._rows: dict[Events, Rows] = {}
        self._times: dict[tuple[Events, int], Micros] = {}
        self._holds: dict[RuleCondition, Flags] = {}

    def is_in(self, rule: Rule) -> Flags:
        """bool[n]: whom a rule is true of."""
        out: Flags | None = None
        for group in rule.groups:
            one = reduce(np.logical_or, (self.holds(condition, rule) for condition in group.conditions))
            one = ~one if group.negated else one
            out = one if out is None else out & one
        assert out is not None  # noqa: S101  # a rule has at least one group
        return out

    def holds(self, condition: RuleCondition, rule: Rule) -> Flags:
        """bool[n]: of whom a condition of a rule is true. Of users, only events stay the same while rules are asked."""
        match condition:
            case Count() | Ever() | Never() | Seen():
                if condition not in self._holds:
                    self._holds[condition] = self._of_events(condition)
                return self._holds[condition]
            case _:
                return self._state.true[fact(condition, rule)][self.users]  # type: ignore[index]  # events are above

    def deadline(self, count: Count, ranks: tuple[int, ...], of: Flags) -> tuple[Rows, Micros]:
        """When the answer changes if nothing more comes: when the next event of one of the ranks gets too old.

        For those of the users that are meant by `of`: where their events are, and when that is.
        """
        window = count.within_s * MICROS
        at = self.at[of]
        out = np.full(len(at), NEVER, np.int64)
        for rank in ranks:
            nth = self.times(count.events, rank)[of]
            np.minimum(out, nth + window, out=out, where=nth > at - window)
        return self.rows(count.events)[of], out

    def rows(self, kind: Events) -> Rows:
        """int32[n]: where the events of a kind are, -1 for users without one."""
        if kind not in self._rows:
            self._rows[kind] = self._state.latest[kind].rows(self.users)
        return self._rows[kind]

    def times(self, kind: Events, rank: int) -> Micros:
        """int64[n]: when the event of a rank (1: the latest) was, `LONG_AGO` where there are fewer."""
        if (kind, rank) not in self._times:
            self._times[kind, rank] = self._state.latest[kind].times(self.rows(kind), rank)
        return self._times[kind, rank]

    def _of_events(self, condition: Count | Ever | Never | Seen) -> Flags:
        if isinstance(condition, Count):
            return self._count(condition)
        rows = self.rows(condition.events)
        there: Flags = rows != NONE
        match condition:
            case Ever():
                return there
            case Never():
                return ~there
            case Seen():
                first = condition.which == "first"
                seen = self._state.latest[condition.events].first(rows) if first else self.times(condition.events, 1)
                moment = (condition.moment - EPOCH) // timedelta(microseconds=1)
                return there & ((seen < moment) if condition.bound == "before" else (seen >= moment))
            case _:
                assert_never(condition)

    def _count(self, count: Count) -> Flags:
        """N are within the window if the N-th latest is."""
        since = self.at - count.within_s * MICROS

        def at_least(times: int) -> Flags:
            return np.ones(len(self.users), np.bool_) if times == 0 else self.times(count.events, times) > since

        match count.quantity:
            case "at_least":
                return at_least(count.times)
            case "at_most":
                return ~at_least(count.times + 1)
            case "exactly":
                return at_least(count.times) & ~at_least(count.times + 1)
            case _:
                assert_never(count.quantity)


def matching(kind: Events, batch: EventBatch) -> Flags:
    """bool[n]: which events of a batch have the properties that are asked for, whatever their name."""
    columns: dict[str, pa.Array] = {}

    def column(name: str, type_: ColumnType) -> str:
        columns[f"{type_} {name}"] = batch.values(name, type_)
        return f"{type_} {name}"

    masks = (mask_of(typed(test, OF_EVENTS, column, None), columns.__getitem__) for test in kind.where)
    return reduce(np.logical_and, masks, np.ones(len(batch.occurred_at), np.bool_))


def attribute_mask(test: AttributeTest, batch: ProfileBatch) -> Flags:
    """bool[n]: what a test says of each change, taken for itself."""
    columns: dict[str, pa.Array] = {}

    def column(name: str, type_: ColumnType) -> str:
        values = batch.values(name, type_)
        columns[f"{type_} {name}"] = pc.if_else(pa.array(~batch.deleted), values, pa.scalar(None, values.type))
        return f"{type_} {name}"

    return mask_of(typed(test.condition, OF_PROFILES, column, test.timezone), columns.__getitem__)


def of_nothing(test: AttributeTest) -> bool:
    """What a test says of a profile without attributes."""
    return isinstance(test.condition, Presence) and not test.condition.present
