"""Imports that cannot end well, through the whole stack: a clear cause, nothing published, and everything stays up."""

import gzip
import io
import random
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.clock import fresh_id
from orchestration.context import Context
from orchestration.local import stack as local_stack
from orchestration.operations.submit import start
from orchestration.relay.executions import start_execution
from orchestration.settings import Settings
from orchestration.steps.events import ImportRequest
from schemas.errors import FatalError
from schemas.layout import audience_prefix
from tests.e2e.conftest import Answer, Muster, ids_of, write
from tests.integration.whole_imports import FUNCTIONS, held

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

LONG_NAME = "a" * 64


@pytest.fixture(autouse=True)
def _everything_stays_up(deployment: Settings) -> Iterator[None]:
    restarts = {part.name: part.restarts for part in local_stack.status(deployment).parts}
    yield
    now = local_stack.status(deployment)
    assert now.ready
    assert {part.name: part.restarts for part in now.parts} == restarts


def states_of(context: Context, execution: str) -> list[str]:
    """The states that an execution has come through, once it has ended."""
    deadline = time.monotonic() + 60
    while context.workflow.describe_execution(executionArn=execution)["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    events = context.workflow.get_execution_history(executionArn=execution, maxResults=1000)["events"]
    return [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]


def failed(answer: Answer) -> tuple[int, str, str]:
    """Exit code, state and error code."""
    return answer.code, answer.json["state"], answer.json["error"]["code"]


def test_a_system_error_ends_the_job_with_its_cause_and_calls_the_operators(
    muster: Muster, context: Context, tmp_path: Path
) -> None:
    base = muster("import", write(tmp_path / "base.csv", "user_id", "u1"), "-a", "broken", "--wait")
    assert base.code == 0, base.err
    [audience] = [a for a in context.audiences.all() if a.name == "broken"]
    files = audience_prefix(audience.tenant, audience.audience_id) + "data/"
    context.objects.delete_prefix(context.settings.lake_bucket, files)  # what nobody may do

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


def test_a_user_error_ends_the_job_with_its_cause_and_tells_the_customer(
    muster: Muster, context: Context, tmp_path: Path
) -> None:
    answer = muster("import", write(tmp_path / "a.csv", "name", "x"), "-a", "told", "--wait", "--json")
    assert failed(answer) == (3, "FAILED", "MISSING_COLUMN")
    shown = muster("jobs", "show", answer.json["job"], "--json").json
    assert (shown["failed_in"], shown["attempt"]) == ("VERIFYING", 0)
    states = states_of(context, shown["execution"])
    assert states[-5:] == ["ExtractCause", "MarkFailed", "AfterFailure", "NotifyCustomer", "UserFailure"]
    assert "MarkSystemFailure" not in states


def test_an_import_that_cannot_be_registered_is_told_to_the_operators(context: Context) -> None:
    before = len(context.jobs.search(limit=1000))
    execution = start_execution(context, {"resume": "no job id"}, fresh_id())
    assert states_of(context, execution) == ["RegisterImport", "NotifyUnregistered", "SystemFailure"]
    assert context.workflow.describe_execution(executionArn=execution)["status"] == "FAILED"
    assert len(context.jobs.search(limit=1000)) == before


def test_an_older_object_after_a_newer_one_is_superseded_and_says_so(muster: Muster, context: Context) -> None:
    bucket = context.settings.staging_bucket
    for name in ("old", "new"):
        context.objects.put(bucket, f"tests/order-{name}.csv", f"user_id\n{name}\n".encode())
        time.sleep(1.1)  # S3 times are whole seconds
    newer = muster("import", f"s3://{bucket}/tests/order-new.csv", "-a", "order", "--wait", "--json")
    older = muster("import", f"s3://{bucket}/tests/order-old.csv", "-a", "order", "--wait", "--json")
    assert (newer.code, older.code, older.json["state"]) == (0, 4, "SUPERSEDED")
    shown = muster("jobs", "show", older.json["job"], "--json").json
    assert states_of(context, shown["execution"])[-2:] == ["NotifySuperseded", "Superseded"]
    assert ids_of(muster, "order") == ["new"]


def test_an_object_that_is_overwritten_during_the_import_is_a_user_error(muster: Muster, context: Context) -> None:
    bucket, key = context.settings.staging_bucket, "tests/overwritten.csv"
    rows = b"user_id\n" + b"".join(b"user-%d\n" % n for n in range(1_000_000))
    changed = rows.replace(b"user", b"USER")
    context.objects.put(bucket, key, rows)
    request = ImportRequest(job_id=fresh_id(), tenant="default", audience="overwritten", bucket=bucket, key=key)
    start(context, request)
    deadline = time.monotonic() + 60
    while context.jobs.find(request.job_id) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with held(context, FUNCTIONS):  # or the import might be over before the object has changed
        context.objects.put(bucket, key, changed)
    answer = muster("jobs", "wait", request.job_id, "--json")
    assert failed(answer) == (3, "FAILED", "SOURCE_CHANGED")
    assert muster("sql", "select * from audience('overwritten')").code == 3


@pytest.mark.parametrize("tenant", ["two words", "..", "a/b", "🎉", "UPPER", LONG_NAME])
def test_a_bad_tenant_is_refused_before_anything_is_uploaded(
    muster: Muster, context: Context, tmp_path: Path, tenant: str
) -> None:
    before = len(context.jobs.search(limit=1000))
    answer = muster("import", write(tmp_path / "a.csv", "user_id", "u1"), "-a", "vip", "--tenant", tenant, "--wait")
    assert (answer.code, "BAD_NAME" in answer.err) == (3, True)
    assert len(context.jobs.search(limit=1000)) == before


@pytest.mark.parametrize(
    ("tenant", "audience"),
    [
        ("default", "two words"),
        ("default", "🎉"),
        ("default", "UPPER"),
        ("default", LONG_NAME),
        ("default", "-dash"),
        ("two words", "vip"),
        ("🎉", "vip"),
        ("UPPER", "vip"),
        (LONG_NAME, "vip"),
    ],
)
def test_a_bad_name_in_an_inbox_key_is_a_failed_job_and_no_audience(
    muster: Muster, context: Context, tenant: str, audience: str
) -> None:
    audiences = context.audiences.all()
    context.objects.put(context.settings.inbox_bucket, f"{tenant}/{audience}/people.csv", b"user_id\nu1\n")
    assert_bad_name(muster, context, tenant, audience, tenant if tenant != "default" else audience)
    assert context.audiences.all() == audiences


@pytest.mark.parametrize(
    ("key", "tenant", "audience"), [("default/../dots.csv", "default", ".."), ("../vip/dots.csv", "..", "vip")]
)
def test_dots_for_a_name_in_an_inbox_key_are_refused_by_the_store_and_by_whoever_is_told_of_them(
    muster: Muster, context: Context, key: str, tenant: str, audience: str
) -> None:
    audiences, inbox = context.audiences.all(), context.settings.inbox_bucket
    with pytest.raises(FatalError, match=r"S3_REFUSED.*InvalidRequest"):
        context.objects.put(inbox, key, b"user_id\nu1\n")
    assert [stored.key for stored in context.objects.list(inbox) if stored.key.endswith("dots.csv")] == []
    assert context.jobs.search(tenant=tenant, audience=audience) == []

    told = {"bucket": {"name": inbox}, "object": {"key": key, "size": 11}}  # AWS would take such a key
    start_execution(context, {"detail": told}, fresh_id())
    assert_bad_name(muster, context, tenant, audience, "..")
    assert context.audiences.all() == audiences


def assert_bad_name(muster: Muster, context: Context, tenant: str, audience: str, wrong: str) -> None:
    """The one job of the names has failed, and says which of them is wrong."""
    deadline = time.monotonic() + 60
    while not (found := context.jobs.search(tenant=tenant, audience=audience)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    answer = muster("jobs", "wait", found[0].job_id, "--json")
    assert failed(answer) == (3, "FAILED", "BAD_NAME")
    assert repr(wrong) in answer.json["error"]["message"]


def parquet(**columns: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def columns(count: int) -> bytes:
    return ("user_id," + ",".join(f"c{n}" for n in range(1, count)) + "\n").encode()


NAN = pa.array([1.5, float("nan")])
HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "gzip bomb": ("a.csv.gz", lambda: gzip.compress(b"user_id\n" + bytes(200 << 20)), "COMPRESSION_BOMB"),
    "deep JSON": (
        "a.jsonl",
        lambda: b'{"user_id":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        "TOO_MANY_REJECTS",
    ),
    "truncated Parquet": ("a.parquet", lambda: parquet(user_id=["a", "b"])[:-20], "CORRUPT_FILE"),
    "lying Parquet": (
        "a.parquet",
        lambda: b"PAR1" + bytes(100) + (1 << 30).to_bytes(4, "little") + b"PAR1",
        "CORRUPT_FILE",
    ),
    "NaN ids": ("a.parquet", lambda: parquet(user_id=NAN), "BAD_COLUMN_TYPE"),
    "NaN attributes": ("a.parquet", lambda: parquet(user_id=["a", "b"], age=NAN), "TOO_MANY_REJECTS"),
    "30,000 columns": ("a.csv", lambda: columns(30_000) + b"u1\n", "TOO_MANY_COLUMNS"),
    "zero bytes": ("a.csv", lambda: b"", "EMPTY_FILE"),
    "binary rubbish": ("a.csv", lambda: random.Random(1).randbytes(100_000), "BAD_HEADER"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_with_its_code(muster: Muster, context: Context, what: str) -> None:
    name, content, code = HOSTILE[what]
    key = f"tests/hostile/{what}/{name}"
    context.objects.put(context.settings.staging_bucket, key, content())
    options = ("--column", "age:double") if what == "NaN attributes" else ()
    uri = f"s3://{context.settings.staging_bucket}/{key}"
    answer = muster("import", uri, "-a", "hostile", *options, "--wait", "--json")
    assert failed(answer) == (3, "FAILED", code)
    assert answer.json["error"]["kind"] == "user"
    assert muster("sql", "select * from audience('hostile')").code == 3


def test_ten_thousand_columns_are_read_and_only_what_is_asked_for_is_kept(muster: Muster, tmp_path: Path) -> None:
    file = tmp_path / "wide.csv"
    file.write_bytes(columns(10_000) + b"u1" + b",x" * 9_998 + b",last\n")
    done = muster("import", file, "-a", "wide", "--column", "last=c9999", "--wait")
    assert done.code == 0, done.err
    assert muster("sql", "select * from audience('wide')", "--json").json == [{"user_id": "u1", "last": "last"}]


RECEIPT = (
    "job kind audience tenant state mode version snapshot_id attempt source rows accepted rejected rejected_by_code "
    "duplicates distinct members digest membership schema partitions started_at finished_at"
)


def test_a_receipt_has_exactly_the_documented_keys(muster: Muster, tmp_path: Path) -> None:
    done = muster("import", write(tmp_path / "a.csv", "user_id", "u1"), "-a", "keys", "--wait", "--json")
    receipt = muster("receipt", done.json["job"], "--json").json
    assert set(receipt) == set(RECEIPT.split())
    assert set(receipt["source"]) == {"bucket", "key", "version_id", "etag", "bytes"}
    keys = {"partition", "chunks", "records", "distinct", "digest", "distinct_digest"}
    assert {frozenset(p) for p in receipt["partitions"]} == {frozenset(keys)}


def test_what_a_job_does_not_have_is_said_in_words(muster: Muster, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("name", "lines", "options", "members"),
    [
        ("people.txt", ["E-Mail,Age (years),uid", "a@x,7,u1", "b@x,8,u2"], ("--format", "csv"), ["u1", "u2"]),
        ("one good row.csv", ["user_id,n", "u1,1", *["broken"] * 30_000], (), ["u1"]),
        ("it's.jsonl", ['{"member_id": "u1", "seen at": "2026-01-01T00:00:00Z"}'], (), ["u1"]),
    ],
    ids=["format", "capped-share", "quoting"],
)
def test_the_import_that_inspect_suggests_runs(
    muster: Muster, tmp_path: Path, name: str, lines: list[str], options: tuple[str, ...], members: list[str]
) -> None:
    audience = f"suggested-{len(lines)}-{len(name)}"
    said = muster("inspect", write(tmp_path / name, *lines), *options)
    assert said.code == 0, said.err
    program, *arguments = shlex.split(said.out[said.out.rindex("muster import") :])
    assert program == "muster"
    arguments[arguments.index("NAME")] = audience
    done = muster(*arguments, "--wait")
    assert done.code == 0, done.err
    assert ids_of(muster, audience) == members
