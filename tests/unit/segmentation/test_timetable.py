"""EventBridge Scheduler's expressions, with the examples of its User Guide, and the errors for invalid ones."""

from datetime import UTC, datetime
from itertools import islice

import pytest

from schemas.errors import UserError
from segmentation.timetable import timetable

BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def due(expression: str, after: str, count: int, zone: str = "UTC") -> list[str]:
    times = timetable(expression, zone, ms(after))
    return [
        datetime.fromtimestamp(at / 1000, times.zone).isoformat() for at in islice(times.upcoming(ms(after)), count)
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(15 10 * * ? *)", ["2026-11-25T10:15", "2026-11-26T10:15", "2026-11-27T10:15"]),
        ("cron(0 18 ? * MON-FRI *)", ["2026-11-25T18:00", "2026-11-26T18:00", "2026-11-27T18:00", "2026-11-30T18:00"]),
        ("cron(0 8 1 * ? *)", ["2026-12-01T08:00", "2027-01-01T08:00"]),
        ("cron(1/5 12 ? JAN SUN 2027)", ["2027-01-03T12:01", "2027-01-03T12:06", "2027-01-03T12:11"]),
        ("cron(0/10 8-9 ? * 4 *)", ["2026-11-25T08:00", "2026-11-25T08:10"]),
        ("cron(0 0 L * ? *)", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-31T00:00", "2027-02-28T00:00"]),
        ("cron(0 0 ? * L *)", ["2026-11-28T00:00", "2026-12-05T00:00"]),
        ("cron(0 0 ? * 6L *)", ["2026-11-27T00:00", "2026-12-25T00:00", "2027-01-29T00:00"]),
        ("cron(0 0 ? * tuel *)", ["2026-12-29T00:00", "2027-01-26T00:00"]),
        ("cron(0 0 ? * 3#2 *)", ["2026-12-08T00:00", "2027-01-12T00:00"]),
        ("cron(0 0 ? * FRI#5 *)", ["2027-01-29T00:00", "2027-04-30T00:00"]),
        ("cron(0 0 3W * ? *)", ["2026-12-03T00:00", "2027-01-04T00:00"]),
        ("cron(0 0 1W 5 ? *)", ["2027-05-03T00:00", "2028-05-01T00:00"]),  # the 1st is a Saturday: not back to April
        ("cron(0 0 31W JAN,FEB ? *)", ["2027-01-29T00:00", "2028-01-31T00:00"]),  # February has no 31st
        ("cron(0 0 29 2 ? *)", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("cron(0 0 1 1 ? 2027/10)", ["2027-01-01T00:00", "2037-01-01T00:00"]),
    ],
)
def test_cron_expressions_are_due_when_aws_says(expression: str, expected: list[str]) -> None:
    found = due(expression, "2026-11-25T05:00:00", len(expected))
    assert found == [f"{text}:00+00:00" for text in expected]


def test_cron_can_expire_or_never_be_due() -> None:
    assert due("cron(0 0 1 1 ? 2027-2028)", "2027-06-01T00:00:00", 5) == ["2028-01-01T00:00:00+00:00"]
    assert due("cron(0 0 30 2 ? *)", "2026-01-01T00:00:00", 1) == []
    never = timetable("cron(0 0 30 2 ? *)", "UTC", 0)
    assert never.until(ms("2199-12-31T00:00:00")) is None


def test_skipped_local_time_is_never_due() -> None:
    assert due("cron(30 2 * * ? *)", "2026-03-28T12:00:00", 2, BERLIN) == [
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ]


def test_repeated_local_time_is_due_once() -> None:
    assert due("cron(0/30 2 * * ? *)", "2026-10-24T12:00:00", 3, BERLIN) == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:00:00+01:00",
    ]
    times = timetable("cron(0/30 2 * * ? *)", BERLIN, 0)
    assert times.until(ms("2026-10-25T02:10:00+01:00")) == ms("2026-10-25T02:30:00+02:00")


def test_rate_counts_from_creation_in_days_of_24_hours() -> None:
    assert due("rate(1 day)", "2026-10-24T09:30:00", 2, BERLIN) == [
        "2026-10-25T10:30:00+01:00",
        "2026-10-26T10:30:00+01:00",
    ]
    times = timetable("rate(90 minutes)", "UTC", ms("2026-11-25T09:00:00") + 789)
    assert times.after(0) == ms("2026-11-25T09:00:00")
    assert times.after(ms("2026-11-25T09:00:00")) == ms("2026-11-25T10:30:00")
    assert (times.until(ms("2026-11-25T08:59:59")), times.until(ms("2026-11-25T12:00:00"))) == (
        None,
        ms("2026-11-25T12:00:00"),
    )


