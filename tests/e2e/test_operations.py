"""Jobs, versions and audiences through the command line: cancel, retry, rollback, rename, delete, export, fsck."""

import gzip
import json
import random
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from connectors.kafka.logon import librdkafka_config
from orchestration.composition.context import Context
from orchestration.kinds.events import ImportRequest
from orchestration.operations.submit import start
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.codec import CODEC
from schemas.ids import Partition
from schemas.messages import DeadLetter
from schemas.topics import DEAD_LETTERS, EVENTS, IMPORTS_SMALL
from tests.conftest import SOURCES
from tests.e2e.conftest import Muster, command_line, ended, environment, ids_of, imported, put_in_order, write
from tests.faults.waiting import until
from tests.integration.whole_imports import WORKER, held

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


def test_a_rollback_is_a_new_version_and_history_stays_readable(
    muster: Muster, context: Context, tmp_path: Path
) -> None:
    imported(muster, write(tmp_path / "one.csv", "user_id", "u1", "u2"), "rolled")
    imported(muster, write(tmp_path / "two.csv", "user_id", "u3", "u4"), "rolled")
    answer = muster("audiences", "rollback", "rolled", "--to", 1, "--reason", "wrong file", "--json")
    assert (answer.code, answer.json["version"]) == (0, 3)
    assert ids_of(context, "rolled") == ["u1", "u2"]
    assert ids_of(context, "rolled", version=2) == ["u3", "u4"]
    versions = muster("audiences", "versions", "rolled", "--json").json
    assert [(v["version"], v["mode"]) for v in versions] == [(3, "rollback"), (2, "replace"), (1, "replace")]
    assert versions[0]["reason"] == "wrong file"
    missing = muster("audiences", "rollback", "rolled", "--to", 9)
    assert (missing.code, "NO_SUCH_VERSION" in missing.err) == (3, True)


def test_an_audience_is_configured_renamed_and_deleted(muster: Muster, context: Context, tmp_path: Path) -> None:
    assert muster("audiences", "create", "draft", "--id-column", "email", "--keep-versions", 3).code == 0
    assert muster("audiences", "create", "draft").code == 3
    configured = muster("audiences", "configure", "draft", "--column", "age:long=Age", "--json")
    assert (configured.json["spec"]["id_column"], configured.json["retention"]["versions"]) == ("email", 3)
    imported(muster, write(tmp_path / "people.csv", "email,Age", "a@example.com,7"), "draft")
    assert muster("audiences", "rename", "draft", "final").code == 0
    assert muster("sql", "select * from audience('final')", "--json").json == [{"user_id": "a@example.com", "age": 7}]
    assert muster("audiences", "show", "draft").code == 3
    kept = muster("audiences", "delete", "final", stdin="n\n")
    assert kept.code != 0
    assert ids_of(context, "final") == ["a@example.com"]
    assert muster("audiences", "delete", "final", "--yes").code == 0
    gone = muster("sql", "select * from audience('final')")
    assert (gone.code, "UNKNOWN_AUDIENCE" in gone.err) == (3, True)


def test_compaction_and_expiry_keep_the_members(muster: Muster, context: Context, tmp_path: Path) -> None:
    file = write(tmp_path / "many.csv", "user_id", *(f"u{n:03}" for n in range(100)))
    imported(muster, file, "kept")
    before = ids_of(context, "kept")
    assert muster("audiences", "compact", "kept").code == 0
    expiry = ("audiences", "expire", "kept", "--keep-versions", 1, "--keep-days", 0, "--json")
    assert muster("audiences", "pin", "kept", 1).code == 0
    assert muster(*expiry).json["versions"] == []
    versions = muster("audiences", "versions", "kept", "--json").json
    assert [(v["version"], v["pinned"]) for v in versions] == [(2, False), (1, True)]
    assert muster("audiences", "unpin", "kept", 1).code == 0
    expired = muster(*expiry)
    assert (expired.code, expired.json["versions"]) == (0, [1])
    assert ids_of(context, "kept") == before
    gone = muster("sql", "select * from audience('kept', version => 1)")
    assert (gone.code, "NO_SUCH_VERSION" in gone.err) == (3, True)


