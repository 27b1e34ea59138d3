"""Calendar days as spans of time."""

from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from schemas.errors import UserError
from segmentation.expressions.literals import first_moment

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
    return Day(first_moment(value, timezone), first_moment(value + timedelta(days=1), timezone))


def check_day(value: date) -> None:
    """Raise `UserError` BAD_RULE for a day not entirely within the years 1 to 9999."""
    if not FIRST <= value <= LAST:
        raise UserError("BAD_RULE", f"{value.isoformat()} is not from {FIRST.isoformat()} to {LAST.isoformat()}")
