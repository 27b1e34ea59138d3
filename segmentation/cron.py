"""Cron expressions in EventBridge Scheduler's syntax: `minutes hours day-of-month month day-of-week year`.

The rules are those of "Cron-based schedules" in its User Guide: 1 is Sunday, one of the two day fields is `?`, `L` is
the last day of the month or week (`6L` the month's last Friday), `3W` the weekday nearest to the 3rd, `6#3` the third
Friday. Forms that the guide does not show (`LW`, `L-3`, ranges that wrap around, lists of `L`, `W` or `#`) are refused:
an expression accepted here must be accepted there, with the same meaning.
"""

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Final, NoReturn, assert_never

from schemas.errors import UserError

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199
SATURDAY: Final = 7
_NUMBER: Final = re.compile(r"\d{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """The values that one field allows."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)
    steps: bool = True

    def refuse(self, text: str, why: str) -> NoReturn:
        """Raises `UserError` BAD_SCHEDULE."""
        raise UserError("BAD_SCHEDULE", f"{self.name} {text[:80]!r} {why}", field=self.name, value=text[:80])

    def number(self, text: str) -> int:
        """One value, as a number or a name."""
        value = self.names.get(text)
        if value is None and _NUMBER.fullmatch(text):
            value = int(text)
        if value is None or not self.low <= value <= self.high:
            named = f" or {next(iter(self.names))} to {list(self.names)[-1]}" if self.names else ""
            self.refuse(text, f"is not a number from {self.low} to {self.high}{named}")
        return value

    def values(self, text: str) -> tuple[int, ...]:
        """A list of values, ranges and steps, sorted."""
        return tuple(sorted({value for part in text.split(",") for value in self._part(part)}))

    def _part(self, text: str) -> range:
        span, slash, step = text.partition("/")
        if slash and not self.steps:
            self.refuse(text, "has a step, which this field does not accept; list the values")
        first, dash, last = span.partition("-")
        if span == "*":
            values = range(self.low, self.high + 1)
        elif dash:
            values = range(self.number(first), self.number(last) + 1)
            if not values:
                self.refuse(text, "is a range that ends before it begins; list its two parts")
        else:
            values = range(self.number(span), (self.high if slash else self.number(span)) + 1)
        if not slash:
            return values
        if not _NUMBER.fullmatch(step) or not 1 <= int(step) <= self.high:
            self.refuse(text, f"has a step that is not a number from 1 to {self.high}")
        return values[:: int(step)]


_MONTH_NAMES: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS: Final = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_MINUTE: Final = _Field(name="minutes", low=0, high=59)
_HOUR: Final = _Field(name="hours", low=0, high=23)
_DAY: Final = _Field(name="day-of-month", low=1, high=31)
_MONTH: Final = _Field(name="month", low=1, high=12, names=_MONTHS)
_WEEKDAY: Final = _Field(name="day-of-week", low=1, high=7, names=_DAYS, steps=False)
_YEAR: Final = _Field(name="year", low=FIRST_YEAR, high=LAST_YEAR)
FIELDS: Final = tuple(f.name for f in (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _YEAR))


@dataclass(frozen=True, slots=True)
class DaysOfMonth:
    """`1,15`, `1-7`, `*`."""

    days: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LastDay:
    """`L`."""


@dataclass(frozen=True, slots=True)
class NearestWeekday:
    """`3W`: Monday to Friday, in the same month; no day in a month without that date."""

    day: int


@dataclass(frozen=True, slots=True)
class DaysOfWeek:
    """`MON-FRI`; 1 is Sunday."""

    days: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LastOfWeekday:
    """`6L`: the last Friday of the month."""

    day: int


@dataclass(frozen=True, slots=True)
class NthOfWeekday:
    """`6#3`: the third Friday of the month; `6#5` is no day in a month without a fifth one."""

    day: int
    nth: int


DayRule = DaysOfMonth | LastDay | NearestWeekday | DaysOfWeek | LastOfWeekday | NthOfWeekday


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Minutes of a wall clock, from 1970 to 2199, without a time zone."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: DayRule
    months: tuple[int, ...]
    years: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Cron":
        """Six fields, separated by white space. Raises `UserError` BAD_SCHEDULE, which names the field."""
        parts = text.upper().split()
        if len(parts) != len(FIELDS):
            raise UserError(
                "BAD_SCHEDULE",
                f"cron has {len(parts)} fields, not the six {', '.join(FIELDS)}, as in cron(0 9 * * ? *)",
                value=text[:80],
            )
        minutes, hours, day, month, weekday, years = parts
        return cls(
            text=" ".join(parts),
            minutes=_MINUTE.values(minutes),
            hours=_HOUR.values(hours),
            days=_day_rule(day, weekday),
            months=_MONTH.values(month),
            years=_YEAR.values(years),
        )

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Every time later than a moment of the same wall clock, in order."""
        for day in self._days(moment.date(), backwards=False):
            yield from (at for at in self._times(day) if at > moment)

    def until(self, moment: datetime) -> Iterator[datetime]:
        """Every time up to a moment of the same wall clock, the latest first."""
        for day in self._days(moment.date(), backwards=True):
            yield from (at for at in reversed(self._times(day)) if at <= moment)

    def _days(self, start: date, *, backwards: bool) -> Iterator[date]:
        step = -1 if backwards else 1
        for year in self.years[::step]:
            if (year < start.year) if not backwards else (year > start.year):
                continue
            for month in self.months[::step]:
                for day in days_of(self.days, year, month)[::step]:
                    found = date(year, month, day)
                    if (found <= start) if backwards else (found >= start):
                        yield found

    def _times(self, day: date) -> list[datetime]:
        return [datetime.combine(day, time(hour, minute)) for hour in self.hours for minute in self.minutes]


def days_of(rule: DayRule, year: int, month: int) -> list[int]:
    """The days of one month, in order."""
    first, length = calendar.monthrange(year, month)  # 0 is Monday

    def weekday(day: int) -> int:
        return (first + day) % 7 + 1  # 1 is Sunday

    match rule:
        case DaysOfMonth(days):
            return [day for day in days if day <= length]
        case LastDay():
            return [length]
        case NearestWeekday(day):
            return [_nearest(day, weekday(day), length)] if day <= length else []
        case DaysOfWeek(days):
            return [day for day in range(1, length + 1) if weekday(day) in days]
        case LastOfWeekday(wanted):
            return [next(day for day in range(length, 0, -1) if weekday(day) == wanted)]
        case NthOfWeekday(wanted, nth):
            return [day for day in range(1, length + 1) if weekday(day) == wanted][nth - 1 : nth]
        case _:
            assert_never(rule)


def _nearest(day: int, weekday: int, length: int) -> int:
    if weekday == SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == 1:
        return day + 1 if day < length else day - 2
    return day


def _day_rule(day: str, weekday: str) -> DayRule:
    if (day == "?") == (weekday == "?"):
        both = "both are" if day == "?" else "neither is"
        raise UserError(
            "BAD_SCHEDULE",
            f"day-of-month {day!r} and day-of-week {weekday!r}: one of the two must be '?', but {both}",
            value=f"{day} {weekday}"[:80],
        )
    return _month_days(day) if weekday == "?" else _week_days(weekday)


def _month_days(text: str) -> DayRule:
    if text == "L":
        return LastDay()
    if text.endswith("W") and _NUMBER.fullmatch(text[:-1]):
        return NearestWeekday(_DAY.number(text[:-1]))
    return DaysOfMonth(_DAY.values(text))


def _week_days(text: str) -> DayRule:
    if text == "L":
        return DaysOfWeek((SATURDAY,))
    if text.endswith("L") and "," not in text and "-" not in text:
        return LastOfWeekday(_WEEKDAY.number(text[:-1]))
    if "#" in text:
        wanted, _, nth = text.partition("#")
        if nth not in {"1", "2", "3", "4", "5"}:
            _WEEKDAY.refuse(text, "is not one day of the week with '#' and a number from 1 to 5")
        return NthOfWeekday(_WEEKDAY.number(wanted), int(nth))
    return DaysOfWeek(_WEEKDAY.values(text))