def test_intact_export_verifies_and_a_changed_one_does_not(muster: Muster, tmp_path: Path) -> None:
    columns = ("--column", "city", "--column", "age:long")
    first = write(tmp_path / "one.csv", "user_id,city,age", "u1,Oslo,1", "u2,,2", "u3,=Rome,")
    second = write(tmp_path / "two.csv", "user_id,city,age", "u1,Oslo,1", "u3,=Rome,4", "u4,Kyoto,4")
    for file in (first, second):
        imported(muster, file, "handed-over", *columns, "--allow-shrink")
    whole = muster("export", "handed-over", "--to", tmp_path / "whole", "--format", "csv", "--json")
    assert (whole.code, whole.json["rows"], whole.json["formulas_found"]) == (0, 3, 1)
    since = ("--format", "jsonl", "--delta-from", 1)
    delta = muster("export", "handed-over", "--to", tmp_path / "delta", *since, "--json")
    assert [(file["change"], file["rows"]) for file in delta.json["files"]] == [("added", 2), ("removed", 2)]
    in_s3 = muster("export", "handed-over", "--version", 1, "--to", "s3://lake/exports/handed-over", "--wait", "--json")
    addresses = [tmp_path / "whole" / "manifest.json", tmp_path / "delta" / "manifest.json"]
    for address in (*addresses, "s3://lake/exports/handed-over/manifest.json"):
        verified = muster("verify", address, "--json")
        assert (verified.code, verified.json["difference"]) == (0, None), verified.err
    assert muster("export", "handed-over", "--to", tmp_path / "whole").code == 3
    compared = muster("audiences", "diff", "handed-over", 1, 2, "--sample", 1, "--json").json
    assert [compared[kind] for kind in ("added", "removed", "changed", "kept")] == [1, 1, 1, 1]
    assert compared["sample"] == {"added": ["u4"], "removed": ["u2"], "changed": ["u3"]}
    file = tmp_path / "whole" / whole.json["files"][0]["key"]
    imported_again = imported(muster, file, "taken-over", "--manifest", str(addresses[0]))
    assert imported_again.json["receipt"]["digest"] == whole.json["digest"]
    file.write_text(file.read_text().replace("Oslo", "Osla"))
    changed = muster("verify", addresses[0])
    assert (changed.code, f"DIFFERENT: {file.name}: sha256" in changed.out) == (7, True)
    assert (in_s3.json["state"], in_s3.json["outcome"]["version"]) == ("READY", 1)


def test_export_is_sorted_parquet_and_overwritten_only_on_request(muster: Muster, tmp_path: Path) -> None:
    imported(muster, write(tmp_path / "people.csv", "user_id,age", "u2,2", "u1,1"), "exported", "--column", "age:long")
    target = tmp_path / "out.parquet"
    answer = muster("export", "exported", "--to", target, "--json")
    assert (answer.code, answer.json["rows"]) == (0, 2)
    assert pq.read_table(target).to_pylist() == [{"user_id": "u1", "age": 1}, {"user_id": "u2", "age": 2}]
    again = muster("export", "exported", "--to", target)
    assert (again.code, "DESTINATION_EXISTS" in again.err) == (3, True)
    assert muster("export", "exported", "--to", target, "--overwrite").code == 0
    assert muster("export", "exported", "--to", "s3://lake/exports/exported.parquet").code == 0


def test_a_cancelled_job_publishes_nothing_and_can_be_retried(muster: Muster, context: Context, tmp_path: Path) -> None:
    file = write(tmp_path / "some.csv", "user_id", *(f"user-{n}" for n in range(1_000)))
    with held(context, WORKER):  # otherwise the job might end before the command starts
        submitted = muster("import", file, "-a", "cancelled", "--json")
        assert submitted.code == 0, submitted.err
        job = submitted.json["job"]
        answer = muster("jobs", "cancel", job, "--json")
    assert (answer.code, answer.json["state"]) == (0, "CANCELLED"), answer
    waited = muster("jobs", "wait", job)
    assert waited.code == 5
    assert muster("sql", "select * from audience('cancelled')").code == 3
    assert muster("jobs", "cancel", job, "--json").json["already"] is True
    with held(context, WORKER):  # otherwise the job might be over before the control plane has looked
        begun = muster("jobs", "retry", job, "--json")
        assert (begun.code, begun.json["retry_of"]) == (0, job)
        # The control plane derives the workers' lag from their offsets, per partition.
        stages, retry = context.progress.stages, begun.json["job"]
        progress = until(lambda: stages(retry).get("materialise"), "progress of the workers").record
        assert (len(progress["lag"]), len(progress["partitions"]), progress["total"]) == (8, 8, 1_000)
        assert progress["done"] == sum(progress["partitions"]) == 0
    retried = muster("jobs", "wait", retry, "--json")
    assert (retried.code, retried.json["receipt"]["members"]) == (0, 1_000)
    late = muster("jobs", "cancel", retry)
    assert (late.code, "TOO_LATE" in late.err) == (3, True)
    shown = muster("jobs", "show", retry, "--json").json
    assert [h["state"] for h in shown["history"]][-1] == "READY"
    assert [(p["taken"] == p["expected"], p["lag"]) for p in shown["partition_progress"]] == [(True, 0)] * 8
    assert "READY" in muster("jobs", "show", retry).out


