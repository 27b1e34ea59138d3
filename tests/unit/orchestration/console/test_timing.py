"""Times of schedules in words and as fields, and the forms that create and edit schedules."""

import pytest

from orchestration.console.language import Texts
from orchestration.console.timing import When, when_of, words_of
from schemas.errors import UserError
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, BUYERS, NIGHTLY, VIP, World
from tests.unit.orchestration.console.pages import _schedule_revision
from tests.unit.orchestration.console.test_segments import send, text_of

SCHEDULES = "/console/tenants/acme/schedules"
NEW = f"{SCHEDULES}/new"


@pytest.mark.parametrize(
    ("expression", "english", "japanese"),
    [
        ("cron(0 6 * * ? *)", "every day at 06:00", "毎日 06:00"),
        ("cron(30 9 ? * MON-FRI *)", "from Monday to Friday at 09:30", "月曜から金曜の 09:30 に"),
        ("cron(0 6,18 ? * SUN,MON *)", "every Monday, Sunday at 06:00, 18:00", "毎週 月曜、日曜 06:00、18:00 に"),
        ("cron(0 6 1,15-17 * ? *)", "on day 1, 15–17 of the month at 06:00", "毎月 1, 15–17 日 06:00 に"),
        ("cron(0 6 L * ? *)", "on the last day of the month at 06:00", "毎月末日 06:00 に"),
        ("cron(0 6 3W * ? *)", "on the workday nearest to day 3 of the month at 06:00", None),
        ("cron(0 6 ? * 6L *)", "on the last Friday of the month at 06:00", None),
        ("cron(0 6 ? * 6#3 *)", "on the third Friday of the month at 06:00", "毎月第 3 金曜 06:00 に"),
        ("cron(0 6 * 1,7 ? *)", "every day at 06:00, in January, July", "1 月、7 月 の 毎日 06:00"),
        ("cron(0 6 * * ? 2027)", "every day at 06:00, in 2027", None),
        ("cron(0/15 * * * ? *)", "every 15 minutes", "15 分ごと"),
        ("cron(5 * * * ? *)", "every hour, at minute 05", "毎時 05 分"),
        ("cron(0 0/2 * * ? *)", "every 2 hours", None),
        ("cron(0,7 * * * ? *)", "at minutes 0, 7 of hours 0–23", None),
        ("rate(1 hour)", "every hour", "1 時間ごと"),
        ("rate(90 minutes)", "every 90 minutes", "90 分ごと"),
        ("rate(2 days)", "every 2 days", "2 日ごと"),
        ("at(2030-01-01T06:00:00)", "once, at 2030-01-01 06:00:00", None),
    ],
)
def test_expression_is_put_into_words(expression: str, english: str, japanese: str | None) -> None:
    assert words_of(expression, "UTC", Texts("en")) == english
    assert japanese in {None, words_of(expression, "UTC", Texts("ja"))}


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 6 * * ? *)",
        "cron(30 9 ? * MON-FRI *)",
        "cron(0 6 ? * 3 *)",
        "cron(0 6 15 * ? *)",
        "cron(0 6 L * ? *)",
        "cron(0/7 6 ? * 6#3 2027)",
        "rate(1 hour)",
        "rate(45 minutes)",
        "at(2030-01-01T06:00:00)",
    ],
)
def test_fields_make_the_expression_that_made_them(expression: str) -> None:
    when = when_of(expression, "Asia/Tokyo")
    assert (when.text(), when.timezone) == (expression, "Asia/Tokyo")


@pytest.mark.parametrize("when", [When(at="soon"), When(every="hours", number="0"), When(every="never")])
def test_fields_that_make_no_expression_are_refused(when: When) -> None:
    with pytest.raises(UserError, match="give"):
        when.text()


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        (f"kind=import&audience={VIP}&source=s3://crm/acme/vip-{{date}}.csv", "s3://crm/acme/vip-{date}.csv → vip"),
        (f"kind=build&audience=frequent&mode=append&sql=FROM+{VIP}", "FROM vip → frequent"),
        (f"kind=snapshot&segment={BUYERS}&audience=", "buyers → buyers-snapshot"),
        (f"kind=export&audience={VIP}&place=address&to=s3://crm/acme/out-{{date}}/&format=csv", "vip → s3://crm/acme/"),
    ],
)
def test_schedule_of_each_kind_is_created_and_edited_by_form(
    client: AsgiClient, world: World, form: str, shown: str
) -> None:
    created = send(client, world, NEW, f"{form}&name=weekly&every=week&weekday=2&at=06:30", "acme-admin")
    assert (created.status, created.headers["location"]) == (303, SCHEDULES)
    page = text_of(send(client, world, SCHEDULES, caller="acme-admin"))
    assert shown in page
    assert "every Monday at 06:30" in page
    edit = send(client, world, f"{SCHEDULES}/weekly/edit", caller="acme-admin").body.decode()
    seen = edit.partition('name="seen" value="')[2].partition('"')[0]
    changed = f"{form}&every=day&at=07:00&timezone=Asia/Tokyo&seen={seen}"
    assert send(client, world, f"{SCHEDULES}/weekly/edit", changed, "acme-admin").status == 303
    found = world.services.schedules.get(ACME, "weekly")
    assert (found.expression, found.timezone) == ("cron(0 7 * * ? *)", "Asia/Tokyo")
    stale = send(client, world, f"{SCHEDULES}/weekly/edit", changed, "acme-admin")
    assert "STALE_ETAG" in stale.body.decode()


def test_times_are_shown_in_words_while_the_form_is_filled(client: AsgiClient, world: World) -> None:
    part = send(client, world, f"{SCHEDULES}/times", "every=month&day=L&at=23:15&timezone=UTC", "acme-admin")
    assert "on the last day of the month at 23:15" in text_of(part)
    assert part.body.decode().count("T23:15:00") == 5
    wrong = send(client, world, f"{SCHEDULES}/times", "every=expression&expression=daily", "acme-admin")
    assert "is not of the form" in text_of(wrong)


def test_edit_changes_only_the_times_it_shows(client: AsgiClient, world: World) -> None:
    form = f"source=s3://crm/acme/vip.csv&every=day&at=05:00&seen={_schedule_revision(world).partition('=')[2]}"
    assert send(client, world, f"{SCHEDULES}/{NIGHTLY}/edit", form, "acme-admin").status == 303
    assert world.services.schedules.get(ACME, NIGHTLY).expression == "cron(0 5 * * ? *)"
