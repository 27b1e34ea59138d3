"""Imports that cannot succeed, through the whole stack: a clear cause, nothing published, and everything stays up."""

import gzip
import random
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from orchestration.composition.context import Context
from orchestration.kinds.events import ImportRequest
from orchestration.local import stack as local_stack
from orchestration.operations.submit import start
from orchestration.platform.clock import fresh_id
from orchestration.platform.settings import Settings
from orchestration.workflow.engine import IMPORT_MACHINE
from schemas.errors import FatalError
from schemas.layout import audience_prefix
from tests.conftest import SOURCES
from tests.e2e.conftest import Answer, Muster, ended, ids_of, put_in_order, submitted, write
from tests.faults.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture(autouse=True)
def _everything_stays_up(deployment: Settings) -> Iterator[None]:
    restarts = {part.name: part.restarts for part in local_stack.status(deployment).parts}
    yield
    now = local_stack.status(deployment)
    assert now.ready
    assert {part.name: part.restarts for part in now.parts} == restarts


def states_of(context: Context, execution: str) -> list[str]:
    """States that an execution passed through, once it has ended."""
    describe = context.workflow.describe_execution
    until(lambda: describe(executionArn=execution)["status"] != "RUNNING", f"the end of {execution}")
    events = context.workflow.get_execution_history(executionArn=execution, maxResults=1000)["events"]
    return [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]


def failed(answer: Answer) -> tuple[int, str, str]:
    """Exit code, state and error code."""
    return answer.code, answer.json["state"], answer.json["error"]["code"]


def test_system_error_ends_the_job_and_notifies_operators(muster: Muster, context: Context, tmp_path: Path) -> None:
    base = muster("import", write(tmp_path / "base.csv", "user_id", "u1"), "-a", "broken", "--wait")
    assert base.code == 0, base.err
    [audience] = [a for a in context.audiences.all() if a.name == "broken"]
    files = audience_prefix(audience.tenant, audience.audience_id) + "data/"
    context.objects.delete_prefix(context.settings.lake_bucket, files)  # a forbidden deletion

    more = write(tmp_path / "more.csv", "user_id", "u1", "u2")
    answer = muster("import", more, "-a", "broken", "--mode", "append", "--wait", "--json")
    assert failed(answer) == (1, "FAILED", "LAKE_FILE_MISSING")
    assert answer.json["error"]["kind"] == "system"
    shown = muster("jobs", "show", answer.json["job"], "--json").json
    assert (shown["state"], shown["failed_in"], shown["attempt"]) == ("FAILED", "BUILDING", 1)
    last = shown["history"][-1]
    assert (last["state"], last["attempt"]) == ("FAILED", 1)
    assert "LAKE_FILE_MISSING" in last["cause"]
    assert "LAKE_FILE_MISSING" in muster("jobs", "show", answer.json["job"]).out
    assert states_of(context, shown["execution"])[-4:] == [
        "MarkSystemFailure",
        "AfterFailure",
        "NotifyOperators",
        "SystemFailure",
    ]
    assert context.workflow.describe_execution(executionArn=shown["execution"])["status"] == "FAILED"
    assert muster("receipt", answer.json["job"]).code == 1
    assert len(muster("audiences", "versions", "broken", "--json").json) == 1
    assert muster("audiences", "delete", "broken", "--yes").code == 0


def test_user_error_ends_the_job_and_notifies_the_customer(muster: Muster, context: Context, tmp_path: Path) -> None:
    answer = muster("import", write(tmp_path / "a.csv", "name", "x"), "-a", "told", "--wait", "--json")
    assert failed(answer) == (3, "FAILED", "MISSING_COLUMN")
    shown = muster("jobs", "show", answer.json["job"], "--json").json
    assert (shown["failed_in"], shown["attempt"]) == ("VERIFYING", 0)
    states = states_of(context, shown["execution"])
    assert states[-5:] == ["ExtractCause", "MarkFailed", "AfterFailure", "NotifyCustomer", "UserFailure"]
    assert "MarkSystemFailure" not in states


def test_unregistrable_import_notifies_operators(context: Context) -> None:
    before = len(context.jobs.search(limit=1000))
    name = fresh_id()
    context.engine.start(IMPORT_MACHINE, name, {"resume": "no job id"})
    execution = context.engine.execution_arn(name)
    assert states_of(context, execution) == ["RegisterImport", "NotifyUnregistered", "SystemFailure"]
    assert context.workflow.describe_execution(executionArn=execution)["status"] == "FAILED"
    assert len(context.jobs.search(limit=1000)) == before


