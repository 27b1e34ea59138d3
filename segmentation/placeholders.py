"""Placeholders in the addresses of recurring imports and exports, filled with the due time of a run."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from schemas.errors import UserError
from segmentation.timetable import Rate, Timetable

_FILLERS: Final[Mapping[str, Callable[[datetime], str]]] = {
    "date": lambda at: at.strftime("%Y-%m-%d"),
    "yesterday": lambda at: (at.date() - timedelta(days=1)).isoformat(),
    "time": lambda at: at.strftime("%H%M%S"),
    "year": lambda at: at.strftime("%Y"),
    "month": lambda at: at.strftime("%m"),
    "day": lambda at: at.strftime("%d"),
    "hour": lambda at: at.strftime("%H"),
    "minute": lambda at: at.strftime("%M"),
    "due": lambda at: at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"),
}
PLACEHOLDERS: Final = tuple(_FILLERS)
_BRACED: Final = re.compile(r"\{([^{}]*)\}")
_SCHEDULER_PREFIX: Final = "<aws."
"""EventBridge Scheduler replaces words with this prefix by its own values, wherever they stand."""
_COMPLETE_DATES: Final = ({"date"}, {"yesterday"}, {"due"}, {"year", "month", "day"})
RUNS_COMPARED: Final = 100
"""Runs whose addresses must differ: a month of days, a day of quarter-hours."""


def check_placeholders(template: str) -> frozenset[str]:
    """The placeholders of an address. Raises `UserError` BAD_PLACEHOLDER."""
    names = frozenset(_BRACED.findall(template))
    if unknown := sorted(names - _FILLERS.keys()):
        raise _bad(template, f"{{{unknown[0][:40]}}} is not a placeholder; known are {_listed(PLACEHOLDERS)}")
    if set(_BRACED.sub("", template)) & set("{}"):
        raise _bad(template, "it has a brace that is not part of a placeholder")
    if _SCHEDULER_PREFIX in template:
        raise _bad(template, f"it has {_SCHEDULER_PREFIX!r}, which EventBridge Scheduler would replace")
    return names


def fill(template: str, due_ms: int, zone: ZoneInfo) -> str:
    """The address of the run due at `due_ms`. Raises `UserError` BAD_PLACEHOLDER."""
    check_placeholders(template)
    due = datetime.fromtimestamp(due_ms / 1000, zone)
    return _BRACED.sub(lambda found: _FILLERS[found[1]](due), template)


def check_varies(template: str, times: Timetable, now_ms: int) -> None:
    """Check that an address differs from run to run, over the next `RUNS_COMPARED` runs.

    Raises `UserError` ADDRESS_REPEATS, which names two runs with the same address, and BAD_PLACEHOLDER.
    """
    names = check_placeholders(template)
    if not any(date_names <= names for date_names in _COMPLETE_DATES):
        raise _repeats(template, "it has no date; add {date} or {due}")
    if isinstance(times.expression, Rate) and times.zone.key != "UTC" and "due" not in names:
        raise _repeats(template, f"a local time may occur twice in {times.zone.key}; add {{due}} (UTC)")
    seen: dict[str, int] = {}
    for due in islice(times.upcoming(now_ms), RUNS_COMPARED):
        address = fill(template, due, times.zone)
        if address in seen:
            one, other = (datetime.fromtimestamp(at / 1000, times.zone).isoformat() for at in (seen[address], due))
            raise _repeats(template, f"it is {address} at both {one} and {other}; add {{time}} or {{due}}")
        seen[address] = due


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)


def _bad(template: str, why: str) -> UserError:
    return UserError("BAD_PLACEHOLDER", f"{template[:200]}: {why}", address=template[:200])


def _repeats(template: str, why: str) -> UserError:
    return UserError(
        "ADDRESS_REPEATS",
        f"{template[:200]} would be the same for several runs, but exports are never overwritten: {why}",
        address=template[:200],
    )
