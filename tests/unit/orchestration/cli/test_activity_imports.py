"""What the command line shows of imports of events and profiles."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.catalog.records import NewJob
from orchestration.cli.exits import ExitCode
from orchestration.cli.main import main
from orchestration.cli.receipts import print_receipt
from orchestration.cli.rendering import job_lines
from orchestration.composition.context import Context
from orchestration.operations.follow import JobView, partition_views, stage_views
from orchestration.operations.job_records import view_record
from orchestration.platform.settings import Settings
from schemas.ids import Attempt
from schemas.import_targets import RESERVED, activity_spec
from schemas.records import as_record
from tests.fakes.catalog import catalog_in
from tests.unit.orchestration.cli.jobs import EVIDENCE, JOB, job

EVENTS_JOB = job(
    audience=RESERVED["events"], audience_id=None, mode="append", spec=activity_spec("events", {}), attempt=Attempt(1)
)
STORED = {"stored": 1999, "duplicates": 1, "attempt": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["orders.csv"], "name the audience, or use --kind events or --kind profiles"),
        (["orders.csv", "--kind", "clicks"], "clicks is not one of audience, profiles, events"),
        (["orders.csv", "--audience", "_events"], "_events is not an audience; use --kind"),
        (["orders.csv", "--kind", "events", "--audience", "vip"], "--kind events, --audience"),
        (["orders.csv", "--kind", "events", "--manifest", "m.json"], "--manifest (of an export of members)"),
        (["orders.csv", "--kind", "events", "--allow-shrink"], "--allow-shrink do not apply"),
        (["orders.csv", "--audience", "vip", "--key", "k" * 201], "a key has 1 to 200 characters"),
        (["orders.csv", "--audience", "vip", "--key", "k", "--dry-run"], "--dry-run starts no job"),
        (["orders.csv", "--audience", "vip", "--only-columns"], "an audience never keeps other columns"),
    ],
)
def test_contradictory_options_are_refused_first(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", *arguments]) == ExitCode.USAGE
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("option", ["--keep-days", "--keep-versions"])
def test_retention_options_are_refused_for_events(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = "0" if option == "--keep-days" else "1"
    assert main(["audiences", "configure", "_events", option, given]) == ExitCode.USAGE
    assert "_events has only import settings" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_spec_invalid_for_the_kind_is_refused_before_the_upload(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "orders.csv", "--kind", "events", "--column", "paid:date"]) == ExitCode.USER_ERROR
    assert "BAD_SPEC: the column paid is date" in capsys.readouterr().err
    assert main(["import", "orders.csv", "--kind", "profiles", "--mode", "remove"]) == ExitCode.USER_ERROR
    assert "profiles are imported with mode append, not remove" in capsys.readouterr().err


def test_receipt_shows_stored_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_receipt(
        {
            "kind": "events",
            "tenant": "default",
            "state": "READY",
            "job": "01jdcz0000000000000000000a",
            "attempt": 2,
            "source": {"bucket": "inbox", "key": "default/_events/a.csv"},
            "rows": 2010,
            "accepted": 2000,
            "rejected": 10,
            "rejected_by_code": {"bad_event": 10},
            "stored": 1999,
            "duplicates": 1,
            "started_at": "2026-11-25T12:00:00Z",
            "finished_at": "2026-11-25T12:00:09Z",
        }
    )
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "events of default, READY",
        "job 01jdcz0000000000000000000a, attempt 2",
        "source s3://inbox/default/_events/a.csv",
        "rows 2,010 = 2,000 accepted + 10 rejected",
        "rejected bad_event 10",
        "accepted 1,999 stored + 1 duplicates",
        "finished 2026-11-25T12:00:09Z, started 2026-11-25T12:00:00Z",
    ]


@pytest.mark.usefixtures("service")
def test_job_is_shown_with_kind_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path))
    url = catalog_in(tmp_path)
    context = Context(Settings(home=tmp_path, catalog_url=url))
    context.audiences.add_tenant(JOB.tenant, 1)
    given = {
        name: getattr(EVENTS_JOB, name) for name in NewJob.__dataclass_fields__ if name not in {"evidence", "uploads"}
    }
    context.jobs.register(NewJob(**given))
    for state in ("VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING"):
        context.jobs.move(JOB.job_id, state, now_ms=1, evidence=EVIDENCE)
    context.jobs.move(JOB.job_id, "READY", now_ms=2, outcome=STORED)
    context.database.close()
    assert main(["jobs", "show", JOB.job_id]) == ExitCode.OK
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[1:2] == ["events of default"]
    assert "rows 110 = 100 accepted + 10 rejected" in lines
    assert "result 1,999 stored, 1 duplicates" in lines
    assert "partitions 2 of 2 archived" in lines
    assert main(["jobs", "list", "--json"]) == ExitCode.OK
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["kind"], record["audience"], record["outcome"]) == ("events", "_events", STORED)


def test_job_waiting_for_the_archive_shows_its_progress() -> None:
    waiting = replace(EVENTS_JOB, state="AWAITING", evidence=EVIDENCE)
    view = JobView(
        job=waiting,
        stages=stage_views(waiting, 2, {}, [], 10_000),
        partitions=partition_views(waiting, {}, [], 10_000),
    )
    assert [stage.name for stage in view.stages] == ["verify", "import", "materialise", "publish"]
    assert "  partitions  0 of 2 archived" in job_lines(as_record(view_record(view, [], {})))