def test_late_older_object_is_reported_as_superseded(muster: Muster, context: Context) -> None:
    bucket = SOURCES
    put_in_order(context, {f"tests/order-{name}.csv": f"user_id\n{name}\n".encode() for name in ("old", "new")})
    newer = muster("import", f"s3://{bucket}/tests/order-new.csv", "-a", "order", "--wait", "--json")
    older = muster("import", f"s3://{bucket}/tests/order-old.csv", "-a", "order", "--wait", "--json")
    assert (newer.code, older.code, older.json["state"]) == (0, 4, "SUPERSEDED")
    shown = muster("jobs", "show", older.json["job"], "--json").json
    assert states_of(context, shown["execution"])[-2:] == ["NotifySuperseded", "Superseded"]
    assert ids_of(context, "order") == ["new"]


def test_object_changed_or_deleted_during_its_import_is_a_user_error(muster: Muster, context: Context) -> None:
    bucket, jobs = SOURCES, {}
    for what in ("overwritten", "vanishing"):
        key = f"tests/{what}.csv"
        context.objects.put(bucket, key, b"user_id\nu1\n")
        pinned = context.objects.pin(bucket, key)
        if what == "overwritten":
            context.objects.put(bucket, key, b"user_id\nU1\n")
        else:
            context.objects.delete(bucket, key)
        request = ImportRequest(job_id=fresh_id(), tenant="default", audience=what, bucket=bucket, key=key)
        # Register as if the workflow's first step had pinned the object earlier; the workflow itself then adds nothing.
        with patch.object(context.objects, "pin", return_value=pinned):
            context.register({"import": request.as_record()}, context.engine.execution_arn(request.job_id))
        start(context.engine, request)
        jobs[what] = request
    for (what, request), code in zip(jobs.items(), ("SOURCE_CHANGED", "SOURCE_GONE"), strict=True):
        assert failed(ended(muster, request.job_id)) == (3, "FAILED", code)
        assert muster("sql", f"select * from audience('{what}')").code == 3


def test_invalid_names_in_inbox_keys_make_failed_jobs_but_no_audiences(muster: Muster, context: Context) -> None:
    audiences, inbox = context.audiences.all(), context.settings.inbox_bucket
    wrong = {"🎉": ("default", "🎉"), "two words": ("two words", "vip"), "UPPER": ("default", "UPPER")}
    for tenant, audience in wrong.values():
        context.objects.put(inbox, f"{tenant}/{audience}/people.csv", b"user_id\nu1\n")
    for name, (tenant, audience) in wrong.items():
        assert_bad_name(muster, context, tenant, audience, name)
    assert context.audiences.all() == audiences


def test_dot_names_in_inbox_keys_are_refused_everywhere(muster: Muster, context: Context) -> None:
    audiences, inbox = context.audiences.all(), context.settings.inbox_bucket
    keys = {"default/../dots.csv": ("default", ".."), "../vip/dots.csv": ("..", "vip")}
    for key, (tenant, audience) in keys.items():
        with pytest.raises(FatalError, match=r"S3_REFUSED.*InvalidRequest"):
            context.objects.put(inbox, key, b"user_id\nu1\n")
        assert context.jobs.search(tenant=tenant, audience=audience) == []
    assert [stored.key for stored in context.objects.list(inbox) if stored.key.endswith("dots.csv")] == []

    for key in keys:
        event = {"bucket": {"name": inbox}, "object": {"key": key, "size": 11}}  # AWS would accept such a key
        context.engine.start(IMPORT_MACHINE, fresh_id(), {"detail": event})
    for tenant, audience in keys.values():
        assert_bad_name(muster, context, tenant, audience, "..")
    assert context.audiences.all() == audiences


def assert_bad_name(muster: Muster, context: Context, tenant: str, audience: str, wrong: str) -> None:
    """The only job of these names has failed, and its error says which of them is wrong."""
    found = until(lambda: context.jobs.search(tenant=tenant, audience=audience), f"a job for {tenant}/{audience}")
    answer = ended(muster, found[0].job_id)
    assert failed(answer) == (3, "FAILED", "BAD_NAME")
    assert repr(wrong) in answer.json["error"]["message"]


def columns(count: int) -> bytes:
    return ("user_id," + ",".join(f"c{n}" for n in range(1, count)) + "\n").encode()


