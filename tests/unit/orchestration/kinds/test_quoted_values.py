"""Errors of jobs are read by people who may not read rejects: values of a file are in the rejects, and nowhere else.

Each file has the canary where one kind of fault could quote it; the job then fails as in production.
"""

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.lake.faults import lake_faults
from connectors.sinks.folders import folder
from connectors.sinks.pieces import pieces
from connectors.sources.child import report_bug
from orchestration.access.authentication import Caller
from orchestration.access.policy import DEPLOYMENT, IN_A_TENANT, Action, Rights
from orchestration.access.views.everywhere import Everywhere
from orchestration.access.views.jobs import Jobs
from orchestration.composition.service import Services
from orchestration.control.job_events import job_event
from orchestration.notifications.mail import wording
from orchestration.platform.clock import fresh_id
from orchestration.records.access import Principal
from schemas.arrow import arrow_schema
from schemas.columns import USER_ID, Column, RowSchema
from schemas.errors import MusterError
from schemas.manifest import ExportFormat
from tests.fakes.deployment import ACME, Deployment

CANARY = "canary4711"
LONG = CANARY * 20
KEY = f"the key {CANARY}"


def parquet(**columns: Any) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written)
    return written.getvalue()


def csv(text: str) -> tuple[str, bytes]:
    return "a.csv", text.encode()


def lines(*objects: object) -> tuple[str, bytes]:
    texts = (one if isinstance(one, str) else json.dumps(one) for one in objects)
    return "a.jsonl", "\n".join(texts).encode()


def column(type_: str, name: str = "x") -> dict[str, Any]:
    return {"columns": [{"name": name, "type": type_, "source": None}]}


