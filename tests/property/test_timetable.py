"""Due times, compared with a walk through every minute by a reading of the rules that shares no code."""

import calendar
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from segmentation.timetable import timetable
from tests.examples import examples

Test = Callable[[int], bool]
DayTest = Callable[[date], bool]
NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
SHIFTS = (
    # zone, a day or two before its clocks change
    ("Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 10, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 3, tzinfo=UTC)),  # shifts by half an hour
    ("America/Sao_Paulo", datetime(2018, 2, 16, tzinfo=UTC)),  # goes back over midnight
    ("America/Sao_Paulo", datetime(2018, 11, 3, tzinfo=UTC)),  # skips midnight
    ("Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC)),  # skips the 30th
    ("Asia/Kathmandu", datetime(2026, 6, 1, tzinfo=UTC)),
    ("UTC", datetime(2026, 2, 27, tzinfo=UTC)),
)


@dataclass(frozen=True)
class Part:
    """A field and its meaning."""

    text: str
    holds: Test


@dataclass(frozen=True)
class Day:
    """Both day fields and their meaning."""

    text: tuple[str, str]
    holds: DayTest


def aws(day: date) -> int:
    """AWS' number of the weekday: 1 is Sunday."""
    return day.isoweekday() % 7 + 1


def part(low: int, high: int, draw: st.DrawFn) -> Part:  # noqa: PLR0911  # one for each way to write a field
    match draw(st.sampled_from(("*", "one", "list", "range", "from", "every", "range/"))):
        case "*":
            return Part("*", lambda _: True)
        case "list":
            values = draw(st.sets(st.integers(low, high), min_size=2, max_size=5))
            return Part(",".join(map(str, values)), lambda n: n in values)
        case "range":
            first, last = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
            return Part(f"{first}-{last}", lambda n: first <= n <= last)
        case "from":
            first, step = draw(st.tuples(st.integers(low, high), st.integers(1, high)))
            return Part(f"{first}/{step}", lambda n: n >= first and (n - first) % step == 0)
        case "every":
            step = draw(st.integers(1, high))
            return Part(f"*/{step}", lambda n: (n - low) % step == 0)
        case "range/":
            first, last = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
            step = draw(st.integers(1, high))
            return Part(f"{first}-{last}/{step}", lambda n: first <= n <= last and (n - first) % step == 0)
        case _:
            value = draw(st.integers(low, high))
            return Part(f"{value:02}", lambda n: n == value)


def nearest_weekday(wanted: int) -> DayTest:
    def holds(day: date) -> bool:
        if wanted > calendar.monthrange(day.year, day.month)[1]:
            return False
        target = day.replace(day=wanted)
        around = [target + timedelta(days=n) for n in (0, -1, 1, -2, 2)]
        return day == next(d for d in around if d.month == day.month and d.isoweekday() <= 5)

    return holds


@st.composite
def days(draw: st.DrawFn) -> Day:  # noqa: PLR0911  # one for each way to name days
    weekday = draw(st.integers(1, 7))
    shown = draw(st.sampled_from((str(weekday), NAMES[weekday - 1], NAMES[weekday - 1].lower())))
    match draw(st.sampled_from(("month", "week", "L", "wL", "L of week", "W", "#"))):
        case "month":
            of_month = part(1, 31, draw)
            return Day((of_month.text, "?"), lambda d: of_month.holds(d.day))
        case "week":
            chosen = draw(st.sets(st.integers(1, 7), min_size=1))
            return Day(("?", ",".join(NAMES[n - 1] for n in chosen)), lambda d: aws(d) in chosen)
        case "L":
            return Day(("L", "?"), lambda d: (d + timedelta(days=1)).day == 1)
        case "wL":
            return Day(("?", f"{shown}L"), lambda d: aws(d) == weekday and (d + timedelta(days=7)).month != d.month)
        case "L of week":
            return Day(("?", "L"), lambda d: d.isoweekday() == 6)
        case "W":
            wanted = draw(st.integers(1, 31))
            return Day((f"{wanted}W", "?"), nearest_weekday(wanted))
        case _:
            nth = draw(st.integers(1, 5))
            return Day(("?", f"{shown}#{nth}"), lambda d: aws(d) == weekday and (d.day - 1) // 7 + 1 == nth)


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@given(shift=st.sampled_from(SHIFTS), offset=st.integers(0, 3 * 1440), data=st.data())
@examples(100)
def test_due_times_match_a_walk_through_every_minute(
    shift: tuple[str, datetime], offset: int, data: st.DataObject
) -> None:
    zone, start = ZoneInfo(shift[0]), shift[1] + timedelta(minutes=offset)

    @st.composite
    def clock(draw: st.DrawFn) -> tuple[Part, Part]:
        return part(0, 59, draw), part(0, 23, draw)

    minute, hour = data.draw(clock())
    expected = []
    for number in range(1, 2 * 1440 + 1):
        at = start + timedelta(minutes=number)
        wall = at.astimezone(zone)
        if wall.fold == 0 and minute.holds(wall.minute) and hour.holds(wall.hour):
            expected.append(milliseconds(at))
    made = timetable(f"cron({minute.text} {hour.text} * * ? *)", shift[0], 0)
    end = milliseconds(start + timedelta(minutes=2 * 1440))
    assert list(takewhile(lambda due: due <= end, made.upcoming(milliseconds(start)))) == expected
    for moment in (start + timedelta(minutes=n, seconds=30) for n in range(0, 2 * 1440, 331)):
        before = [due for due in expected if due <= milliseconds(moment)]
        found = made.until(milliseconds(moment))
        if before:
            assert found == before[-1]
        else:
            assert found is None or found <= milliseconds(start)


@given(rule=days(), first=st.dates(date(1996, 1, 1), date(2098, 1, 1)), data=st.data())
@examples(300)
def test_days_match_a_walk_through_every_day(rule: Day, first: date, data: st.DataObject) -> None:
    @st.composite
    def calendar_parts(draw: st.DrawFn) -> tuple[Part, Part]:
        return part(1, 12, draw), part(first.year, first.year + 5, draw)

    month, year = data.draw(calendar_parts())
    walked = [first + timedelta(days=n) for n in range(1, 3 * 366)]
    expected = [d for d in walked if month.holds(d.month) and year.holds(d.year) and rule.holds(d)]
    years = year.text if year.text != "*" and "*" not in year.text else "*"
    if years == "*":
        expected = [d for d in walked if month.holds(d.month) and rule.holds(d)]
    made = timetable(f"cron(0 0 {rule.text[0]} {month.text} {rule.text[1]} {years})", "UTC", 0)
    start = milliseconds(datetime(first.year, first.month, first.day, tzinfo=UTC))
    end = start + 3 * 366 * 86_400_000 - 86_400_000
    found = takewhile(lambda due: due <= end, made.upcoming(start))
    assert [datetime.fromtimestamp(due / 1000, UTC).date() for due in found] == expected
    latest = made.until(end)
    if expected:
        assert latest == milliseconds(datetime.combine(expected[-1], datetime.min.time(), UTC))
    else:
        assert latest is None or latest <= start


@given(made_at=st.integers(0, 4 * 10**12), later=st.integers(-(10**12), 10**12), count=st.integers(1, 100_000))
def test_rate_is_due_at_its_start_and_at_whole_steps(made_at: int, later: int, count: int) -> None:
    made = timetable(f"rate({count} minutes)", "Europe/Berlin", made_at)
    first, step, at = made_at // 1000 * 1000, count * 60_000, made_at + later
    due, last = made.after(at), made.until(at)
    assert due is not None
    assert due > at
    assert (due - first) % step == 0
    assert due == first or due - step <= at
    assert (last is None) == (at < first)
    assert last is None or (last <= at < last + step and (last - first) % step == 0)
