"""Files of events and profiles through the whole stack: inbox, tasks, topics, segment workers, archive, receipt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from connectors.kafka.log_offsets import log_ends
from connectors.storage.pinned import SourceObject
from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from orchestration.kinds.topics import activity_source
from schemas.ids import JobId
from schemas.layout import split_s3_uri
from schemas.records import from_record
from schemas.topics import EVENTS, PROFILES
from tests.conftest import SOURCES
from tests.faults.waiting import until
from tests.holding.holding import hold
from tests.integration.whole.conftest import PARTITIONS
from tests.integration.whole_imports import TENANT, ended, newest_job_of

pytestmark = pytest.mark.integration


def registered(context: Context, job_id: JobId) -> Job:
    return until(lambda: context.jobs.find(job_id), f"the registration of {job_id}")


def ready(context: Context, job: Job) -> Mapping[str, Any]:
    """The receipt of a job, once it has ended."""
    job = ended(context, job)
    assert (job.state, job.error) == ("READY", None)
    receipt = context.jobs.receipt(job.job_id)
    assert receipt is not None
    return receipt


def archived(context: Context, topic: str, job: Job) -> list[dict[str, Any]]:
    """The rows of a job's file in the archive, read file by file."""
    rows: list[dict[str, Any]] = []
    for file in context.archive.files(topic, tenant=TENANT):
        with context.s3.filesystem().open_input_file("/".join(split_s3_uri(file.uri))) as opened:
            rows += pq.read_table(opened).to_pylist()
    return [row for row in rows if row["source"] == activity_source(from_record(SourceObject, job.source))]


def write_orders(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write("user_id,event,ts,total\n")
        for n in range(rows):
            event = "" if n % 100 == 99 else "order"
            file.write(f"user-{n % 977},{event},2026-01-01 10:{n // 60 % 60:02}:{n % 60:02},{n}.5\n")


ORDERS = {
    "columns": [
        {"name": "occurred_at", "type": "timestamp", "source": "ts"},
        {"name": "total", "type": "double", "source": None},
    ],
    "timezone": "Asia/Tokyo",
    "max_reject_share": 0.5,
}


def test_every_event_row_is_stored_once_despite_repeated_imports(context: Context, tmp_path: Path) -> None:
    audiences = context.audiences.all(TENANT)
    write_orders(tmp_path / "orders.csv", 200)  # for functions
    context.objects.put_file(tmp_path / "orders.csv", SOURCES, "orders.csv")
    uri = f"s3://{SOURCES}/orders.csv"
    job_id = context.submission.submit_object(uri, tenant=TENANT, audience="_events", overrides=ORDERS)
    job = registered(context, job_id)
    receipt = ready(context, job)
    assert {name: receipt[name] for name in ("rows", "accepted", "rejected_by_code", "stored", "duplicates")} == {
        "rows": 200,
        "accepted": 198,
        "rejected_by_code": {"bad_event": 2},
        "stored": 198,
        "duplicates": 0,
    }
    rows = archived(context, EVENTS, job)
    assert sorted(row["ordinal"] for row in rows) == [n for n in range(200) if n % 100 != 99]
    first = next(row for row in rows if row["ordinal"] == 0)
    assert (first["user_id"], first["occurred_at"].isoformat()) == ("user-0", "2026-01-01T01:00:00+00:00")
    assert [(name, value["double"]) for name, value in first["properties"]] == [("total", 0.5)]

    again = context.submission.submit_object(uri, tenant=TENANT, audience="_events", overrides=ORDERS, again=True)
    receipt = ready(context, registered(context, again))
    assert (receipt["accepted"], receipt["stored"], receipt["duplicates"]) == (198, 0, 198)
    assert context.audiences.all(TENANT) == audiences


def test_a_set_of_files_adds_only_the_events_of_files_that_were_not_imported_alone(
    context: Context, tmp_path: Path
) -> None:
    for name, rows in (("part-0.csv", 60), ("part-1.csv", 40)):
        write_orders(tmp_path / name, rows)
        context.objects.put_file(tmp_path / name, SOURCES, f"parts/{name}")
    context.objects.put(SOURCES, "parts/_SUCCESS", b"")
    given: dict[str, Any] = {"tenant": TENANT, "audience": "_events", "overrides": ORDERS}
    alone = context.submission.submit_object(f"s3://{SOURCES}/parts/part-1.csv", **given)
    assert ready(context, registered(context, alone))["stored"] == 40
    job = registered(context, context.submission.submit_object(f"s3://{SOURCES}/parts/", form="prefix", **given))
    receipt = ready(context, job)
    counts = ("rows", "accepted", "stored", "duplicates")
    assert [receipt[name] for name in counts] == [100, 100, 60, 40]
    assert (receipt["source"]["files"], receipt["source"]["left_out"]) == (2, 1)


def test_profile_upload_into_the_inbox_is_imported_completely(context: Context, tmp_path: Path) -> None:
    lines = [
        '{"user_id": "alice", "age": 30, "plan": "gold"}',
        '{"user_id": "bob", "deleted": true}',
        '{"user_id": "alice", "age": 31, "plan": null}',
    ]
    path, key = tmp_path / "crm.jsonl", f"{TENANT}/_profiles/crm.jsonl"
    path.write_text("\n".join(lines) + "\n")
    context.objects.put_file(path, context.settings.inbox_bucket, key)
    job = newest_job_of(context, "_profiles", key)
    receipt = ready(context, job)
    assert (receipt["kind"], receipt["stored"], receipt["duplicates"]) == ("profiles", 3, 0)
    rows = sorted(archived(context, PROFILES, job), key=lambda row: row["ordinal"])
    found = [
        (row["user_id"], row["deleted"], {n: v["double"] or v["string"] for n, v in row["attributes"]}) for row in rows
    ]
    assert found == [
        ("alice", False, {"age": 30.0, "plan": "gold"}),
        ("bob", True, {}),
        ("alice", False, {"age": 31.0, "plan": None}),
    ]


@pytest.mark.faults("an importer that dies is that of test_activity_importer.py", seconds=20)
def test_importer_killed_while_sending_duplicates_no_events(context: Context, tmp_path: Path) -> None:
    def sent() -> int:
        return sum(log_ends(context.settings.kafka_bootstrap, EVENTS, PARTITIONS))

    write_orders(tmp_path / "killed.csv", 300)
    before = sent()
    with hold(context.settings.home, "importer") as importer:
        job_id = context.submission.submit_file(
            tmp_path / "killed.csv", tenant=TENANT, audience="_events", overrides=ORDERS
        )
        process = importer()
        assert context.jobs.get(job_id).state == "IMPORTING"
        assert sent() > before
        process.kill()
    job = context.jobs.get(job_id)
    receipt = ready(context, job)
    assert receipt["attempt"] == 2
    assert (receipt["accepted"], receipt["stored"], receipt["duplicates"]) == (297, 297, 0)
    rows = archived(context, EVENTS, job)
    assert len({row["ordinal"] for row in rows}) == 297
    assert len({(r["user_id"], r["event"], r["occurred_at"], r["identity"]) for r in rows}) == 297
