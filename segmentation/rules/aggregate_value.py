"""The value of an aggregate for a user, and when the answer changes next."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from segmentation.expressions.literals import SECOND_US
from segmentation.rules.aggregates import COMPARED, STEPS, Extreme, Total
from segmentation.rules.nodes import Distinct

Aggregate = Total | Extreme | Distinct


class Counted(NamedTuple):
    """What counts, as `sql.counted_sql` says: a number, or a value (without its number), and its moment."""

    us: int
    number: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregated:
    """`value`: None without any number. `changes_us`: when the answer changes if no further event comes, or None."""

    value: float | None
    changes_us: int | None


class _State:
    """Of what came so far."""

    def __init__(self) -> None:
        self.count = 0
        self.total: float = 0
        self.least: float | None = None
        self.greatest: float | None = None

    def add(self, number: float) -> None:
        self.count += 1
        self.total += number
        self.least = number if self.least is None else min(self.least, number)
        self.greatest = number if self.greatest is None else max(self.greatest, number)

    def value(self, condition: Aggregate) -> float | None:
        match condition:
            case Distinct():
                return self.count
            case Extreme(function=function):
                return self.least if function == "min" else self.greatest
            case Total(function="sum"):
                return self.total / STEPS
            case Total():
                return None if self.count == 0 else round(self.total / self.count / STEPS, 4)

    def met(self, condition: Aggregate) -> bool:
        match condition:
            case Distinct(quantity=quantity, times=times):
                signs = {"at_least": ">=", "at_most": "<=", "exactly": "="}
                return bool(COMPARED[signs[quantity]](self.count, times))
            case Extreme(operator=sign, value=bound):
                value = self.value(condition)
                return value is not None and bool(COMPARED[sign](value, bound))
            case Total():
                return bool(condition.met(self.total, self.count))


def aggregated(condition: Aggregate, found: Iterable[Counted]) -> Aggregated:
    """The value from all that counts at an instant; what is at one moment leaves the window together."""
    state, leaving = _State(), list[tuple[int, bool]]()
    latest_first = sorted(found, key=lambda one: one.us, reverse=True)
    for us, together in groupby(latest_first, key=lambda one: one.us):
        leaving.append((us, state.met(condition)))  # what the answer is without them and all before them
        for one in together:
            state.add(one.number)
    now = state.met(condition)
    changing = [us for us, met in leaving if met != now]
    changes = None if condition.within_s is None or not changing else min(changing) + condition.within_s * SECOND_US
    return Aggregated(value=state.value(condition), changes_us=changes)
