"""Due times of a schedule: `rate(...)`, `cron(...)` and `at(...)` in a time zone, as in EventBridge Scheduler.

- `rate(2 hours)` is due when the schedule is created and every two hours from then; a day is 24 hours of real time.
- `cron(...)` and `at(...)` are wall-clock times of the zone. A time skipped by the clock in spring is skipped; one that
  it shows twice in autumn is due once, the first time.
Times are milliseconds since 1970 UTC, at whole seconds.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import UserError
from segmentation.cron import FIRST_YEAR, LAST_YEAR, Cron

EXPRESSION_MAX: Final = 256
ZONE_MAX: Final = 50
"""Limits of CreateSchedule."""
FORMS: Final = "rate(N minutes|hours|days), cron(MINUTES HOURS DAY MONTH WEEKDAY YEAR) or at(YYYY-MM-DDTHH:MM:SS)"
_FORM: Final = re.compile(r"\s*(rate|cron|at)\s*\((.*)\)\s*", re.ASCII | re.DOTALL)
_RATE: Final = re.compile(r"([0-9]{1,9})\s+(minute|hour|day)s?", re.ASCII)
_AT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]*", re.ASCII)
_NOT_ZONES: Final = frozenset({"localtime", "posixrules"})
"""Files beside the zones that are not zones."""
_UNIT_MS: Final = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_END_MS: Final = int(datetime(LAST_YEAR, 12, 31, tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Every `every_ms` from the creation of the schedule."""

    every_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Once."""

    moment: datetime
    text: str


Expression = Rate | Cron | At


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """An expression in a zone. `created_at_ms`: creation of the schedule, where a rate starts."""

    expression: Expression
    zone: ZoneInfo
    created_at_ms: int

    @property
    def text(self) -> str:
        """The expression in its stored form: names in capitals, single spaces."""
        kind = {Rate: "rate", Cron: "cron", At: "at"}[type(self.expression)]
        return f"{kind}({self.expression.text})"

    def upcoming(self, after_ms: int) -> Iterator[int]:
        """All due times later than `after_ms`, in order."""
        match self.expression:
            case Rate(every_ms=every):
                first = whole_second(self.created_at_ms)
                yield from range(max(first, first + ((after_ms - first) // every + 1) * every), _END_MS, every)
            case At(moment=moment):
                yield from (due for due in (_milliseconds(moment, self.zone),) if due > after_ms)
            case Cron():
                for moment in self.expression.after(self._wall(after_ms)):
                    if (due := self._due(moment)) is not None and due > after_ms:
                        yield due
            case _:
                assert_never(self.expression)

    def after(self, after_ms: int) -> int | None:
        """The first due time later than `after_ms`. None if there is none."""
        return next(self.upcoming(after_ms), None)

    def until(self, until_ms: int) -> int | None:
        """The last due time not later than `until_ms`. None if there is none."""
        match self.expression:
            case Rate(every_ms=every):
                first = whole_second(self.created_at_ms)
                return None if until_ms < first else first + (until_ms - first) // every * every
            case At(moment=moment):
                due = _milliseconds(moment, self.zone)
                return due if due <= until_ms else None
            case Cron():
                wall = self._wall(until_ms)
                if wall.fold:  # a time that the clock shows twice is due the first time, so look beyond `wall`
                    wall += timedelta(days=1)
                found = (self._due(moment) for moment in self.expression.until(wall))
                return next((due for due in found if due is not None and due <= until_ms), None)
            case _:
                assert_never(self.expression)

    def _wall(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, self.zone).replace(tzinfo=None)

    def _due(self, moment: datetime) -> int | None:
        return _milliseconds(moment, self.zone) if _exists(moment, self.zone) else None


def timetable(expression: str, zone: str, created_at_ms: int) -> Timetable:
    """Parse an expression. Raises `UserError` BAD_SCHEDULE, which names the fault, and BAD_TIMEZONE."""
    found = _FORM.fullmatch(expression)
    if found is None or len(expression) > EXPRESSION_MAX:
        raise _bad(expression, f"it is not of the form {FORMS}")
    tz = time_zone(zone)
    try:
        parsed = Timetable(expression=_READERS[found[1]](found[2].strip()), zone=tz, created_at_ms=created_at_ms)
    except UserError as exc:
        raise _bad(expression, exc.message, **exc.detail) from exc
    if isinstance(parsed.expression, At) and not _exists(parsed.expression.moment, tz):
        raise _bad(expression, f"this time does not exist in {zone}")
    return parsed


def time_zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises `UserError` BAD_TIMEZONE."""
    try:
        if len(name) <= ZONE_MAX and _ZONE.fullmatch(name) and name not in _NOT_ZONES:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is an OSError
        pass
    raise UserError("BAD_TIMEZONE", f"{name[:80]!r} is not an IANA time zone", timezone=name[:80])


def whole_second(at_ms: int) -> int:
    """A time without its fraction of a second; EventBridge Scheduler gives due times in seconds."""
    return at_ms // 1000 * 1000


def _rate(text: str) -> Rate:
    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise UserError("BAD_SCHEDULE", f"rate {text[:80]!r} is not a number from 1 and minutes, hours or days")
    number, unit = int(found[1]), found[2]
    return Rate(every_ms=number * _UNIT_MS[unit], text=f"{number} {unit}{'' if number == 1 else 's'}")


def _at(text: str) -> At:
    try:
        moment = datetime.fromisoformat(text) if _AT.fullmatch(text) else None
    except ValueError:  # the 30th of February
        moment = None
    if moment is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise UserError(
            "BAD_SCHEDULE",
            f"at {text[:80]!r} is not a time YYYY-MM-DDTHH:MM:SS, without a zone (which is given separately)",
            value=text[:80],
        )
    return At(moment=moment, text=moment.isoformat())


_READERS: Final[Mapping[str, Callable[[str], Expression]]] = {"rate": _rate, "cron": Cron.parse, "at": _at}


def _milliseconds(moment: datetime, zone: ZoneInfo) -> int:
    return int(moment.replace(tzinfo=zone).timestamp()) * 1000


def _exists(moment: datetime, zone: ZoneInfo) -> bool:
    shown = datetime.fromtimestamp(moment.replace(tzinfo=zone).timestamp(), zone)
    return shown.replace(tzinfo=None, fold=0) == moment


def _bad(expression: str, why: str, **detail: object) -> UserError:
    return UserError("BAD_SCHEDULE", f"{expression[:EXPRESSION_MAX]}: {why}", **{"expression": expression, **detail})
