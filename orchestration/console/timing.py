"""Times of a schedule in words, and as the fields of a form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Final, assert_never

from orchestration.console.language import Texts
from orchestration.platform.clock import iso, now_ms
from schemas.errors import UserError
from segmentation.cron import (
    FIRST_YEAR,
    LAST_YEAR,
    Cron,
    DayRule,
    DaysOfMonth,
    DaysOfWeek,
    LastDay,
    LastOfWeekday,
    NearestWeekday,
    NthOfWeekday,
)
from segmentation.timetable import At, Rate, timetable

EVERY: Final = ("day", "weekdays", "week", "month", "hours", "minutes", "once", "expression")
"""How often: the choices of the form. `expression`: as EventBridge Scheduler writes it."""
WEEKDAYS: Final = (2, 3, 4, 5, 6, 7, 1)
"""From Monday on, as cron counts them."""
WORKDAYS: Final = (2, 3, 4, 5, 6)
ALL_HOURS: Final = tuple(range(24))
ALL_DAYS: Final = tuple(range(1, 32))
ALL_MONTHS: Final = tuple(range(1, 13))
ALL_YEARS: Final = tuple(range(FIRST_YEAR, LAST_YEAR + 1))
LISTED: Final = 6
"""As many times of a day are listed one by one."""
NEXT_RUNS: Final = 5
LAST: Final = "L"
UNITS_MS: Final = {"day": 86_400_000, "hour": 3_600_000, "minute": 60_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The fields of the form. `at`: HH:MM; `day`: of the month, or `L`, its last one; `once`: a local time."""

    every: str = "day"
    at: str = "06:00"
    weekday: str = "2"
    day: str = "1"
    number: str = "1"
    once: str = ""
    expression: str = ""
    timezone: str = "UTC"

    @classmethod
    def of(cls, form: Mapping[str, str]) -> "When":
        """As the form has them."""
        names = ("every", "at", "weekday", "day", "number", "once", "expression", "timezone")
        return cls(**{name: form[name].strip() for name in names if name in form})

    def text(self) -> str:
        """The expression. Raises `UserError` BAD_SCHEDULE for fields that make none."""
        if self.every == "expression":
            return self.expression
        if self.every == "once":
            return f"at({self.once}{':00' if self.once.count(':') == 1 else ''})"
        if self.every in {"minutes", "hours"}:
            number = int(self.number) if self.number.isascii() and self.number.isdecimal() else 0
            if not 1 <= number <= 999:
                raise _unfit("number", "a number from 1 to 999")
            return f"rate({number} {self.every if number > 1 else self.every[:-1]})"
        hour, colon, minute = self.at.partition(":")
        if not (colon and hour.isdecimal() and minute.isdecimal()):
            raise _unfit("at", "a time such as 06:00")
        days = {
            "day": "* * ?",
            "weekdays": "? * MON-FRI",
            "week": f"? * {self.weekday}",
            "month": f"{self.day} * ?",
        }.get(self.every)
        if days is None:
            raise _unfit("every", f"one of {', '.join(EVERY)}")
        return f"cron({int(minute)} {int(hour)} {days} *)"


def _unfit(field: str, wanted: str) -> UserError:
    return UserError("BAD_SCHEDULE", f"give {wanted}", field=field)


