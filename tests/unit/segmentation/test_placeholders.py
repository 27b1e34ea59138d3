"""Placeholders in addresses: a restricted set, filled from the due time in the schedule's zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import UserError
from segmentation.placeholders import PLACEHOLDERS, check_placeholders, check_varies, fill
from segmentation.timetable import timetable

DUE_MS = int(datetime(2026, 12, 31, 23, 5, 7, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("placeholder", "utc", "tokyo"),
    [
        ("date", "2026-12-31", "2027-01-01"),
        ("yesterday", "2026-12-30", "2026-12-31"),
        ("time", "230507", "080507"),
        ("year", "2026", "2027"),
        ("month", "12", "01"),
        ("day", "31", "01"),
        ("hour", "23", "08"),
        ("minute", "05", "05"),
        ("due", "20261231T230507Z", "20261231T230507Z"),
    ],
)
def test_placeholders_are_filled_from_the_clock_of_the_zone(placeholder: str, utc: str, tokyo: str) -> None:
    template = f"crm/{{{placeholder}}}/vip-{{{placeholder}}}.csv"
    assert fill(template, DUE_MS, ZoneInfo("UTC")) == f"crm/{utc}/vip-{utc}.csv"
    assert fill(template, DUE_MS, ZoneInfo("Asia/Tokyo")) == f"crm/{tokyo}/vip-{tokyo}.csv"
    assert placeholder in PLACEHOLDERS


def test_address_without_placeholders_is_unchanged() -> None:
    assert fill("crm/100%/vip $1.csv", DUE_MS, ZoneInfo("UTC")) == "crm/100%/vip $1.csv"


@pytest.mark.parametrize(
    "template",
    [
        "vip-{user}.csv",
        "vip-{}.csv",
        "vip-{Date}.csv",
        "vip-{date!r}.csv",
        "vip-{date:%Y}.csv",
        "vip-{date.__class__}.csv",
        "vip-{0}.csv",
        "vip-{date",
        "vip-date}",
        "vip-{{date}}",
        "vip-<aws.scheduler.execution-id>.csv",
    ],
)
def test_unknown_placeholder_is_refused(template: str) -> None:
    with pytest.raises(UserError, match="BAD_PLACEHOLDER"):
        check_placeholders(template)
    with pytest.raises(UserError, match="BAD_PLACEHOLDER"):
        fill(template, DUE_MS, ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("template", "expression", "zone"),
    [
        ("s3://b/vip-{date}", "cron(0 9 * * ? *)", "Europe/Berlin"),
        ("s3://b/{year}/{month}/{day}", "rate(1 day)", "UTC"),
        ("s3://b/{yesterday}-{time}", "cron(0/15 * * * ? *)", "Europe/Berlin"),
        ("s3://b/{due}", "rate(1 minute)", "Europe/Berlin"),
        ("s3://b/{date}/{hour}", "rate(1 hour)", "UTC"),
        ("s3://b/{date}", "at(2027-01-01T00:00:00)", "UTC"),
    ],
)
def test_address_unique_for_each_run_is_accepted(template: str, expression: str, zone: str) -> None:
    check_varies(template, timetable(expression, zone, DUE_MS), DUE_MS)


@pytest.mark.parametrize(
    ("template", "expression", "zone", "says"),
    [
        ("s3://b/vip", "cron(0 9 * * ? *)", "UTC", "it has no date"),
        ("s3://b/{month}-{day}", "cron(0 9 * * ? *)", "UTC", "it has no date"),
        ("s3://b/{time}", "cron(0 9 * * ? *)", "UTC", "it has no date"),
        (
            "s3://b/{date}",
            "cron(0 9,17 * * ? *)",
            "UTC",
            "it is s3://b/2027-01-01 at both 2027-01-01T09:00:00+00:00 and",
        ),
        ("s3://b/{date}{hour}", "cron(0/30 * * * ? *)", "UTC", "add {time} or {due}"),
        ("s3://b/{date}{time}", "rate(1 hour)", "Europe/Berlin", "a local time may occur twice in Europe/Berlin"),
    ],
)
def test_address_shared_by_two_runs_is_refused(template: str, expression: str, zone: str, says: str) -> None:
    with pytest.raises(UserError, match="ADDRESS_REPEATS") as caught:
        check_varies(template, timetable(expression, zone, DUE_MS), DUE_MS)
    assert says in caught.value.message
