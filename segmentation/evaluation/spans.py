"""From when to when a test that follows the clock is true of each user, computed when the profile changes.

Between two changes of the profile such a test is true from one instant on until another: both follow from the value.
So time alone changes an answer at these instants, as it does when an event leaves a window. Anniversaries come again:
then the next span follows from the day, once the one before has ended.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segmentation.evaluation.columns import LONG_AGO, NEVER, Columns, Flags, Micros, Users, grown
from segmentation.expressions.literals import EPOCH, SECOND_US, first_moment, micros
from segmentation.rules.days import FIRST, LAST, day_of
from segmentation.rules.relative import (
    MAX_YEARS,
    Anniversary,
    AttributeCondition,
    Between,
    DayBound,
    Distance,
    Near,
    Today,
    TodayComparison,
)
from segmentation.rules.typed import LATEST

DAY_US: Final = 24 * 60 * 60 * SECOND_US
EPOCH_DAY: Final = EPOCH.date().toordinal()
NO_DAY: Final = np.iinfo(np.int32).min
Days = npt.NDArray[np.int64]
"""Days, numbered from 1970-01-01, or `NO_DAY`."""
Span = tuple[Micros, Micros]
"""From when to when something is true of each of n users; never if the first instant is `NEVER`."""


class Spans:
    """Of each user, when a test is true: at T with `enter` <= T < `leave`, or if it is inverted, at any other T."""

    def __init__(self, condition: AttributeCondition, timezone: str | None) -> None:
        self._condition = condition
        self._timezone = timezone
        self._inverted = isinstance(condition, TodayComparison) and condition.operator == "!="
        self._enter: Micros = np.zeros(0, np.int64)
        self._leave: Micros = np.zeros(0, np.int64)
        self._days: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        """Of anniversaries alone: the day that comes again."""

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._enter.nbytes + self._leave.nbytes + self._days.nbytes

    def grow(self, users: int) -> None:
        """Make room for users; the test is false of those who are new, as it is without a value."""
        self._enter = grown(self._enter, users, LONG_AGO if self._inverted else NEVER)
        self._leave = grown(self._leave, users, NEVER)
        if isinstance(self._condition, Anniversary):
            self._days = grown(self._days, users, NO_DAY)

    def set(self, users: Users, dates: pa.Array, timestamps: pa.Array, at_us: int) -> None:
        """Set the values of users who have room, as of an instant; of a user who comes several times, the last wins.

        A value is a date, a timestamp or neither (null).
        """
        match self._condition:
            case Near(distance=distance):
                enter, leave = _near(distance, self._timezone, dates, timestamps)
            case Anniversary():
                days = _days(dates, timestamps, str(self._timezone))
                self._days[users] = days
                enter, leave = _next(self._condition, days, np.full(len(users), at_us), str(self._timezone))
            case _:
                days = _days(dates, timestamps, str(self._timezone))
                enter, leave = _compared(self._condition, days, str(self._timezone))
        self._enter[users] = enter
        self._leave[users] = leave

    def true(self, users: Users, at: Micros) -> Flags:
        """bool[n]: whether the test is true of each user, each at the user's own instant."""
        inside: Flags = (self._enter[users] <= at) & (at < self._leave[users])
        return ~inside if self._inverted else inside

    def due(self, users: Users, at: Micros) -> Micros:
        """int64[n]: when the answer changes next after an instant, or `NEVER`. Spans that have ended are renewed."""
        if isinstance(self._condition, Anniversary):
            ended = at >= self._leave[users]
            again = users[ended]
            span = _next(self._condition, self._days[again].astype(np.int64), at[ended], str(self._timezone))
            self._enter[again], self._leave[again] = span
        return next_change(self._enter[users], self._leave[users], at)

    def columns(self, users: int) -> Columns:
        """Columns of the first users, which `take_over` reads."""
        columns = {"enter": self._enter[:users], "leave": self._leave[:users]}
        return {**columns, "days": self._days[:users]} if isinstance(self._condition, Anniversary) else columns

    def take_over(self, columns: Columns) -> None:
        """Inverse of `columns`."""
        self._enter, self._leave = columns["enter"], columns["leave"]
        self._days = columns.get("days", self._days)


def next_change(enter: Micros, leave: Micros, at: Micros) -> Micros:
    """int64[n]: the first end of each span after an instant, or `NEVER`."""
    return np.where(at < enter, enter, np.where(at < leave, leave, NEVER))


def next_change_of(condition: AttributeCondition, timezone: str | None, value: object, at: datetime) -> datetime | None:
    """When time alone changes next, after an instant, the result of a test that follows the clock; None: never.

    The value may be of any type; only dates and timestamps (aware) meet such a test.
    """
    spans, user, now = Spans(condition, timezone), np.zeros(1, np.int32), micros(at)
    spans.grow(1)
    is_time = isinstance(value, datetime)
    dates = pa.array([value if isinstance(value, date) and not is_time else None], pa.date32())
    spans.set(user, dates, pa.array([value if is_time else None], pa.timestamp("us", "UTC")), now)
    due = int(spans.due(user, np.array([now]))[0])
    return None if due >= micros(LATEST) else EPOCH + timedelta(microseconds=due)


def span_of(times: Micros, distance: Distance) -> Span:
    """When times (none of them `NEVER` or `LONG_AGO`) are so far from T."""
    after_s, until_s = distance.after_s, distance.until_s
    enter = np.full(len(times), LONG_AGO) if until_s is None else times - until_s * SECOND_US
    return enter, np.full(len(times), NEVER) if after_s is None else times - after_s * SECOND_US


