"""`muster schedules`, as far as it needs no stack: creating, showing, pausing and reporting."""

import json
from typing import Any

import pytest

from orchestration.cli.main import main
from orchestration.composition.context import Context
from orchestration.platform.clock import fresh_id
from schemas.ids import AudienceName, TenantName
from tests.fakes.rules import new_rule

NIGHTLY = (
    *("schedules", "create", "import", "nightly", "cron(0 6 * * ? 2100)", "s3://crm/vip-{date}.csv"),
    *("-a", "vip", "-t", "acme", "--zone", "Europe/Berlin", "--mode", "append"),
)


pytestmark = pytest.mark.usefixtures("service")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "-t", "acme", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_schedule_is_created_shown_and_listed(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(list(NIGHTLY)) == 0
    assert capsys.readouterr().out == (
        "schedule nightly: cron(0 6 * * ? 2100) in Europe/Berlin, next due 2100-01-01 05:00:00 UTC\n"
    )
    shown = answer(capsys, "schedules", "show", "nightly")
    assert shown["request"] == {
        "tenant": "acme",
        "audience": "vip",
        "bucket": "crm",
        "key": "vip-{date}.csv",
        "overrides": {"mode": "append"},
        "again": False,
    }
    assert (shown["enabled"], shown["next_due"], shown["last"]) == (True, "2100-01-01T05:00:00.000Z", None)
    assert answer(capsys, "schedules", "list") == [shown]
    assert main(["schedules", "show", "nightly", "-t", "acme"]) == 0
    assert "vip-{date}.csv" in capsys.readouterr().out
    assert main(["schedules", "list"]) == 0
    assert "2100-01-01 05:00:00" in capsys.readouterr().out


def test_a_recurring_import_of_events_has_the_options_of_an_import(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ("schedules", "create", "import", "orders", "cron(0 6 * * ? 2100)", "s3://shop/orders.csv")
    options = ("--column", "total:double", "--timezone", "Europe/Berlin", "--only-columns")
    made = answer(capsys, *create, "--kind", "events", *options)
    assert made["request"] == {
        "tenant": "acme",
        "audience": "_events",
        "bucket": "shop",
        "key": "orders.csv",
        "overrides": {
            "columns": [{"name": "total", "type": "double", "source": None}],
            "timezone": "Europe/Berlin",
            "other_columns": False,
        },
        "again": False,
    }
    assert main(["schedules", "show", "orders", "-t", "acme"]) == 0
    assert "acme/orders, import of events\n" in capsys.readouterr().out
    assert main(["schedules", "list"]) == 0
    assert "  import of events  " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        ((), 2, "name the audience, or use --kind events or --kind profiles"),
        (("--kind", "clicks"), 2, "clicks is not one of audience"),
        (("--audience", "_events"), 2, "_events is not an audience; use --kind"),
        (("--kind", "events", "--audience", "vip"), 2, "--kind events, --audience"),
        (("--kind", "profiles", "--max-shrink", "5"), 2, "--allow-shrink do not apply"),
        (("--audience", "vip", "--only-columns"), 2, "an audience never keeps other columns"),
        (("--kind", "profiles", "--mode", "replace"), 3, "BAD_SPEC: "),
        (("--kind", "events", "--column", "paid:date"), 3, "BAD_SPEC: "),
    ],
)
def test_recurring_import_without_a_target_is_refused(
    context: Context, capsys: pytest.CaptureFixture[str], said: tuple[str, ...], code: int, why: str
) -> None:
    create = ("schedules", "create", "import", "orders", "cron(0 6 * * ? 2100)", "s3://shop/orders.csv", "-t", "acme")
    assert main([*create, *said]) == code
    assert why in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert context.schedules.all() == []