def test_at_is_due_once_in_its_zone() -> None:
    times = timetable("at(2026-12-01T00:00:00)", "Asia/Tokyo", 0)
    moment = ms("2026-11-30T15:00:00")
    assert (times.after(moment - 1), times.after(moment)) == (moment, None)
    assert (times.until(moment - 1), times.until(moment)) == (None, moment)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" rate( 5  minute ) ", "rate(5 minutes)"),
        ("rate(1 hours)", "rate(1 hour)"),
        ("cron(0  9 ?\t* mon-fri *)", "cron(0 9 ? * MON-FRI *)"),
        ("at(2026-12-01T00:00:00)", "at(2026-12-01T00:00:00)"),
    ],
)
def test_expression_is_stored_in_aws_form(given: str, kept: str) -> None:
    assert timetable(given, "UTC", 0).text == kept


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("daily", "it is not of the form rate("),
        ("cron(0 9 * * ? *", "it is not of the form rate("),
        ("rate(5 minutes) " + " " * 256, "it is not of the form rate("),
        ("rate(0 minutes)", "rate '0 minutes' is not a number from 1"),
        ("rate(-1 hours)", "rate '-1 hours' is not a number from 1"),
        ("rate(1.5 hours)", "rate '1.5 hours' is not a number from 1"),
        ("rate(30 seconds)", "rate '30 seconds' is not a number from 1"),
        ("rate(1 week)", "rate '1 week' is not a number from 1"),
        ("at(2026-02-30T00:00:00)", "at '2026-02-30T00:00:00' is not a time"),
        ("at(2026-12-01T00:00:00Z)", "at '2026-12-01T00:00:00Z' is not a time"),
        ("at(2026-12-01)", "at '2026-12-01' is not a time"),
        ("at(2200-01-01T00:00:00)", "at '2200-01-01T00:00:00' is not a time"),
        ("at(2026-03-29T02:30:00)", "this time does not exist in Europe/Berlin"),
        ("cron(0 9 * * *)", "minutes, hours, day-of-month, month, day-of-week, year, as in cron(0 9 * * ? *)"),
        ("cron(60 9 * * ? *)", "minutes '60' is not a number from 0 to 59"),
        ("cron(0 24 * * ? *)", "hours '24' is not a number from 0 to 23"),
        ("cron(0 9 0 * ? *)", "day-of-month '0' is not a number from 1 to 31"),
        ("cron(0 9 1 MAI ? *)", "month 'MAI' is not a number from 1 to 12 or JAN to DEC"),
        ("cron(0 9 ? * 0 *)", "day-of-week '0' is not a number from 1 to 7 or SUN to SAT"),
        ("cron(0 9 ? * MON 1969)", "year '1969' is not a number from 1970 to 2199"),
        ("cron(0 9 * * * *)", "one of the two must be '?', but neither is"),
        ("cron(0 9 ? * ? *)", "one of the two must be '?', but both are"),
        ("cron(? 9 * * ? *)", "minutes '?' is not a number"),
        ("cron(0 9 ? * FRI-MON *)", "day-of-week 'FRI-MON' is a range that ends before it begins"),
        ("cron(0,,5 9 * * ? *)", "minutes '' is not a number"),
        ("cron(0/0 9 * * ? *)", "minutes '0/0' has a step that is not a number from 1 to 59"),
        ("cron(0/ 9 * * ? *)", "minutes '0/' has a step that is not a number from 1 to 59"),
        ("cron(0 9 ? * MON/2 *)", "day-of-week 'MON/2' has a step, which this field does not accept"),
        ("cron(0 9 LW * ? *)", "day-of-month 'LW' is not a number"),
        ("cron(0 9 L-3 * ? *)", "day-of-month 'L' is not a number"),
        ("cron(0 9 1,15W * ? *)", "day-of-month '15W' is not a number"),
        ("cron(0 9 32W * ? *)", "day-of-month '32' is not a number"),
        ("cron(0 9 ? * 3#6 *)", "day-of-week '3#6' is not one day of the week with '#' and a number from 1 to 5"),
        ("cron(0 9 ? * 3#1,6#3 *)", "day-of-week '3#1,6#3' is not one day of the week"),
        ("cron(0 9 ? * 8L *)", "day-of-week '8' is not a number"),
        ("cron(٣ 9 * * ? *)", "minutes '٣' is not a number"),
        ("cron(0 9 * * ? *); rm -rf /", "it is not of the form rate("),
    ],
)
def test_invalid_expression_is_refused_with_the_reason(expression: str, says: str) -> None:
    with pytest.raises(UserError, match="BAD_SCHEDULE") as caught:
        timetable(expression, BERLIN, 0)
    assert caught.value.code == "BAD_SCHEDULE"
    assert says in caught.value.message


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Olympus", "Europe", "../../etc/passwd", "/etc/localtime", "localtime", "posixrules", "A" * 51, "\0"],
)
def test_non_iana_zone_is_refused(zone: str) -> None:
    with pytest.raises(UserError, match="BAD_TIMEZONE"):
        timetable("rate(1 day)", zone, 0)
