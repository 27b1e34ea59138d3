"""Aggregates over a property of a user's events: sums, averages, extremes, and how many different values there are.

They take the numbers of events, in a window or of all time; events whose property is no number are not there. Of a sum
and an average only the latest events count, and a number as a whole count of ten-thousandths, half away from zero, so
that no answer depends on the order of events. Of the copies of an event that differ, the greatest number counts.

An extreme needs neither: `max(amount of purchase, 30d) >= 100` is whether there is an event with `amount >= 100`. So a
least or greatest number is that of any copy.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

from schemas.errors import UserError
from segmentation.expressions.literals import literal
from segmentation.expressions.nodes import Comparison
from segmentation.rules.events import MAX_WINDOW_S, Events, OnEvents, check_name
from segmentation.rules.sequences import MAX_LATEST

Function = Literal["sum", "avg", "min", "max"]
Bounded = Literal["sum", "avg"]
"""Of the latest events only."""
Sign = Literal[">=", ">", "<=", "<", "="]
COMPARED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "=": operator.eq,
}
STEPS: Final = 10_000
"""Sums are in steps of 0.0001."""
MAX_NUMBER: Final = 9 * 10**11
"""Larger numbers are left out of sums and averages: 1,000 numbers in steps fit into 64 bits."""
UNASKED: Final = frozenset(
    {"average", "maximum", "mean", "median", "minimum", "mode", "percentile", "quantile", "stddev", "total", "variance"}
)
"""Names of aggregates in other languages."""
NumberT = TypeVar("NumberT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Total(OnEvents):
    """`sum(amount of purchase, 30d) >= 100`, `avg(amount of purchase) < 20`. `of`: the property.

    An event counts if at most `latest` of the events with a number are at or after it, up to T. An average of no events
    compares as false, a sum of none is 0.
    """

    function: Bounded
    of: str
    operator: Sign
    value: float
    within_s: int | None
    latest: int = MAX_LATEST

    def __post_init__(self) -> None:
        _check(self.of, self.events, self.within_s)
        if not 1 <= self.latest <= MAX_LATEST:
            raise _bad(f"the latest 1 to {MAX_LATEST:,} events count")
        most = MAX_NUMBER * (MAX_LATEST if self.function == "sum" else 1)
        if not -most <= self.value <= most:
            raise _bad(f"{'a sum' if self.function == 'sum' else 'an average'} is compared with up to {most:,}")
        if self.steps != Decimal(repr(self.value)) * STEPS:
            raise _bad(f"sums are in steps of 0.0001: {literal(float(self.value))} is between two of them")

    @property
    def true_without_events(self) -> bool:
        """See `OnEvents`."""
        return bool(self.met(0, 0))

    @property
    def steps(self) -> int:
        """The number that is compared with."""
        return int(Decimal(repr(self.value)) * STEPS)

    def met(self, total: NumberT, numbers: NumberT) -> Any:
        """Whether a total, in steps, of so many numbers is as the condition says; also for columns of both."""
        compared = COMPARED[self.operator]
        if self.function == "sum":
            return compared(total, self.steps)
        return (numbers > 0) & compared(total, self.steps * numbers)  # type: ignore[operator]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extreme(OnEvents):
    """`max(amount of purchase, 30d) >= 100`, `min(amount of purchase) < 5`; false without a number."""

    function: Literal["min", "max"]
    of: str
    operator: Sign
    value: float
    within_s: int | None

    def __post_init__(self) -> None:
        _check(self.of, self.events, self.within_s)

    @property
    def true_without_events(self) -> bool:
        """See `OnEvents`."""
        return False

    @property
    def reached(self) -> Events:
        """Events that there are if it is true."""
        return self._compared(self.operator)

    @property
    def beyond(self) -> Events | None:
        """Events that there are not if it is true; None if others than `reached` do not matter."""
        if self.operator in ((">", ">=") if self.function == "max" else ("<", "<=")):
            return None
        opposite: dict[Sign, Sign] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
        return self._compared(opposite.get(self.operator, ">" if self.function == "max" else "<"))

    def _compared(self, sign: Sign) -> Events:
        test = Comparison(column=self.of, type="double", operator=sign, value=self.value)
        events = self.events
        return Events(event=events.event, where=(*events.where, test), since=events.since, before=events.before)


def aggregate(
    function: Function,
    *,
    of: str,
    events: Events,
    operator: Sign,
    value: float,
    within_s: int | None,
    latest: int = MAX_LATEST,
) -> Total | Extreme:
    """The condition of a function. `latest`: of a sum or an average."""
    if function == "min" or function == "max":  # noqa: PLR1714  # narrows the type
        return Extreme(function=function, of=of, events=events, operator=operator, value=value, within_s=within_s)
    return Total(
        function=function, of=of, events=events, operator=operator, value=value, within_s=within_s, latest=latest
    )


def no_aggregate(function: str) -> str:
    """Why there is no such function."""
    return f"{function} over events cannot be asked; count, sum, avg, min, max, distinct can"


def _check(name: str, events: Events, within_s: int | None) -> None:
    check_name("property", name)
    if within_s is not None and events.since is not None:
        raise _bad("between takes the place of the window")
    if within_s is not None and not 1 <= within_s <= MAX_WINDOW_S:
        raise _bad(f"a window is from 1s to 366d, not {within_s:,} seconds")


def _bad(what: str) -> UserError:
    return UserError("BAD_RULE", what)
