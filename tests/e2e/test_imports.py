"""Imports through the command line: formats, modes, rejects, duplicates, guards, and how they end."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.composition.context import Context
from tests.conftest import SOURCES
from tests.e2e.conftest import Muster, ended, ids_of, submitted, write
from tests.faults.waiting import until
from tests.hostile.avro_bytes import avro, record

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
PEOPLE = {"u1": "Oslo", "u2": None}


def test_a_csv_becomes_a_version_whose_receipt_adds_up(muster: Muster, script: Muster, tmp_path: Path) -> None:
    file = write(tmp_path / "people.csv", "user_id,age", "u1,1", "u2,2", "u3,3", "u2,4")
    answer = script("import", file, "--audience", "csv", "--column", "age:long", "--wait", "--json")
    assert answer.code == 0, answer.err
    receipt = answer.json["receipt"]
    assert answer.json["state"] == "READY"
    assert (receipt["rows"], receipt["accepted"], receipt["rejected"]) == (4, 4, 0)
    assert (receipt["distinct"], receipt["duplicates"], receipt["members"], receipt["version"]) == (3, 1, 3, 1)
    assert sum(p["records"] for p in receipt["partitions"]) == 4
    rows = muster("sql", "select * from audience('csv') order by user_id", "--json").json
    assert rows == [{"user_id": "u1", "age": 1}, {"user_id": "u2", "age": 4}, {"user_id": "u3", "age": 3}]
    assert muster("receipt", answer.json["job"], "--json").json == receipt
    assert f"job {answer.json['job']}" in answer.err  # progress goes to stderr, next to the document on stdout


def test_several_files_become_one_version(muster: Muster, context: Context, tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.csv", "user_id,n", "u1,1", "same,1"),
        write(tmp_path / "b.csv", "n,user_id", "2,u2", "x,bad", "2,same"),
    ]
    options = ("-a", "set", "--column", "n:long", "--max-reject-share", "0.5")
    said = muster("import", *files, *options, "--dry-run", "--json")
    done = muster("import", *files, *options, "--wait", "--json")
    assert (said.code, done.code) == (0, 0), said.err + done.err
    receipt = done.json["receipt"]
    assert (receipt["rows"], receipt["rejected"], receipt["duplicates"], receipt["members"]) == (5, 1, 1, 3)
    assert (said.json["files"], said.json["membership"]["members"]) == (2, 3)
    rows = muster("sql", "select * from audience('set') order by user_id", "--json").json
    assert rows == [{"user_id": "same", "n": 2}, {"user_id": "u1", "n": 1}, {"user_id": "u2", "n": 2}]
    job = done.json["job"]
    [reject] = muster("rejects", job, "--json").json["rejects"]
    assert (reject["file"].rpartition("/")[2], reject["line"], reject["column"]) == ("b.csv", 3, "n")
    assert [one["rows"] for one in muster("jobs", "files", job, "--json").json] == [2, 3]
    again = muster("import", *files, *options, "--wait", "--json")
    assert (again.code, again.json["job"]) == (0, job)  # the same contents, in the same order

    context.objects.put(SOURCES, "set/0.csv", b"user_id\nu7\n")
    context.objects.put(SOURCES, "set/1.csv", b"user_id\nu8\n")
    listed = write(tmp_path / "list.txt", f"s3://{SOURCES}/set/1.csv", f"s3://{SOURCES}/set/0.csv")
    assert muster("import", "--list", listed, "-a", "listed", "--wait").code == 0
    assert muster("import", f"s3://{SOURCES}/set/", "-a", "prefix", "--wait").code == 0
    assert ids_of(context, "listed") == ids_of(context, "prefix") == ["u7", "u8"]
    assert muster("import", f"s3://{SOURCES}/nothing/", "-a", "prefix", "--wait").code == 3


@pytest.mark.faults("each format is read in unit/connectors/sources and tests/hostile", seconds=15)
def test_every_format_gives_the_same_members(muster: Muster, tmp_path: Path) -> None:
    files = {form: tmp_path / f"people.{form}" for form in ("csv.gz", "jsonl", "parquet", "avro")}
    files["csv.gz"].write_bytes(gzip.compress(b"user_id,city\nu1,Oslo\nu2,\n"))
    write(files["jsonl"], '{"user_id": "u1", "city": "Oslo"}', '{"user_id": "u2", "city": null}')
    pq.write_table(pa.table({"user_id": ["u1", "u2"], "city": ["Oslo", None]}), files["parquet"])
    people = record(("user_id", "string"), ("city", ["null", "string"]))
    files["avro"].write_bytes(avro(people, [{"user_id": "u1", "city": "Oslo"}, {"user_id": "u2", "city": None}]))
    audiences = {form: "form-" + form.replace(".", "-") for form in files}
    jobs = [submitted(muster, files[form], "-a", audiences[form], "--column", "city") for form in files]
    keyed = ("-a", "keyed", "--key", "people of monday")
    assert submitted(muster, files["jsonl"], *keyed) == submitted(muster, files["jsonl"], *keyed)
    assert [ended(muster, job).code for job in jobs] == [0, 0, 0, 0]
    every = " union all ".join(f"select *, '{form}' as form from audience('{audiences[form]}')" for form in files)
    rows = muster("sql", f"select * from ({every}) order by form, user_id", "--json").json
    assert rows == [
        {"user_id": user, "city": city, "form": form} for form in sorted(files) for user, city in PEOPLE.items()
    ]
    shown = muster("audiences", "show", "form-jsonl", "--json").json
    assert (shown["current"]["tag"], shown["table"]["name"]) == ("v1", "default.form-jsonl")


def test_append_and_remove_match_their_dry_runs(muster: Muster, context: Context, tmp_path: Path) -> None:
    first = write(tmp_path / "first.csv", "user_id", "u1", "u2", "u3")
    more = write(tmp_path / "more.csv", "user_id", "u3", "u4", "u4")
    less = write(tmp_path / "less.csv", "user_id", "u1", "u9")
    assert muster("import", first, "-a", "modes", "--wait").code == 0
    for file, mode, ids, counts in (
        (more, "append", ["u1", "u2", "u3", "u4"], (3, 1, 0, 3, 4)),
        (less, "remove", ["u2", "u3", "u4"], (4, 0, 1, 3, 3)),
    ):
        said = muster("import", file, "-a", "modes", "--mode", mode, "--dry-run", "--json")
        done = muster("import", file, "-a", "modes", "--mode", mode, "--wait", "--json")
        assert (said.code, done.code) == (0, 0), said.err + done.err
        names = ("base", "added", "removed", "kept", "members")
        assert tuple(said.json["membership"][n] for n in names) == counts
        assert tuple(done.json["receipt"]["membership"][n] for n in names) == counts
        assert said.json["duplicates"] == done.json["receipt"]["duplicates"]
        assert ids_of(context, "modes") == ids
    assert ids_of(context, "modes", version=1) == ["u1", "u2", "u3"]


def test_single_users_are_added_and_removed_with_receipts(muster: Muster, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "mail,Age", "u1,20", "u2,30", "u3,40")
    given = ("--id-column", "mail", "--column", "age:long=Age")
    assert muster("import", file, "-a", "single", *given, "--wait").code == 0
    refused = muster("audiences", "add", "single", "u4")
    assert (refused.code, "MISSING_COLUMN" in refused.err) == (3, True)
    assert muster("audiences", "configure", "single", "--allow-missing-column", "age").code == 0
    added = muster("audiences", "add", "single", "u4", 'a "b", c', "u1", "u4", "--wait", "--json")
    receipt = added.json["receipt"]
    assert (receipt["rows"], receipt["duplicates"], receipt["membership"]["added"]) == (4, 1, 2), added.err
    rows = muster("sql", "select user_id, age from audience('single') order by 1", "--json").json
    expected = [('a "b", c', None), ("u1", 20), ("u2", 30), ("u3", 40), ("u4", None)]
    assert [(row["user_id"], row["age"]) for row in rows] == expected
    again = muster("audiences", "remove", "single", "u4", "u9", "--wait", "--json").json["receipt"]
    assert (again["membership"]["removed"], again["members"]) == (1, 4)
    shrunk = muster("audiences", "remove", "single", "u1", "u2", "u3", "--wait")
    assert (shrunk.code, "AUDIENCE_WOULD_SHRINK" in shrunk.out) == (3, True)


@pytest.mark.slow("eleven jobs, of which each runs a query of its own")
def test_audience_is_built_from_a_query(muster: Muster, context: Context, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "user_id,age", "u1,20", "u2,30", "u3,40", "u4,")
    assert muster("import", file, "-a", "base", "--column", "age:long", "--wait").code == 0
    sql = "select user_id, age, sum(age) over () as total from audience('base') where age < 40 -- young"
    tried = muster("audiences", "build", "young", "--sql", sql, "--dry-run", "--json")
    assert (tried.code, tried.json["rows"], tried.json["users_in_current"]) == (0, 2, 0), tried.err
    built = muster("audiences", "build", "young", "--sql", sql, "--wait", "--json")
    assert built.code == 0, built.err + built.out
    receipt = built.json["receipt"]
    assert (receipt["rows"], receipt["members"]) == (2, 2)
    assert [(one["name"], one["type"]) for one in receipt["columns"]] == [("age", "long"), ("total", "long")]
    query = receipt["source"]["query"]
    assert query["sha256"] == hashlib.sha256(sql.encode()).hexdigest()
    assert query["read"] == [{"audience": "base", "version": 1}]
    assert "young" not in str(query)  # the text is not in the receipt
    rows = muster("sql", "select user_id, age, total from audience('young') order by 1", "--json").json
    assert rows == [{"user_id": "u1", "age": 20, "total": 50}, {"user_id": "u2", "age": 30, "total": 50}]
    whole = "select user_id, age, 1 as total from audience('base')"
    tried = muster("audiences", "build", "young", "--sql", whole, "--mode", "append", "--dry-run", "--json").json
    assert (tried["users"], tried["users_in_current"], tried["current_members"]) == (4, 2, 2)
    for text, code in (
        ("select age from audience('base')", "BAD_SQL"),
        ("select user_id from audience('base')", "COLUMNS_WOULD_CHANGE"),
        ("select null::varchar as user_id, age, 1 as total from audience('base')", "TOO_MANY_REJECTS"),
        ("select user_id, age, 1 as total from audience('base', tenant => 'other')", "BAD_SQL"),
        ("select user_id, age, 1 as total from audience('base') limit 0", "EMPTY_FILE"),
        ("select 'x' as user_id; drop table x", "BAD_SQL"),
    ):
        refused = muster("audiences", "build", "young", "--sql", text, "--wait")
        assert (refused.code, code in refused.out + refused.err) == (3, True), (text, refused.out, refused.err)
    doubled = f"from ({whole}) union all from ({whole})"
    again = muster("audiences", "build", "young", "--sql", doubled, "--mode", "append", "--wait", "--json").json
    assert (again["receipt"]["duplicates"], again["receipt"]["members"]) == (4, 4)
    made = muster("audiences", "build", "young", "--sql", whole, "--schedule", "rate(1 day)", "--json")
    assert (made.code, made.json["request"]["sql"]) == (0, whole), made.err
    job = muster("schedules", "run", "build-young", "--json").json["job"]
    assert muster("jobs", "wait", job).code == 0
    assert len(ids_of(context, "young")) == 4


def test_columns_are_kept_until_explicitly_dropped(muster: Muster, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "user_id,age,city", "u1,20,Ulm", "u2,30,Bonn")
    more = write(tmp_path / "b.csv", "user_id,age", "u3,40")

    def version(number: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = muster(
            "sql", f"select * from audience('cols', version => {number}) order by user_id", "--json"
        ).json
        return rows

    both = ("--column", "age:long", "--column", "city")
    assert muster("import", file, "-a", "cols", *both, "--wait").code == 0
    said = muster("import", more, "-a", "cols", "--column", "age:long", "--dry-run", "--json")
    assert (said.code, said.json["problems"][0]["code"]) == (3, "COLUMNS_WOULD_CHANGE")
    assert said.json["column_changes"]["dropped"] == [{"name": "city", "type": "string"}]
    refused = muster("import", more, "-a", "cols", "--column", "age:long", "--wait")
    assert (refused.code, "COLUMNS_WOULD_CHANGE" in refused.out) == (3, True)
    # The import that created the audience fixed how its files are read.
    appended = muster("import", more, "-a", "cols", "--mode", "append", "--drop-column", "city", "--wait")
    assert (appended.code, "column changes  dropped city:string" in appended.out) == (0, True), appended.err
    assert version(2) == [{"user_id": f"u{n}", "age": 10 * (n + 1)} for n in (1, 2, 3)]
    assert muster("import", file, "-a", "cols", "--column", "age:double", "--retype", "age", "--wait").code == 0
    assert version(3) == [{"user_id": "u1", "age": 20.0}, {"user_id": "u2", "age": 30.0}]
    assert version(1) == [{"user_id": "u1", "age": 20, "city": "Ulm"}, {"user_id": "u2", "age": 30, "city": "Bonn"}]
    assert muster("audiences", "rollback", "cols", "--to", "1").code == 0
    assert version(4) == version(1)
    shown = muster("audiences", "show", "cols", "--json").json
    assert [(c["name"], c["type"]) for c in shown["spec"]["columns"]] == [("age", "double")]


def test_a_dry_run_leaves_no_trace(muster: Muster, tmp_path: Path) -> None:
    file = write(tmp_path / "dry.csv", "user_id", "u1")
    answer = muster("import", file, "-a", "dry", "--dry-run", "--json")
    assert (answer.code, answer.json["would_publish"], answer.json["membership"]["added"]) == (0, True, 1)
    assert muster("audiences", "show", "dry").code == 3
    assert muster("jobs", "list", "--audience", "dry", "--json").json == []


def test_dry_run_quotes_files_of_any_kind_and_location(muster: Muster, tmp_path: Path, context: Context) -> None:
    file = write(tmp_path / "quoted.csv", "user_id", "u1", "u2")
    said = muster("import", file, "-a", "quoted", "--dry-run")
    assert "here it costs nothing" in said.out
    assert [line.split()[:2] for line in said.out.splitlines() if line.startswith(("verify", "materialise"))] == [
        ["verify", "function"],
        ["materialise", "workers"],
    ]
    table = pa.table({"user_id": ["u1"], "event": ["e"], "occurred_at": ["2026-01-01T00:00:00Z"]})
    pq.write_table(table, tmp_path / "events.parquet")
    context.objects.put_file(tmp_path / "events.parquet", SOURCES, "quoted/events.parquet")
    source = f"s3://{SOURCES}/quoted/events.parquet"
    answer = muster("import", source, "--kind", "events", "--dry-run", "--json")
    assert answer.code == 0, answer.err
    quote = answer.json["quote"]
    assert [stage["stage"] for stage in quote["stages"]] == ["workflow", "verify", "import", "archive", "publish"]
    assert quote["seconds"] == pytest.approx(sum(stage["seconds"] for stage in quote["stages"]), abs=0.01)
    assert (quote["billed"], quote["can_end"], quote["lake_gb"]) == (False, True, 0.0)


def test_bad_rows_refuse_the_file_and_are_all_named(muster: Muster, tmp_path: Path) -> None:
    file = write(tmp_path / "bad.csv", "user_id,age", "u1,1", "u2,old", ",3", "u4,4,extra", "u5,5")
    options = ("-a", "bad", "--column", "age:long")
    refused = muster("import", file, *options, "--wait", "--json")
    assert refused.code == 3
    assert refused.json["error"]["code"] == "TOO_MANY_REJECTS"
    assert refused.json["error"]["detail"]["rejected_by_code"] == {"bad_value": 1, "field_count": 1, "id_empty": 1}
    rejects = muster("rejects", refused.json["job"], "--json").json
    assert [(r["line"], r["code"]) for r in rejects["rejects"]] == [
        (3, "bad_value"),
        (4, "id_empty"),
        (5, "field_count"),
    ]
    assert "line" in muster("rejects", refused.json["job"]).out.lower()
    accepted = muster("import", file, *options, "--max-reject-share", "0.6", "--wait", "--json")
    assert accepted.code == 0, accepted.err
    assert (accepted.json["receipt"]["rejected"], accepted.json["receipt"]["members"]) == (3, 2)
    counted = muster("sql", f"select code, count(*) n from rejects('{accepted.json['job']}') group by 1 order by 1")
    assert counted.out == "code,n\nbad_value,1\nfield_count,1\nid_empty,1\n"


def test_object_is_imported_once_unless_forced(muster: Muster, context: Context, tmp_path: Path) -> None:
    context.objects.put(SOURCES, "tests/twice.csv", b"user_id\nu1\n")
    uri = f"s3://{SOURCES}/tests/twice.csv"
    first = muster("import", uri, "-a", "twice", "--wait", "--json")
    second = muster("import", uri, "-a", "twice", "--wait", "--json")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert second.json["duplicate_of"] == first.json["job"]
    assert "duplicate" in second.err
    third = muster("import", uri, "-a", "twice", "--again", "--wait", "--json")
    assert third.code == 0
    assert (third.json["duplicate_of"], third.json["receipt"]["version"]) == (None, 2)


def test_accidental_shrink_is_refused(muster: Muster, context: Context, tmp_path: Path) -> None:
    full = write(tmp_path / "full.csv", "user_id", *(f"u{n}" for n in range(10)))
    half = write(tmp_path / "half.csv", "user_id", *(f"u{n}" for n in range(4)))
    assert muster("import", full, "-a", "shrink", "--wait").code == 0
    said = muster("import", half, "-a", "shrink", "--dry-run", "--json")
    assert (said.code, said.json["problems"][0]["code"]) == (3, "AUDIENCE_WOULD_SHRINK")
    refused = muster("import", half, "-a", "shrink", "--wait")
    assert refused.code == 3
    assert "AUDIENCE_WOULD_SHRINK" in refused.out
    assert len(ids_of(context, "shrink")) == 10
    assert muster("import", half, "-a", "shrink", "--allow-shrink", "--wait").code == 0
    assert len(ids_of(context, "shrink")) == 4


def test_invalid_name_is_refused_before_the_upload(muster: Muster, context: Context, tmp_path: Path) -> None:
    file = write(tmp_path / "ok.csv", "user_id", "u1")
    before = len(context.jobs.search(limit=1000))
    for names in (("-a", "UPPER"), ("-a", "🎉"), ("-a", ""), ("-a", "vip", "--tenant", "..")):
        answer = muster("import", file, *names, "--wait")
        assert (answer.code, "BAD_NAME" in answer.err) == (3, True)
    assert len(context.jobs.search(limit=1000)) == before


def test_unknown_tenant_is_refused_until_created(muster: Muster, tmp_path: Path) -> None:
    file = write(tmp_path / "ok.csv", "user_id", "u1")
    refused = muster("import", file, "-a", "vip", "--tenant", "acme", "--wait")
    assert (refused.code, "UNKNOWN_TENANT" in refused.err) == (3, True)
    assert muster("tenants", "create", "acme").code == 0
    assert muster("import", file, "-a", "vip", "--tenant", "acme", "--wait").code == 0
    assert "acme" in muster("tenants", "list", "--json").json
    assert muster("sql", "select count(*) n from audience('vip', tenant => 'acme')", "--json").json == [{"n": 1}]


def test_a_missing_file_and_a_missing_object_are_user_errors(muster: Muster, tmp_path: Path) -> None:
    for source in (tmp_path / "none.csv", f"s3://{SOURCES}/none.csv", "s3://no-such-bucket/x.csv", "s3://"):
        answer = muster("import", source, "-a", "missing")
        assert answer.code == 3, answer.err
    for options in ((), ("--dry-run",)):
        answer = muster("import", "s3://lake/none.csv", "-a", "missing", *options)
        assert (answer.code, answer.err.split(":")[0]) == (3, "BAD_SOURCE")


def test_inbox_upload_starts_an_import_and_an_invalid_key_a_failed_job(muster: Muster, context: Context) -> None:
    context.objects.put(context.settings.inbox_bucket, "default/inboxed/people.csv", b"user_id\nu1\nu2\n")
    context.objects.put(context.settings.inbox_bucket, "nobody/inboxed/people.csv", b"user_id\nu1\n")
    job = first_job(context, "default", "inboxed")
    assert muster("jobs", "wait", job).code == 0
    assert ids_of(context, "inboxed") == ["u1", "u2"]
    refused = first_job(context, "nobody", "inboxed")
    answer = muster("jobs", "wait", refused, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "UNKNOWN_TENANT")


def first_job(context: Context, tenant: str, audience: str) -> str:
    """The first job of an audience, as soon as the workflow has registered it."""
    found = until(lambda: context.jobs.search(tenant=tenant, audience=audience), f"a job for {tenant}/{audience}")
    return found[-1].job_id