EVENT = {"user_id": "a", "event": "order", "occurred_at": "2026-01-01T10:00:00Z"}
TYPES = ("long", "double", "boolean", "date", "timestamp")
FILES: dict[str, tuple[str, tuple[str, bytes], dict[str, Any], str]] = {
    **{f"csv {t}": ("vip", csv(f"user_id,x\na,{CANARY}\n"), column(t), "TOO_MANY_REJECTS") for t in TYPES},
    **{f"json {t}": ("vip", lines({"user_id": "a", "x": CANARY}), column(t), "TOO_MANY_REJECTS") for t in TYPES},
    **{f"parquet {t}": ("vip", ("a.parquet", parquet(user_id=["a"], x=[CANARY])), column(t), "TOO_MANY_REJECTS")
       for t in TYPES},
    "json string": ("vip", lines({"user_id": "a", "x": {CANARY: 1}}), column("string"), "TOO_MANY_REJECTS"),
    "field count": ("vip", csv(f"user_id\na,{CANARY}\n"), {}, "TOO_MANY_REJECTS"),
    "bare quote": ("vip", csv(f'user_id\n{CANARY}"\n'), {}, "TOO_MANY_REJECTS"),
    "text after a quote": ("vip", csv(f'user_id\n"a"{CANARY}\n'), {}, "TOO_MANY_REJECTS"),
    "NUL": ("vip", csv(f"user_id\n{CANARY}\0\n"), {}, "TOO_MANY_REJECTS"),
    "not UTF-8": ("vip", ("a.csv", f"user_id\n{CANARY}".encode() + b"\xe9\n"), {}, "TOO_MANY_REJECTS"),
    "long id": ("vip", csv(f"user_id\n{LONG}\n"), {}, "TOO_MANY_REJECTS"),
    "blank id beside a value": ("vip", csv(f"user_id,x\n ,{CANARY}\n"), {}, "TOO_MANY_REJECTS"),
    "all rejected": ("vip", csv(f"user_id,x\n,{CANARY}\n"), {"max_reject_share": 1.0}, "EMPTY_FILE"),
    "no header": ("vip", csv(f"{CANARY}@example.com,90000\n"), {}, "MISSING_COLUMN"),
    "header not UTF-8": ("vip", ("a.csv", f"user_id,{CANARY}".encode() + b"\xe9\n"), {}, "NOT_UTF8_HEADER"),
    "unusable header": ("vip", csv(f'user_id,{CANARY}"\n'), {}, "BAD_HEADER"),
    "names of values": ("vip", ("a.parquet", parquet(**{CANARY: ["a"]})), {}, "MISSING_COLUMN"),
    "nested names": (
        "vip", ("a.parquet", parquet(user_id=["a"], x=[{CANARY: 1}])), column("long"), "BAD_COLUMN_TYPE"
    ),
    "field of no row": ("vip", lines({"user_id": "a", CANARY: CANARY}, CANARY), column("long"), "MISSING_COLUMN"),
    "not JSON": ("vip", lines(CANARY), {}, "TOO_MANY_REJECTS"),
    "no object": ("vip", lines(f'"{CANARY}"'), {}, "TOO_MANY_REJECTS"),
    "key twice": ("vip", lines(f'{{"user_id": "a", "{KEY}": 1, "{KEY}": 2}}'), {}, "TOO_MANY_REJECTS"),
    "surrogate": ("vip", lines(f'{{"user_id": "{CANARY}\\ud800"}}'), {}, "TOO_MANY_REJECTS"),
    "id of another type": ("vip", lines({"user_id": [CANARY]}), {}, "TOO_MANY_REJECTS"),
    "event": ("_events", lines({**EVENT, "event": LONG * 2}), {}, "TOO_MANY_REJECTS"),
    "event id": ("_events", lines({**EVENT, "event_id": LONG * 2}), {}, "TOO_MANY_REJECTS"),
    "property": ("_events", lines({**EVENT, "x": CANARY * 900}), {}, "TOO_MANY_REJECTS"),
    "unknown member": ("_events", lines(*[EVENT] * 1000, {**EVENT, CANARY: 1}), {}, "TOO_MANY_REJECTS"),
    "no header of events": (
        "_events", csv(f"{CANARY},order,2026-01-01T10:00:00Z\n"), {"other_columns": True}, "MISSING_COLUMN"
    ),
    "attribute": ("_profiles", lines({"user_id": "a", "x": CANARY * 900}), {}, "TOO_MANY_REJECTS"),
    "deleted with a value": (
        "_profiles", csv(f"user_id,deleted,x\na,true,{CANARY}\n"), {}, "TOO_MANY_REJECTS"
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _read_files(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse files, and keep rejects, as in production."""
    deployment.parse_files(monkeypatch)


def caller(scope: str, role: str) -> Caller:
    principal = Principal(principal=fresh_id(), kind="person", name="p", created_at="")
    return Caller(principal=principal, rights=Rights.of([(scope, role)]), request_id=fresh_id())


@pytest.mark.parametrize(("target", "file", "overrides", "code"), FILES.values(), ids=FILES)
def test_values_appear_in_rejects_but_not_in_errors(
    deployment: Deployment,
    caplog: pytest.LogCaptureFixture,
    target: str,
    file: tuple[str, bytes],
    overrides: dict[str, Any],
    code: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    key, context = f"{ACME}/{target}/{file[0]}", deployment.context
    deployment.objects.put("inbox", key, file[1])
    job = deployment.register(deployment.request(target, key=key, overrides=overrides))
    with pytest.raises(Exception, match=code) as raised:
        deployment.step(job, "verify_file")
    failure = {"Error": type(raised.value).__name__, "Cause": json.dumps({"errorMessage": str(raised.value)})}
    error = deployment.step(job, "extract_cause", failure=failure)["error"]
    deployment.step(job, "mark_failed", error=error)
    deployment.step(job, "notify", outcome="user-error")

    job, history = context.jobs.get(job.job_id), context.jobs.history(job.job_id)
    assert (job.state, error["code"]) == ("FAILED", code)
    services = Services(context.settings)
    vars(services)["objects"] = deployment.objects
    notices = [one.body for one in context.outbox.by_subject(job.job_id)]
    seen = [
        str(raised.value),
        *(job_event(job, one) for one in history),
        *notices,
        *map(wording, notices),
        Jobs(services, caller(ACME, "viewer"), ACME).get_job(job.job_id),
        Jobs(services, caller(ACME, "viewer"), ACME).list_jobs(limit=9).items,
        Everywhere(services, caller(DEPLOYMENT, "operator")).find_job(job.job_id),
        *(record.getMessage() + str(record.exc_info) for record in caplog.records),
    ]
    services.close()
    assert [text for text in map(str, seen) if CANARY in text or KEY in text] == []
    (kept,) = (content for (bucket, _), content in deployment.objects.contents.items() if bucket != "inbox")
    assert CANARY in str(pq.read_table(pa.BufferReader(kept)).to_pylist())


def test_internal_parser_error_is_reported_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        int(CANARY)
    except ValueError as exc:
        report_bug(exc)
    printed = capsys.readouterr().err
    assert "test_quoted_values.py" in printed
    assert printed.endswith("\nValueError\n")
    assert "invalid literal" not in printed


def _formulas() -> None:
    schema = RowSchema(columns=(Column(name="x", type="string"),))
    rows = pa.record_batch({USER_ID: [CANARY], "x": [f"={CANARY}"]}, schema=arrow_schema(schema))
    list(pieces([rows], schema, ExportFormat(format="csv", null_token="", formulas="refuse")))


def _damaged_part() -> None:
    with lake_faults("reading a part"):
        duckdb.sql(f"select cast('{CANARY}' as integer)").fetchall()


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (lambda: folder(["x"], [LONG * 2]), "PARTITION_VALUE_TOO_LONG"),
        (_formulas, "FORMULA_FOUND"),
        (_damaged_part, "LAKE_UNREADABLE"),
    ],
)
def test_export_error_quotes_no_value(step: Callable[[], object], code: str) -> None:
    with pytest.raises(MusterError, match=code) as raised:
        step()
    assert CANARY not in str(raised.value.as_record())


def test_inspecting_files_implies_reading_rejects() -> None:
    """Answers to these quote values."""
    assert IN_A_TENANT[Action.RUN_JOBS] <= IN_A_TENANT[Action.READ_REJECTS]
