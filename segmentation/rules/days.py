"""Calendar days as spans of time."""

from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from schemas.errors import UserError
from segmentation.expressions.literals import first_moment
from segmentation.timetable import time_zone

DAY: Final = timedelta(days=1)
FIRST: Final = date(1, 1, 2)
LAST: Final = date(9999, 12, 29)
"""Days that begin and end within the years 1 to 9999 in every zone."""


class Day(NamedTuple):
    """From `begins`, inclusive, to `ends`, exclusive, in UTC. Empty if the clock skips the whole day."""

    begins: datetime
    ends: datetime


def day(value: date, timezone: str) -> Day:
    """A day in a zone (IANA). Raises `UserError` BAD_RULE for a day that `check_day` refuses, and BAD_TIMEZONE."""
    check_day(value)
    return Day(first_moment(value, timezone), first_moment(value + DAY, timezone))


def day_of(at: datetime, timezone: str) -> date:
    """The day that an instant is in: the last that has begun, also where the clock was set back over midnight."""
    found = min(max(at.astimezone(time_zone(timezone)).date(), FIRST), LAST)
    while found < LAST and first_moment(found + DAY, timezone) <= at:
        found += DAY
    return found


def shifted(day_: date, days: int) -> date:
    """A day that is some days later, or the last or first that `check_day` accepts."""
    return date.fromordinal(min(max(day_.toordinal() + days, FIRST.toordinal()), LAST.toordinal()))


def years_before(given: date, years: int) -> date:
    """The first day whose anniversary after so many years is a day or later; that of 29 February may be the 28th."""
    try:
        return given.replace(year=given.year - years)
    except ValueError:  # there is no 29 February
        return date(given.year - years, 3, 1)


def check_day(value: date) -> None:
    """Raise `UserError` BAD_RULE for a day not entirely within the years 1 to 9999."""
    if not FIRST <= value <= LAST:
        raise UserError("BAD_RULE", f"{value.isoformat()} is not from {FIRST.isoformat()} to {LAST.isoformat()}")
