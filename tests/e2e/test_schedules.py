"""Recurring imports on a running stack: the control plane starts them, and they become versions."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from orchestration.composition.context import Context
from orchestration.operations.schedules import find, schedule_import
from tests.conftest import SOURCES
from tests.e2e.conftest import Muster, ended, ids_of, imported, write
from tests.faults.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


def last_of(context: Context, name: str) -> Any:
    """Result of the last run; None before the first."""
    return context.schedules.shown(find(context.schedules, "default", name)).last


def finished_job(muster: Muster, context: Context, name: str) -> str:
    """The last run's job, once it has ended."""

    def job() -> Any:
        last = last_of(context, name)
        return last["job"] if last is not None and last["state"] != "STARTED" else None

    found = str(until(job, f"the end of schedule {name}"))
    ended(muster, found)
    return found


def test_a_schedule_that_is_due_imports_a_file(muster: Muster, context: Context) -> None:
    context.objects.put(SOURCES, "crm/vip.csv", b"user_id\nu1\nu2\n")
    made = muster(
        *("schedules", "create", "import", "often", "rate(7 days)", f"s3://{SOURCES}/crm/vip.csv"),
        *("-a", "recurring", "--mode", "append", "--json"),
    )
    assert made.code == 0, made.err
    job = finished_job(muster, context, "often")  # a schedule with a rate is due when it is created
    assert ids_of(context, "recurring") == ["u1", "u2"]
    shown = muster("schedules", "show", "often", "--json").json
    assert (shown["last"]["state"], shown["last"]["job"]) == ("READY", job)
    assert shown["next_due"] > shown["last"]["due"]
    entries = muster("audit", "--job", job, "--json").json
    assert [(e["actor"], e["action"]) for e in entries] == [(f"schedule {shown['schedule']}", "import")]
    again = muster("schedules", "run", "often", "--json")
    assert again.code == 0, again.err
    until(lambda: last_of(context, "often")["state"] == "DUPLICATE", "the second run")
    assert ids_of(context, "recurring") == ["u1", "u2"]
    assert muster("schedules", "delete", "often").code == 0
    assert "often" not in {schedule["name"] for schedule in muster("schedules", "list", "--json").json}


@pytest.mark.faults("test_a_schedule_that_is_due_imports_a_file is its journey", seconds=10)
def test_a_schedule_that_is_due_imports_a_file_of_events(muster: Muster, context: Context) -> None:
    row = b"u1,order,2026-01-01 10:00:00,12.5\n"
    context.objects.put(SOURCES, "shop/orders.csv", b"user_id,event,occurred_at,total\n" + row + b"u2" + row[2:])
    made = muster(
        *("schedules", "create", "import", "orders", "rate(7 days)", f"s3://{SOURCES}/shop/orders.csv"),
        *("--kind", "events", "--column", "total:double", "--timezone", "Europe/Berlin", "--json"),
    )
    assert made.code == 0, made.err
    receipt = muster("receipt", finished_job(muster, context, "orders"), "--json").json
    assert (receipt["rows"], receipt["accepted"], receipt["stored"]) == (2, 2, 2)
    assert "import of events" in muster("schedules", "list").out
    assert muster("schedules", "delete", "orders").code == 0


def test_recurring_export_writes_changes_since_the_last_one(muster: Muster, context: Context, tmp_path: Path) -> None:
    to = f"s3://{context.settings.lake_bucket}/exports/changes"
    imported(muster, write(tmp_path / "one.csv", "user_id", "u1", "u2"), "changing")
    made = muster(
        *("schedules", "create", "export", "changes", "rate(7 days)", "changing"),
        *("--to", f"{to}/{{due}}", "--delta-from", "last", "--format", "csv", "--json"),
    )
    assert made.code == 0, made.err

    def exported(known: str | None) -> Any:
        last = last_of(context, "changes")
        return last if last is not None and last["export"] != known and last["state"] == "READY" else None

    first = until(lambda: exported(None), "the first export")
    imported(muster, write(tmp_path / "two.csv", "user_id", "u2", "u3"), "changing")
    again = muster("schedules", "run", "changes", "--json")
    assert again.code == 0, again.err
    second = until(lambda: exported(first["export"]), "the second export")
    assert second["export"] == again.json["export"]
    manifests = [
        json.loads(
            context.objects.get(
                context.settings.lake_bucket,
                f"exports/changes/{last['due'].replace('-', '').replace(':', '').replace('.000', '')}/manifest.json",
            )
        )
        for last in (first, second)
    ]
    assert [(m["version"], m["rows"], m["delta"] and m["delta"]["version"]) for m in manifests] == [
        (1, 2, None),
        (2, 2, 1),
    ]
    assert muster("schedules", "delete", "changes").code == 0


def test_one_time_schedule_imports_the_object_of_that_time(muster: Muster, context: Context) -> None:
    now = time.time()
    soon = time.gmtime(now + 1)
    day, clock = time.strftime("%Y-%m-%d", soon), time.strftime("%H:%M:%S", soon)
    context.objects.put(SOURCES, f"crm/{day}-{clock.replace(':', '')}.csv", b"user_id\nu3\n")
    schedule_import(
        "once",
        f"s3://{SOURCES}/crm/{{date}}-{{time}}.csv",
        expression=f"at({day}T{clock})",
        timezone="UTC",
        tenant="default",
        audience="once",
        overrides={},
        again=False,
        now_ms=int(now * 1000),  # whether it is due when created is chance, and makes no difference
        audiences=context.audiences,
        schedules=context.schedules,
        settings=context.settings,
    )
    finished_job(muster, context, "once")
    assert ids_of(context, "once") == ["u3"]
    shown = muster("schedules", "show", "once", "--json").json
    assert (shown["last"]["due"], shown["next_due"]) == (f"{day}T{clock}.000Z", None)
    assert "never again" in muster("schedules", "list").out