def _near(distance: Distance, timezone: str | None, dates: pa.Array, timestamps: pa.Array) -> Span:
    times, of_time = _plain(timestamps, pa.int64())
    enter, leave = span_of(times, distance)
    enter = np.where(of_time, enter, NEVER)
    if distance.is_of_days:
        days, of_day = _plain(dates, pa.int32())
        of_days = _while(np.where(of_day, days, NO_DAY), distance.day_bounds, str(timezone))
        enter, leave = np.where(of_day, of_days[0], enter), np.where(of_day, of_days[1], leave)
    return enter, leave


def _compared(condition: AttributeCondition, days: Days, timezone: str) -> Span:
    """Of a comparison with `!=`, when it is false of days; without one, that is always."""
    match condition:
        case TodayComparison(operator="!=", value=today):
            enter, leave = _while(days, (("=", today.days),), timezone)
            return np.where(days == NO_DAY, LONG_AGO, enter), leave
        case TodayComparison(operator=operator, value=today):
            return _while(days, ((operator, today.days),), timezone)
        case Between(low=low, high=high):
            moving: list[DayBound] = []
            if isinstance(low, Today):
                moving.append((">=", low.days))
            elif isinstance(low, date):
                days = np.where(days >= _number(low), days, NO_DAY)
            if isinstance(high, Today):
                moving.append(("<=", high.days))
            elif isinstance(high, date):
                days = np.where(days <= _number(high), days, NO_DAY)
            return _while(days, moving, timezone)
        case _:
            raise TypeError(f"time alone does not change {condition}")


def _while(days: Days, bounds: Iterable[DayBound], timezone: str) -> Span:
    """When all comparisons of days with a day relative to today are true; never of `NO_DAY`."""
    enter, leave = np.full(len(days), LONG_AGO), np.full(len(days), NEVER)
    for operator, shift in bounds:
        on = days - shift  # the day, relative to today, is today's when today is this one
        if operator in ("<=", "=", "<"):
            enter = np.maximum(enter, _begin(on + (operator == "<"), timezone))
        if operator in (">=", "=", ">"):
            leave = np.minimum(leave, _begin(on + (operator != ">"), timezone))
    return np.where(days == NO_DAY, NEVER, enter), np.where(days == NO_DAY, NEVER, leave)


def _next(condition: Anniversary, days: Days, at: Micros, timezone: str) -> Span:
    """The span of the anniversary that ends next after each user's instant."""
    instants, number = np.unique(at, return_inverse=True)
    today = np.array([_number(day_of(EPOCH + timedelta(microseconds=int(us)), timezone)) for us in instants], np.int64)
    not_before = today[number] + condition.first_day
    year, month, of_month = _parts(days)
    next_year = np.maximum(_parts(not_before)[0], year + 1)
    anniversary = _on(next_year, month, of_month)
    next_year += anniversary < not_before
    anniversary = _on(next_year, month, of_month)
    comes = (days != NO_DAY) & (next_year - year <= MAX_YEARS)
    anniversary = np.where(comes, anniversary, NO_DAY)
    enter = np.where(comes, _begin(anniversary - condition.last_day, timezone), NEVER)
    return enter, np.where(comes, _begin(anniversary - condition.first_day + 1, timezone), NEVER)


def _parts(days: Days) -> tuple[Days, Days, Days]:
    """The year, the month since its beginning and the day of the month, both from 0."""
    dates = np.where(days == NO_DAY, 0, days).astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    years = dates.astype("datetime64[Y]")
    month = (months - years.astype("datetime64[M]")).astype(np.int64)
    return years.astype(np.int64), month, (dates - months.astype("datetime64[D]")).astype(np.int64)


def _on(year: Days, month: Days, of_month: Days) -> Days:
    """The day of a year; of 29 February in a year without one, the 28th."""
    months = year.astype("datetime64[Y]").astype("datetime64[M]") + month
    last = (months + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    found: Days = np.minimum(months.astype("datetime64[D]") + of_month, last).astype(np.int64)
    return found


def _days(dates: pa.Array, timestamps: pa.Array, timezone: str) -> Days:
    """The day of each date, and that which each timestamp is in: the last that has begun in the zone."""
    days, of_day = _plain(dates, pa.int32())
    times, of_time = _plain(timestamps, pa.int64())
    latest = np.where(of_time, times // DAY_US + 1, NO_DAY)
    while (later := of_time & (times < _begin(latest, timezone))).any():
        latest -= later
    return np.where(of_day, days, latest)


def _begin(days: Days, timezone: str) -> Micros:
    """The first moment of each day; beyond the years that there are, `LONG_AGO` or `NEVER`."""
    distinct, number = np.unique(days, return_inverse=True)
    return np.array([_first_moment(day, timezone) for day in distinct.tolist()], np.int64)[number]


@lru_cache(200_000)
def _first_moment(day: int, timezone: str) -> int:
    if not _number(FIRST) <= day <= _number(LAST):
        return LONG_AGO if day < 0 else NEVER
    return micros(first_moment(date.fromordinal(day + EPOCH_DAY), timezone))


def _number(day: date) -> int:
    return day.toordinal() - EPOCH_DAY


def _plain(values: pa.Array, type_: pa.DataType) -> tuple[npt.NDArray[np.int64], Flags]:
    """The numbers of values (0 for null), and which are there."""
    present = values.is_valid().to_numpy(zero_copy_only=False)
    numbers = values.cast(type_).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers, present