def test_faulty_file_is_retried_only_if_forced(muster: Muster, tmp_path: Path) -> None:
    failed = muster("import", write(tmp_path / "bad.csv", "name", "x"), "-a", "stubborn", "--wait", "--json")
    refused = muster("jobs", "retry", failed.json["job"])
    assert (refused.code, "FILE_AT_FAULT" in refused.err) == (3, True)
    forced = muster("jobs", "retry", failed.json["job"], "--force", "--wait", "--json")
    assert (forced.code, forced.json["error"]["code"]) == (3, "MISSING_COLUMN")


@pytest.mark.faults("the simulator has imports side by side", seconds=10)
def test_concurrent_imports_never_mix(muster: Muster, context: Context) -> None:
    bucket = SOURCES
    members = {name: [f"{name}{n:05}" for n in range(5_000)] for name in ("a", "b")}
    put_in_order(context, {f"tests/race-{n}.csv": "\n".join(["user_id", *m, ""]).encode() for n, m in members.items()})
    older, newer = (
        ImportRequest(job_id=fresh_id(), tenant="default", audience="race", bucket=bucket, key=f"tests/race-{name}.csv")
        for name in ("a", "b")
    )
    for request in (newer, older):
        start(context.engine, request)
    codes = [ended(muster, request.job_id).code for request in (older, newer)]
    assert codes[1] == 0
    assert codes[0] in {0, 4}  # published before the newer one, or too late
    assert ids_of(context, "race") == members["b"]
    assert len(muster("audiences", "versions", "race", "--json").json) == (2 if codes[0] == 0 else 1)


def test_dead_letters_are_listed_and_sent_again(muster: Muster, context: Context) -> None:
    from confluent_kafka import Producer  # noqa: PLC0415  # only this test needs a client of its own

    letter = DeadLetter(
        topic=IMPORTS_SMALL, partition=Partition(1), offset=7, key=None, value=b"rubbish", reason="no", failed_at_us=0
    )
    producer = Producer({**librdkafka_config(context.settings.kafka_bootstrap)})
    producer.produce(DEAD_LETTERS, CODEC.encode(letter))
    visit = {"user_id": "u1", "event": "visit", "occurred_at": "2026-01-01T00:00:00Z", "tenant": "ghost"}
    producer.produce(EVENTS, json.dumps(visit).encode(), key=b"u1")
    producer.flush(10)
    listed = muster("dead-letters", "list", "--json").json
    mine = next(entry for entry in listed if entry["reason"] == "no")
    assert (mine["topic"], mine["partition"], mine["offset"], mine["bytes"]) == (IMPORTS_SMALL, 1, 7, 7)
    number = mine["dead_letter"]
    assert muster("dead-letters", "replay", number, "--json").json["sent"] == 1
    assert muster("dead-letters", "replay", 999_999).code == 3

    def listed_again() -> dict[int, Any] | None:
        found = {one["dead_letter"]: one for one in muster("dead-letters", "list", "--json").json}
        codes = {(one["topic"], one["code"]) for one in found.values()}
        return found if found[number]["refused_as"] in found and (EVENTS, "unknown_tenant") in codes else None

    letters = until(listed_again, "the letter, rejected again")
    assert letters[letters[number]["refused_as"]]["replay_of"] == number
    assert muster("dead-letters", "replay", number, "--json").json == {"sent": 0, "already": 1, "more": False}
    assert len(muster("dead-letters", "list", "--json").json) == len(letters), "it was not sent again"
    assert muster("dead-letters", "dismiss", "--all", "--json").json["dismissed"] == 2
    assert muster("dead-letters", "replay", "--all", "--json").json["sent"] == 0
    assert muster("dead-letters", "list", "--state", "open", "--json").json == []
    assert "rubbish" in muster("dead-letters", "show", number).out
    one = muster("dead-letters", "list", "--limit", 1, "--json")
    assert (len(one.json), one.err) == (1, "The newest 1; there are more, --limit shows them.\n")
    assert muster("dead-letters", "list").err == ""


def test_fsck_finds_and_repairs_derived_records(muster: Muster, context: Context, tmp_path: Path) -> None:
    done = imported(muster, write(tmp_path / "people.csv", "user_id", "u1"), "checked")
    receipt = done.json["receipt"]
    assert muster("fsck", "--repair").code == 0
    context.jobs.put_receipt(done.json["job"], {**receipt, "members": 99})
    context.jobs.put(done.json["job"], finished_at_ms=now_ms() - 120_000)
    # Objects staged after the sweeper's visit stay.
    until(lambda: done.json["job"] not in [j.job_id for j in context.jobs.to_sweep(now_ms())], "the sweeper's visit")
    leftover = f"imports/{done.json['job']}/000001/00000/x.parquet"
    context.objects.put(context.settings.staging_bucket, leftover, b"x")
    found = muster("fsck", "--json")
    assert found.code == 7
    wrong = {f["code"] for f in found.json["findings"] if f["severity"] == "wrong"}
    assert wrong == {"RECEIPT_WRONG", "STAGED_LEFTOVER"}
    assert muster("fsck", "--repair").code == 0
    assert muster("fsck").code == 0
    assert muster("receipt", done.json["job"], "--json").json["members"] == 1


