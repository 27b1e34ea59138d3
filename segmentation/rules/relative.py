"""Conditions on an attribute that follow the clock: near now, compared with today, or between two values.

They stay relative in a rule, which means the same at every instant T. A timestamp moves by exact seconds; a date by
whole days of the rule's zone, and today counts both as past and as to come.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from schemas.columns import ColumnType
from schemas.errors import UserError
from segmentation.expressions.nodes import Comparison, Condition, OneOf, Operator, Presence, Value

DAY_S: Final = 24 * 60 * 60
MAX_DAYS: Final = 36_600
"""Maximum distance from now or today: a hundred years."""
MAX_YEARS: Final = 150
"""The last anniversary that is asked about."""
MAX_ANNIVERSARY_DAYS: Final = 90

DayBound = tuple[Operator, int]
"""A comparison of a day with the day that is so many days after today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """`today`, `today + 7d`: the day that T is in, plus some days."""

    days: int = 0

    def __post_init__(self) -> None:
        if abs(self.days) > MAX_DAYS:
            raise _bad(f"a day is up to {MAX_DAYS:,} days from today, not {abs(self.days):,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far from T a time is: in (T + `after_s`, T + `until_s`]; None: without an end."""

    after_s: int | None
    until_s: int | None

    def __post_init__(self) -> None:
        ends = [end for end in (self.after_s, self.until_s) if end is not None]
        if not ends:
            raise _bad("a time near now has at least one of after_s and until_s")
        if max(map(abs, ends)) > MAX_DAYS * DAY_S:
            raise _bad(f"a time is up to {MAX_DAYS:,} days from now")
        if self.after_s is not None and self.until_s is not None:
            if self.after_s >= self.until_s:
                raise _bad("after_s is less than until_s")
            if self.after_s < 0 < self.until_s:
                raise _bad("both ends are in the past, or both are to come, as in: seen in last 7d or seen in next 7d")

    @property
    def is_of_days(self) -> bool:
        """Whether dates can be so far: part of a day never is."""
        return not any(end % DAY_S for end in (self.after_s, self.until_s) if end is not None)

    @property
    def day_bounds(self) -> tuple[DayBound, ...]:
        """The bounds of dates: `in last 7d` is today and the six days before, `in next 7d` today and the six after."""
        bounds: list[DayBound] = []
        if self.after_s is not None:
            bounds.append((">" if self.after_s < 0 else ">=", self.after_s // DAY_S))
        if self.until_s is not None:
            bounds.append(("<=" if self.until_s <= 0 else "<", self.until_s // DAY_S))
        return tuple(bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """`signed_up in last 7d`, `expires > now`."""

    column: str
    distance: Distance


@dataclass(frozen=True, slots=True, kw_only=True)
class TodayComparison:
    """`ends >= today`: a date, or the day of a timestamp, is compared with a day."""

    column: str
    operator: Operator
    value: Today


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """`age between 18 and 30`, `ends between today and today + 7d`: both ends are included, days as a whole.

    `type`: of the ends; `date` if one of them is relative to today.
    """

    column: str
    type: ColumnType
    low: Value | Today
    high: Value | Today

    def __post_init__(self) -> None:
        if self.type == "boolean":
            raise _bad("true and false have no order: use = or !=")
        ends = self.low, self.high
        days = [end.days for end in ends if isinstance(end, Today)]
        values = [end for end in ends if not isinstance(end, Today)]
        for low, high in (*pairwise(days), *pairwise(values)):
            if low > high:  # type: ignore[operator]  # both of `type`
                raise _bad("nothing is between these: write the lower end first")

    @property
    def is_relative(self) -> bool:
        """Whether an end moves with T."""
        return isinstance(self.low, Today) or isinstance(self.high, Today)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anniversary:
    """`anniversary(born) in next 7d`: one to `MAX_YEARS` years after the value comes a day from today + `first_day` on.

    It comes at the latest today + `last_day`. One of the ends is today: the other is up to `MAX_ANNIVERSARY_DAYS` - 1
    days away. That of 29 February is 28 February in years without one. A timestamp counts by its day.
    """

    column: str
    first_day: int
    last_day: int

    def __post_init__(self) -> None:
        if self.first_day > self.last_day or (self.first_day and self.last_day):
            raise _bad("days of an anniversary begin or end today: first_day or last_day is 0")
        if self.last_day - self.first_day >= MAX_ANNIVERSARY_DAYS:
            raise _bad(f"days of an anniversary are at most {MAX_ANNIVERSARY_DAYS}")


AttributeCondition = Condition | Near | TodayComparison | Between | Anniversary
"""A test of an attribute (`column`)."""


def is_relative(condition: AttributeCondition) -> bool:
    """Whether time alone changes the answer of a test."""
    match condition:
        case Between():
            return condition.is_relative
        case _:
            return isinstance(condition, Near | TodayComparison | Anniversary)


def compares_days(condition: AttributeCondition) -> bool:
    """Whether the answer of a test depends on when days begin: it then needs a time zone."""
    match condition:
        case Near(distance=distance):
            return distance.is_of_days
        case TodayComparison() | Anniversary():
            return True
        case Comparison(type=type_) | OneOf(type=type_) | Between(type=type_):
            return type_ == "date"
        case Presence():
            return False


def _bad(what: str) -> UserError:
    return UserError("BAD_RULE", what)