def when_of(expression: str, timezone: str) -> When:
    """The fields of an expression."""
    fields = {"every": "expression", "expression": expression}
    match timetable(expression, timezone, 0).expression:
        case At(text=text):
            fields = {"every": "once", "once": text[:16]}
        case Rate(every_ms=length) if unit := _unit(length, ("hour", "minute")):
            fields = {"every": f"{unit}s", "number": str(length // UNITS_MS[unit])}
        case Cron(minutes=(minute,), hours=(hour,), months=months, years=years, days=days):
            if (months, years) == (ALL_MONTHS, ALL_YEARS) and (found := _day_fields(days)):
                fields = {**found, "at": f"{hour:02}:{minute:02}"}
        case _:
            pass
    return When(**fields, timezone=timezone)


def _unit(length_ms: int, units: Sequence[str]) -> str | None:
    return next((unit for unit in units if length_ms % UNITS_MS[unit] == 0), None)


def _day_fields(days: DayRule) -> dict[str, str]:
    """Empty if the form has no fields for such days."""
    match days:
        case DaysOfMonth(named) if named == ALL_DAYS:
            return {"every": "day"}
        case DaysOfMonth((day,)):
            return {"every": "month", "day": str(day)}
        case LastDay():
            return {"every": "month", "day": LAST}
        case DaysOfWeek(named) if named == WORKDAYS:
            return {"every": "weekdays"}
        case DaysOfWeek((day,)):
            return {"every": "week", "weekday": str(day)}
        case _:
            return {}


def next_runs(expression: str, timezone: str) -> list[str]:
    """The next times. Raises `UserError` BAD_SCHEDULE, BAD_TIMEZONE."""
    now = now_ms()
    return [iso(at) for at in islice(timetable(expression, timezone, now).upcoming(now), NEXT_RUNS)]


def words_of(expression: str, timezone: str, t: Texts) -> str:
    """An expression in words, such as "every day at 06:00". Raises `UserError` BAD_SCHEDULE, BAD_TIMEZONE."""
    match found := timetable(expression, timezone, 0).expression:
        case At(text=text):
            return t("when.once", at=text.replace("T", " "))
        case Rate(every_ms=length):
            unit = _unit(length, tuple(UNITS_MS)) or "minute"
            return _every(length // UNITS_MS[unit], unit, t)
        case Cron():
            return _cron(found, t)
        case _:
            assert_never(found)


def _every(count: int, unit: str, t: Texts) -> str:
    return t(f"when.each_{unit}") if count == 1 else t(f"when.every_{unit}", count=count)


def _cron(cron: Cron, t: Texts) -> str:
    days, times = _days(cron.days, t), _times(cron, t)
    text = f"{days} {times}" if days else times
    if cron.months != ALL_MONTHS:
        text = t("when.in_months", text=text, months=t.comma.join(t(f"when.month.{one}") for one in cron.months))
    if cron.years != ALL_YEARS:
        text = t("when.in_years", text=text, years=_spans(cron.years))
    return text


def _times(cron: Cron, t: Texts) -> str:
    """The times of a day; of every day, unless days are named before them."""
    minutes, hours, everyday = cron.minutes, cron.hours, cron.days == DaysOfMonth(ALL_DAYS)
    if len(minutes) * len(hours) <= LISTED:
        listed = t.comma.join(f"{hour:02}:{minute:02}" for hour in hours for minute in minutes)
        return t("when.daily_at", times=listed) if everyday else t("when.at", times=listed)
    step = _step(minutes, 60)
    if hours == ALL_HOURS and step:
        return _every(step, "minute", t)
    if hours == ALL_HOURS and len(minutes) == 1:
        return t("when.hourly", minute=f"{minutes[0]:02}")
    if len(minutes) == 1 and minutes[0] == 0 and (every := _step(hours, 24)):
        return _every(every, "hour", t)
    return t("when.minutes_of_hours", minutes=_spans(minutes), hours=_spans(hours))


def _step(values: Sequence[int], length: int) -> int:
    """How far apart values are that divide a length evenly, from 0 on; 0 if they do not."""
    gaps = {later - one for one, later in pairwise((*values, length))}
    return gaps.pop() if values[0] == 0 and len(gaps) == 1 else 0


def _days(rule: DayRule, t: Texts) -> str:
    match rule:
        case DaysOfMonth(days):
            return "" if days == ALL_DAYS else t("when.on_days", days=_spans(days))
        case LastDay():
            return t("when.on_last_day")
        case NearestWeekday(day):
            return t("when.near_day", day=day)
        case DaysOfWeek(days):
            return (
                t("when.on_workdays")
                if days == WORKDAYS
                else t("when.on_weekdays", days=t.comma.join(_weekday(one, t) for one in WEEKDAYS if one in days))
            )
        case LastOfWeekday(day):
            return t("when.on_last_weekday", day=_weekday(day, t))
        case NthOfWeekday(day, nth):
            return t("when.on_nth_weekday", day=_weekday(day, t), nth=t(f"when.nth.{nth}"))
        case _:
            assert_never(rule)


def _weekday(day: int, t: Texts) -> str:
    return t(f"when.weekday.{day}")


def _spans(values: Sequence[int]) -> str:
    """1-3, 7."""
    spans: list[list[int]] = []
    for value in values:
        if spans and value == spans[-1][-1] + 1:
            spans[-1].append(value)
        else:
            spans.append([value])
    return ", ".join(str(one[0]) if len(one) == 1 else f"{one[0]}–{one[-1]}" for one in spans)