def test_click_log_has_the_users_counted_by_duckdb(muster: Muster, tmp_path: Path) -> None:
    dice, clicks = random.Random(5), tmp_path / "clicks.csv.gz"
    rows = [f"{n},user-{dice.randrange(700)},/item/{dice.randrange(90)}\n" for n in range(3_000)]
    clicks.write_bytes(gzip.compress(("click,user_id,page\n" + "".join(rows)).encode()))
    source = f"read_csv('{clicks}', all_varchar=true, header=true)"
    [counted] = duckdb.execute(f"select count(*), count(distinct user_id) from {source}").fetchall()
    receipt = imported(muster, clicks, "clicks").json["receipt"]
    assert (receipt["rows"], receipt["members"]) == counted


def test_status_and_doctor_find_nothing_wrong(muster: Muster) -> None:
    assert muster("status").code == 0
    doctor = muster("doctor", "--json")
    assert [d for d in doctor.json if d["severity"] == "wrong"] == []
    assert doctor.code == 0


def test_second_worker_is_listed_under_its_own_name_and_ends_cleanly(
    muster: Muster, context: Context, tmp_path: Path
) -> None:
    home = context.settings.home
    metrics = (home / "metrics" / "worker-1").read_text()

    def names() -> list[str]:
        return [worker["worker"] for worker in muster("status", "--json").json["workers"]]

    assert names() == ["worker-1", "segment-worker-1"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command_line(["worker"]), env=environment(home), stdout=log, stderr=log)
        try:
            until(lambda: names() == ["worker-1", "worker-2", "segment-worker-1"], "both workers in their group")
            assert "worker-2" in muster("status").out
            assert (home / "metrics" / "worker-2").exists()
            assert (home / "metrics" / "worker-1").read_text() == metrics
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
    first, *lines = (tmp_path / "log").read_text().splitlines()
    assert (code, first) == (0, "Starting a worker; Ctrl-C stops it.")
    entries = [json.loads(line) for line in lines]
    # before this line: the metrics port is taken
    begun = [entry["message"].endswith("has started") for entry in entries].index(True)
    assert {entry["level"] for entry in entries[begun:]} == {"INFO"}
    assert not (home / "metrics" / "worker-2").exists()
    until(lambda: names() == ["worker-1", "segment-worker-1"], "the first worker alone")


GROUPS = ("audiences", "dead-letters", "jobs", "notifications", "schedules", "segments", "tenants")


@pytest.mark.parametrize("group", GROUPS)
def test_installed_script_prints_results_only_to_stdout(script: Muster, group: str) -> None:
    listed = script(group, "list", "--json")
    assert (listed.code, listed.err, type(listed.json)) == (0, "", list)


def test_installed_script_prints_errors_to_both_streams_and_sets_the_exit_code(script: Muster) -> None:
    refused = script("jobs", "show", "0" * 26, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (3, "UNKNOWN_JOB")
    assert refused.err.startswith("UNKNOWN_JOB: ")


def test_waiting_can_be_limited(muster: Muster, context: Context, tmp_path: Path) -> None:
    file = write(tmp_path / "patience.csv", "user_id", "u1")
    with held(context, WORKER):
        answer = muster("import", file, "-a", "patience", "--wait", "--timeout", "0.01")
    assert (answer.code, "jobs wait" in answer.err) == (6, True)
    [job] = until(lambda: context.jobs.search(audience="patience"), "the job")
    assert ended(muster, job.job_id).code == 0


def test_ctrl_c_ends_waiting_but_not_the_job(
    muster: Muster, deployment: Settings, context: Context, tmp_path: Path
) -> None:
    file = write(tmp_path / "long.csv", "user_id", "u1")
    # Background jobs of a shell ignore Ctrl-C, and so would their children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with held(context, WORKER):  # the job cannot end before the signal arrives
        waiting = subprocess.Popen(
            command_line(["import", str(file), "-a", "interrupted", "--wait"]),
            env=environment(deployment.home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        for line in waiting.stderr:
            if line.startswith("job "):  # submitted
                break
        waiting.send_signal(signal.SIGINT)
        said = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 130, said
    job = re.search(r"muster jobs wait ([0-9a-z]{26})", said)
    assert job is not None, said
    assert muster("jobs", "wait", job[1]).code == 0