def test_recurring_snapshot_goes_to_the_audience_of_its_segments_name(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = new_rule("a = 1")
    context.segments.create(TenantName("acme"), AudienceName("buyers"), rule, new_id=fresh_id(), author="a", now_ms=1)
    made = answer(capsys, "schedules", "create", "snapshot", "nightly", "cron(0 0 * * ? 2100)", "buyers")
    assert (made["kind"], made["last"]) == ("snapshot", None)
    assert made["request"] == {
        "tenant": "acme",
        "segment": "buyers",
        "audience": "buyers-snapshot",
        "allow_shrink": False,
    }
    assert answer(capsys, "schedules", "list") == [made]


def test_a_recurring_export_has_the_options_of_an_export(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    create = ("schedules", "create", "export", "changes", "cron(0 7 * * ? 2100)", "vip", "--to")
    options = ("--format", "csv", "--compression", "gzip", "--null", "NULL", "--target-mb", "8")
    taken = ("--where", "user_id is set", "--columns", "age")
    made = answer(capsys, *create, "s3://crm/{date}", "--delta-from", "last", *options, *taken)
    assert made["request"] == {
        "tenant": "acme",
        "audience": "vip",
        "to": "s3://crm/{date}",
        "format": {"name": "csv", "compression": "gzip", "null_token": "NULL", "formulas": "as-is"},
        "target_bytes": 8 * 1024 * 1024,
        "profile": None,
        "delta_from": "last",
        "shape": {
            "where": "user_id is set",
            "attributes": [],
            "suppress": [],
            "columns": ["age"],
            "partition_by": [],
        },
        "row_group_rows": None,
    }
    assert (made["kind"], made["next_due"]) == ("export", "2100-01-01T07:00:00.000Z")
    assert main([*create, "s3://crm/vip", "-t", "acme"]) == 3
    assert capsys.readouterr().err.startswith("ADDRESS_REPEATS: s3://crm/vip would be the same for several runs")
    assert main([*create, "s3://crm/{date}", "-t", "acme", "--delta-from", "3"]) == 2
    assert main([*create, "s3://crm/{date}", "-t", "acme", "--format", "xml"]) == 3


def test_edit_keeps_unnamed_settings(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    main(list(NIGHTLY))
    capsys.readouterr()
    edit = ("schedules", "edit", "import", "nightly")
    edited = answer(capsys, *edit, "--zone", "Asia/Tokyo", "--source", "s3://crm/b.csv", "--format", "csv", "--again")
    assert (edited["timezone"], edited["next_due"]) == ("Asia/Tokyo", "2099-12-31T21:00:00.000Z")
    assert edited["request"] == {
        "tenant": "acme",
        "audience": "vip",
        "bucket": "crm",
        "key": "b.csv",
        "overrides": {"mode": "append", "format": "csv"},
        "again": True,
    }
    left = answer(capsys, *edit, "--inherit", "mode", "--format", "jsonl")
    assert left["request"]["overrides"] == {"format": "jsonl"}
    for wrong in (("--inherit", "max-shrink"), ("--inherit", "mode", "--mode", "append")):
        assert main([*edit, "-t", "acme", *wrong]) == 2
    capsys.readouterr()
    assert main([*edit, "-t", "acme", "--when", "cron(0 7 * * ? 2100)"]) == 0
    assert "cron(0 7 * * ? 2100) in Asia/Tokyo, next due 2099-12-31 22:00:00 UTC" in capsys.readouterr().out
    assert main([*edit, "-t", "acme"]) == 2
    assert "name an option to change" in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert main(["schedules", "edit", "snapshot", "nightly", "-t", "acme", "--allow-shrink"]) == 3
    assert capsys.readouterr().err.startswith("BAD_SCHEDULE: schedule nightly is one of imports")


def test_edit_removes_export_filters_by_empty_texts(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    create = ("schedules", "create", "export", "daily", "cron(0 7 * * ? 2100)", "vip", "--to", "s3://crm/{date}")
    made = answer(capsys, *create, "--where", "user_id is set", "--partition-by", "age", "--format", "csv")
    edit = ("schedules", "edit", "export", "daily")
    edited = answer(capsys, *edit, "--where", "", "--partition-by", "", "--target-mb", "8", "--since-last")
    shape = {**made["request"]["shape"], "where": None, "partition_by": []}
    wanted = {**made["request"], "shape": shape, "target_bytes": 8 * 1024 * 1024, "delta_from": "last"}
    assert edited == {**made, "request": wanted}


def test_a_schedule_is_paused_resumed_and_deleted(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    main(list(NIGHTLY))
    capsys.readouterr()
    assert answer(capsys, "schedules", "pause", "nightly")["next_due"] is None
    assert main(["schedules", "list"]) == 0
    assert "paused" in capsys.readouterr().out
    assert answer(capsys, "schedules", "resume", "nightly")["next_due"] == "2100-01-01T05:00:00.000Z"
    assert answer(capsys, "schedules", "delete", "nightly") == {"deleted": "nightly", "tenant": "acme"}
    assert main(["schedules", "show", "nightly", "-t", "acme"]) == 3
    assert capsys.readouterr().err.startswith("UNKNOWN_SCHEDULE: tenant acme has no schedule 'nightly'")
    assert main(["schedules", "list"]) == 0
    assert capsys.readouterr().err == "There are no schedules.\n"


def test_failure_of_a_schedule_is_shown(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    main(list(NIGHTLY))
    [made] = context.schedules.all()
    refused = {"refused": {"kind": "user", "code": "BAD_EVENT", "message": "it is not taken"}}
    context.schedules.record_run(
        made.schedule_id, seen_ms=made.next_due_ms, due_ms=1, execution="arn", next_due_ms=made.next_due_ms
    )
    context.schedules.record_outcome(made.schedule_id, 1, refused)
    capsys.readouterr()
    main(["schedules", "show", "nightly", "-t", "acme"])
    shown = capsys.readouterr().out
    assert "due 1970-01-01 00:00:00 UTC: REFUSED" in shown
    assert "BAD_EVENT: it is not taken" in shown
    trouble = {"kind": "retriable", "code": "ENGINE_UNAVAILABLE", "message": "no answer"}
    context.schedules.put_trouble(made.schedule_id, made.next_due_ms, trouble)
    main(["schedules", "show", "nightly", "-t", "acme"])
    assert "ENGINE_UNAVAILABLE: no answer" in capsys.readouterr().out
    main(["schedules", "list"])
    assert "cannot start: ENGINE_UNAVAILABLE" in capsys.readouterr().out


def test_schedule_changes_are_audited_apart_from_audience_changes(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    create = [*NIGHTLY[:3], "vip", *NIGHTLY[4:]]  # taken from the audience's name
    for command in (
        create,
        ["schedules", "pause", "vip"],
        ["schedules", "resume", "vip"],
        ["schedules", "delete", "vip"],
    ):
        assert main([*command, "-t", "acme"]) == 0
    assert main([*NIGHTLY[:3], "vip", "often", *NIGHTLY[5:]]) == 3
    found = context.audit.search(object_="acme/schedules/vip")
    seen = [((e.before or {}).get("enabled"), (e.after or {}).get("enabled"), e.error) for e in found]
    assert [e.action.removeprefix("schedules ") for e in found] == [
        "create",
        "change",
        "change",
        "delete",
        "create",
    ]
    assert seen == [
        (None, True, None),
        (True, False, None),
        (False, True, None),
        (True, None, None),
        (None, None, "BAD_SCHEDULE"),
    ]
    assert found[0].arguments["expression"] == "cron(0 6 * * ? 2100)"
    assert context.audit.search(object_="acme/vip") == []


@pytest.mark.parametrize(
    ("said", "instead", "code"),
    [
        ("cron(0 6 * * ? 2100)", "cron(0 25 * * ? *)", "BAD_SCHEDULE"),
        ("cron(0 6 * * ? 2100)", "cron(0 6 30 2 ? *)", "BAD_SCHEDULE"),
        ("s3://crm/vip-{date}.csv", "s3://crm/{user}.csv", "BAD_PLACEHOLDER"),
        ("Europe/Berlin", "Berlin", "BAD_TIMEZONE"),
        ("append", "merge", "BAD_SPEC"),
    ],
)
def test_impossible_schedule_is_refused_immediately(
    context: Context, capsys: pytest.CaptureFixture[str], said: str, instead: str, code: str
) -> None:
    assert main([instead if argument == said else argument for argument in NIGHTLY]) == 3
    assert capsys.readouterr().err.startswith(f"{code}: ")
    assert context.schedules.all() == []