NESTED = b'{"user_id":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "bomb.csv.gz": (gzip.compress(b"user_id\n") + gzip.compress(bytes(1 << 20)) * 200, "COMPRESSION_BOMB"),
    "cut.csv.gz": (gzip.compress(b"user_id\n" + b"u1\n" * 1000)[:-10], "TRUNCATED_FILE"),
    "deep.jsonl": (NESTED, "TOO_MANY_REJECTS"),
    "lying.parquet": (b"PAR1" + bytes(100) + (1 << 30).to_bytes(4, "little") + b"PAR1", "CORRUPT_FILE"),
    "wide.csv": (columns(30_000) + b"u1\n", "TOO_MANY_COLUMNS"),
    "nothing.csv": (b"", "EMPTY_FILE"),
    "quote.csv": (b'user_id\n"u1\n', "UNCLOSED_QUOTE"),
    "rubbish.csv": (random.Random(1).randbytes(100_000), "BAD_HEADER"),
}
"""One file for each way to hurt a reader; `tests/hostile` has them all."""


def test_hostile_files_are_refused_with_their_codes(muster: Muster, context: Context) -> None:
    bucket, jobs = SOURCES, {}
    for name, (content, _) in HOSTILE.items():
        context.objects.put(bucket, f"tests/hostile/{name}", content)
        jobs[name] = submitted(muster, f"s3://{bucket}/tests/hostile/{name}", "-a", "hostile")
    for name, (_, code) in HOSTILE.items():
        answer = ended(muster, jobs[name])
        assert failed(answer) == (3, "FAILED", code)
        assert answer.json["error"]["kind"] == "user"
    assert muster("sql", "select * from audience('hostile')").code == 3


def test_only_requested_columns_of_ten_thousand_are_kept(muster: Muster, tmp_path: Path) -> None:
    file = tmp_path / "wide.csv"
    file.write_bytes(columns(10_000) + b"u1" + b",x" * 9_998 + b",last\n")
    done = muster("import", file, "-a", "wide", "--column", "last=c9999", "--wait")
    assert done.code == 0, done.err
    assert muster("sql", "select * from audience('wide')", "--json").json == [{"user_id": "u1", "last": "last"}]


RECEIPT = (
    "job kind audience tenant state mode version snapshot_id attempt source rows accepted rejected rejected_by_code "
    "duplicates distinct members digest membership schema columns column_changes partitions started_at finished_at "
    "nulls_by_column emptied_columns"
)


def test_a_receipt_has_exactly_the_documented_keys(muster: Muster, tmp_path: Path) -> None:
    done = muster("import", write(tmp_path / "a.csv", "user_id", "u1"), "-a", "keys", "--wait", "--json")
    receipt = muster("receipt", done.json["job"], "--json").json
    assert set(receipt) == set(RECEIPT.split())
    assert set(receipt["source"]) == {"bucket", "key", "version_id", "etag", "bytes"}
    keys = {"partition", "chunks", "records", "distinct", "digest", "distinct_digest"}
    assert {frozenset(p) for p in receipt["partitions"]} == {frozenset(keys)}


def test_missing_parts_of_a_job_are_explained(muster: Muster, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "user_id", "u1", "")
    done = muster("import", file, "-a", "words", "--max-reject-share", "1", "--wait", "--json")
    clean = muster("import", write(tmp_path / "b.csv", "user_id", "u1"), "-a", "words", "--wait", "--json")
    for code, arguments in {
        "UNKNOWN_STATE": ("jobs", "list", "--state", "ASLEEP"),
        "NOT_WRITABLE": ("rejects", done.json["job"], "--to", tmp_path / "none" / "rejects.parquet"),
        "NO_REJECTS": ("sql", f"select * from rejects('{clean.json['job']}')"),
        "UNKNOWN_JOB": ("jobs", "show", "0" * 26),
    }.items():
        answer = muster(*arguments)
        assert (answer.code, code in answer.err) == (3, True), answer.err


def test_the_imports_that_inspect_suggests_run(muster: Muster, context: Context, tmp_path: Path) -> None:
    jobs = {}
    for audience, name, lines, options in (
        ("by-format", "people.txt", ["E-Mail,Age (years),uid", "a@x,7,u1", "b@x,8,u2"], ("--format", "csv")),
        ("by-share", "one good user.csv", ["user_id,n", *["u1,1"] * 20_000, *["broken"] * 10_000], ()),
        ("by-quoting", "it's.jsonl", ['{"member_id": "u1", "seen at": "2026-01-01T00:00:00Z"}'], ()),
    ):
        said = muster("inspect", write(tmp_path / name, *lines), *options)
        assert said.code == 0, said.err
        program, command, source, *arguments = shlex.split(said.out[said.out.rindex("muster import") :])
        assert (program, command) == ("muster", "import")
        arguments[arguments.index("NAME")] = audience
        jobs[audience] = submitted(muster, source, *arguments)
    for audience, members in (("by-format", ["u1", "u2"]), ("by-share", ["u1"]), ("by-quoting", ["u1"])):
        assert ended(muster, jobs[audience]).code == 0
        assert ids_of(context, audience) == members
