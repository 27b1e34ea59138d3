"""Imports whose units are verified and sent side by side: the same as in one pass, whatever runs twice."""

import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.catalog.records import Job
from orchestration.kinds import spread
from orchestration.kinds.units import plan as planning
from orchestration.kinds.units import send as sending
from orchestration.platform.settings import Secret
from schemas.ids import Attempt
from schemas.layout import files_key, is_staging_key, rejects_key, staging_prefix, unit_key, unit_sent_key
from schemas.messages import EventChunk, ImportEnded, ProfileChunk, UserChunk
from schemas.rows import decode_rows
from segmentation.progress import GroupKey, Progress, step
from tests.fakes.deployment import PARTITIONS, Deployment, make_deployment
from tests.fakes.parsers import parse_in_threads
from tests.fakes.sweeping import sweep
from tests.hostile.avro_bytes import avro as container
from tests.hostile.avro_bytes import record

FOLDERS = ("acme/vip/units/", "acme/vip/whole/")
UNIT_BYTES = 60


@pytest.fixture
def confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Files are parsed in confined children."""
    catalog = Secret(f"sqlite:///{tmp_path / 'catalog.db'}")
    made = make_deployment(catalog, tmp_path, monkeypatch, unit_bytes=UNIT_BYTES)
    made.parse_files(monkeypatch)
    yield made
    made.context.database.close()


@pytest.fixture
def deployment(confined: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    parse_in_threads(monkeypatch)
    return confined


Rows = Sequence[Sequence[str]]
NAMES = ("user_id", "n")


def csv(rows: Rows, names: Sequence[str] = NAMES) -> bytes:
    return "".join(",".join(row) + "\n" for row in (names, *rows)).encode()


def json_lines(rows: Rows, names: Sequence[str] = NAMES) -> bytes:
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows).encode()


def row_groups(rows: Rows, names: Sequence[str] = NAMES, of: int = 4) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), out, row_group_size=of)
    return out.getvalue()


def parquet(rows: Rows, names: Sequence[str] = NAMES) -> bytes:
    return row_groups(rows, names, of=len(rows))


def avro(rows: Rows, names: Sequence[str] = NAMES) -> bytes:
    schema = record(*((name, "string") for name in names))
    return container(schema, [dict(zip(names, row, strict=True)) for row in rows], per_block=4)


def zipped(rows: Rows, names: Sequence[str] = NAMES) -> bytes:
    return gzip.compress(csv(rows, names))


KINDS: dict[str, Callable[..., bytes]] = {
    "csv": csv,
    "jsonl": json_lines,
    "parquet": parquet,
    "groups.parquet": row_groups,
    "avro": avro,
    "csv.gz": zipped,
}


def both(
    deployment: Deployment, contents: list[bytes], name: str = "csv", target: str = "vip", **overrides: Any
) -> tuple[Job, Job]:
    """The same files twice: to be verified in units, and in one pass."""
    columns = {"columns": [{"name": "n", "type": "long"}]} if target == "vip" else {}
    overrides = {**columns, "max_reject_share": 1.0, **overrides}
    jobs = []
    for folder in FOLDERS:
        for number, content in enumerate(contents):
            deployment.objects.put("inbox", f"{folder}part-{number:03d}.{name}", content)
        request = replace(deployment.request(target, overrides=overrides), key=folder, form="prefix")
        job = deployment.register(request)
        assert job.state == "VERIFYING"
        jobs.append(job)
    return jobs[0], jobs[1]


def units_of(deployment: Deployment, job: Job) -> list[dict[str, Any]]:
    view = deployment.step(job, "plan_units")
    assert view["spread"]
    items: list[dict[str, Any]] = json.loads(deployment.objects.get("staging", view["units"]["key"]))
    return items


def verify_units(deployment: Deployment, job: Job) -> int:
    """Verify the units, and again those that have to be; returns the number of rounds."""
    for number in range(9):
        for item in reversed(units_of(deployment, job)):
            deployment.step(job, "verify_unit", number=item["number"])
        if deployment.step(job, "gather_evidence", round=number)["state"] != "VERIFYING":
            return number
    raise AssertionError("the units are read again and again")


def fault_of(job: Job, call: Callable[[], object]) -> dict[str, Any]:
    """The error of a call, without what differs between the two jobs."""
    with pytest.raises(Exception) as error:  # noqa: PT011  # of the class that Lambda names
        call()
    text = str(error.value).replace(FOLDERS[0], "F/").replace(FOLDERS[1], "F/").replace(job.job_id, "JOB")
    found: dict[str, Any] = json.loads(text)
    return found


def table(deployment: Deployment, key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(deployment.objects.get("lake", key))).to_pylist()
    for row in rows:
        row["file"] = row["file"].rpartition("/")[2]
    return rows


def same_tables(deployment: Deployment, one: Job, other: Job) -> None:
    for key in (files_key, rejects_key):
        assert table(deployment, key(one.tenant, one.job_id)) == table(deployment, key(other.tenant, other.job_id))


@pytest.mark.parametrize(
    ("name", "parsers"), [*((name, "deployment") for name in KINDS), ("csv", "confined"), ("avro", "confined")]
)
def test_units_have_the_evidence_of_one_pass(name: str, parsers: str, request: pytest.FixtureRequest) -> None:
    deployment: Deployment = request.getfixturevalue(parsers)
    rows = [("" if n % 5 == 0 else f"u{n}", str(n)) for n in range(60)]
    contents = [KINDS[name](rows[at : at + 6]) for at in range(0, 60, 6)]
    side_by_side, whole = both(deployment, contents, name, columns=[{"name": "n"}])
    verify_units(deployment, side_by_side)
    deployment.step(whole, "verify_file")
    one, other = (deployment.context.jobs.get(job.job_id) for job in (side_by_side, whole))
    assert one.state == other.state == "IMPORTING"
    assert one.evidence is not None
    assert (one.evidence["rows"], one.evidence["rejected"]) == (60, 12)
    assert one.evidence == other.evidence
    same_tables(deployment, one, other)
    assert all(map(is_staging_key, deployment.objects.keys("staging")))


def test_one_large_parquet_file_is_verified_by_row_groups_as_in_one_pass(deployment: Deployment) -> None:
    content = row_groups([("" if n % 5 == 0 else f"u{n}", "x" if n % 7 == 0 else str(n)) for n in range(30)])
    overrides = {"columns": [{"name": "n", "type": "long"}], "max_reject_share": 1.0}
    jobs = []
    for name in ("one", "other"):
        key = f"acme/vip/{name}.parquet"
        deployment.objects.put("inbox", key, content)
        jobs.append(deployment.register(replace(deployment.request(overrides=overrides), key=key)))
    side_by_side, whole = jobs
    assert len(units_of(deployment, side_by_side)) == 8
    verify_units(deployment, side_by_side)
    deployment.step(whole, "verify_file")
    one, other = (deployment.context.jobs.get(job.job_id) for job in jobs)
    assert one.state == other.state == "IMPORTING"
    assert one.evidence == other.evidence
    rejects = [deployment.objects.get("lake", rejects_key(job.tenant, job.job_id)) for job in jobs]
    tables = [pq.read_table(io.BytesIO(found)).to_pylist() for found in rejects]
    assert len(tables[0]) == 10
    assert tables[0] == tables[1]


NOTES = ("", "plain", "a, b", 'say ""hi""', "two\nlines", "u7,x,3", "windows\r\nlines", "x" * 90)


def hard_csv(rows: int = 120) -> bytes:
    """Comments of several lines, some of which look like rows, and bad values."""
    lines = [f'u{n},"{NOTES[n % len(NOTES)]}",{"x" if n % 9 == 5 else n}\n' for n in range(rows)]
    return ("user_id,note,n\n" + "".join(lines)).encode()


def never_in_step() -> bytes:
    """Every guess of where a record begins is as good as its opposite."""
    return b"user_id,note,n\n" + b"v,x,2\n" * 9 + b'u,"' + b'"\n"",1,"\n","x\n' * 60 + b'",1\n'


def hard_json(rows: int = 120) -> bytes:
    lines = ["{" if n % 9 == 5 else json.dumps({"user_id": f"u{n}", "note": "x" * n, "n": n}) for n in range(rows)]
    return "\r\n".join(lines).encode()


TEXTS: dict[str, tuple[str, bytes]] = {
    "csv": ("csv", hard_csv()),
    "csv with a mark": ("csv", b"\xef\xbb\xbf" + hard_csv().replace(b"\n", b"\r\n")),
    "an unclosed quote": ("csv", hard_csv() + b'u,"x,1\n'),
    "never in step": ("csv", never_in_step()),
    "no last line end": ("csv", hard_csv().rstrip(b"\n")),
    "another header": ("csv", hard_csv() + b"n,note,user_id\n" + hard_csv(9)),
    "json lines": ("jsonl", hard_json()),
    "a column that no row has": ("jsonl", hard_json().replace(b'"note"', b'"Note"')),
}


def text_jobs(deployment: Deployment, name: str, content: bytes, ranges: int, target: str = "vip") -> tuple[Job, Job]:
    """One large text file twice: to be verified in so many ranges, and in one pass."""
    object.__setattr__(deployment.context.settings, "unit_bytes", -(-len(content) // ranges))  # of this test alone
    columns = [{"name": "note", "type": "string"}, {"name": "n", "type": "long"}]
    jobs = []
    for folder in FOLDERS:
        key = f"{folder}one.{name}"
        deployment.objects.put("inbox", key, content)
        overrides = {"columns": columns, "max_reject_share": 1.0}
        jobs.append(deployment.register(replace(deployment.request(target, overrides=overrides), key=key)))
    return jobs[0], jobs[1]


def test_source_of_too_many_units_gets_larger_ones(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "UNITS_MAX", 5)
    side_by_side, _ = text_jobs(deployment, *TEXTS["csv"], 16)
    assert len(units_of(deployment, side_by_side)) == 5


@pytest.mark.parametrize("ranges", [4, 16])
@pytest.mark.parametrize("case", TEXTS)
def test_one_text_file_in_ranges_is_verified_and_sent_as_in_one_pass(
    deployment: Deployment, case: str, ranges: int
) -> None:
    name, content = TEXTS[case]
    side_by_side, whole = text_jobs(deployment, name, content, ranges)
    assert len(units_of(deployment, side_by_side)) == ranges
    try:
        deployment.step(whole, "verify_file")
    except Exception:  # noqa: BLE001  # compared below
        fault = fault_of(side_by_side, lambda: verify_units(deployment, side_by_side))
        expected = fault_of(whole, lambda: deployment.step(whole, "verify_file"))
        if case == "another header":  # the rejects before it depend on what is read at once
            fault["detail"].pop("rejects", None)
            expected["detail"].pop("rejects", None)
        assert fault == expected
        assert case in {"an unclosed quote", "another header", "a column that no row has"}
        return
    rounds = verify_units(deployment, side_by_side)
    assert (case == "never in step") <= rounds <= 4
    one, other = (deployment.context.jobs.get(job.job_id) for job in (side_by_side, whole))
    assert one.state == other.state == "IMPORTING"
    assert one.evidence == other.evidence
    kept = [
        pq.read_table(io.BytesIO(deployment.objects.get("lake", key))).sort_by("ordinal").to_pylist()
        for job in (side_by_side, whole)
        if ("lake", key := rejects_key(job.tenant, job.job_id)) in deployment.objects.contents
    ]
    assert len(kept) in {0, 2}
    assert kept[:1] == kept[1:]
    attempt, units = begin(deployment, side_by_side)
    for number in (*reversed(units), *units):
        deployment.step(side_by_side, "send_unit", number=number, attempt=attempt)
    assert deployment.step(side_by_side, "end_attempt", attempt=attempt)["state"] == "AWAITING"
    deployment.step(whole, "import_to_kafka")
    assert rows_of(deployment, side_by_side) == rows_of(deployment, whole)
    assert reconciled(deployment, side_by_side)
    assert all(map(is_staging_key, deployment.objects.keys("staging")))


def test_evidence_that_is_gathered_again_waits_for_the_next_round(deployment: Deployment) -> None:
    job, _ = text_jobs(deployment, "csv", never_in_step(), 8)
    for item in units_of(deployment, job):
        deployment.step(job, "verify_unit", number=item["number"])
    for _ in range(2):  # the second one finds the round of the first
        assert deployment.step(job, "gather_evidence", round=0)["state"] == "VERIFYING"
    more = units_of(deployment, job)
    assert min(int(item["number"]) for item in more) == 8
    failure = {"Error": "States.Timeout", "Cause": ""}
    deployment.step(job, "fail_unit", number="8", failure=failure)
    for item in more:
        deployment.step(job, "verify_unit", number=item["number"])
    assert fault_of(job, lambda: deployment.step(job, "gather_evidence", round=1))["code"] == "States.Timeout"


def test_a_large_text_file_within_a_set_is_cut(deployment: Deployment) -> None:
    small = b'user_id,note,n\nv,"x",1\nw,"x",y\n'
    contents = [small, hard_csv(), small]
    columns = [{"name": "note", "type": "string"}, {"name": "n", "type": "long"}]
    side_by_side, whole = both(deployment, contents, columns=columns)
    assert len(units_of(deployment, side_by_side)) > 20
    verify_units(deployment, side_by_side)
    deployment.step(whole, "verify_file")
    one, other = (deployment.context.jobs.get(job.job_id) for job in (side_by_side, whole))
    assert one.evidence == other.evidence
    same_tables(deployment, one, other)


def test_events_of_a_text_file_in_ranges_keep_their_numbers(deployment: Deployment) -> None:
    lines = [f"u{n},login,2026-01-01T00:00:00Z\n" if n % 7 else ",x,y\n" for n in range(60)]
    content = ("user_id,event,occurred_at\n" + "".join(lines)).encode()
    deployment.objects.put("inbox", f"{FOLDERS[0]}e.csv", content)
    request = deployment.request("_events", overrides={"max_reject_share": 1.0})
    job = deployment.register(replace(request, key=f"{FOLDERS[0]}e.csv"))
    assert len(units_of(deployment, job)) > 9
    verify_units(deployment, job)
    attempt, units = begin(deployment, job)
    for number in reversed(units):
        deployment.step(job, "send_unit", number=number, attempt=attempt)
    deployment.step(job, "end_attempt", attempt=attempt)
    rows = [row for partition in rows_of(deployment, job) for row in partition]
    assert {(row["_ordinal"], row["user_id"]) for row in rows} == {(n, f"u{n}") for n in range(60) if n % 7}
    assert len(rows) == sum(1 for n in range(60) if n % 7)


def test_a_unit_that_runs_twice_counts_once(deployment: Deployment) -> None:
    contents = [csv([(f"u{n}", str(n)), ("same", "x")]) for n in range(9)]
    side_by_side, whole = both(deployment, contents)
    items = units_of(deployment, side_by_side)
    for item in items * 2:
        deployment.step(side_by_side, "verify_unit", number=item["number"])
        stages = deployment.context.progress.stages(side_by_side.job_id)
        assert stages["verify"].record["done"] <= sum(map(len, contents))
    assert units_of(deployment, side_by_side) == items
    deployment.step(side_by_side, "gather_evidence", round=0)
    deployment.step(whole, "verify_file")
    one, other = (deployment.context.jobs.get(job.job_id) for job in (side_by_side, whole))
    assert one.evidence == other.evidence
    progress = deployment.context.progress.stages(one.job_id)
    assert list(progress) == ["verify"]
    assert (progress["verify"].record["rows"], progress["verify"].record["finished"]) == (18, True)


def test_the_plan_outlasts_a_change_of_the_settings(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = both(deployment, [csv([(f"u{n}", "1")] * 3) for n in range(9)])
    items = units_of(deployment, job)
    monkeypatch.setattr(planning, "cut", lambda *_: pytest.fail("the units are cut again"))
    assert units_of(deployment, job) == items


FAULTS: dict[str, tuple[str, dict[int, bytes], dict[str, Any]]] = {
    "a column is missing in file 37": ("csv", {36: b"user_id,m\nu,1\n", 38: b'user_id,n\n"'}, {}),
    "an unclosed quote behind a bad row": ("csv", {20: b'user_id,n\nu,x\nv,"'}, {}),
    "a broken file of another format": ("csv", {20: b"PAR1 and no more"}, {}),
    "another format": ("csv", {20: b'{"user_id": "u", "n": "1"}\n'}, {"columns": []}),
    "too many rejects": ("csv", {3: b"user_id,n\nu,x\n", 39: b"user_id,n\nu,y\n"}, {"max_reject_share": 0.001}),
    "damaged gzip": ("csv.gz", {12: gzip.compress(b"user_id,n\n")[:-3]}, {}),
    "no rows": ("csv", dict.fromkeys(range(40), b"user_id,n\n"), {}),
    "a column that no row has": ("jsonl", dict.fromkeys(range(40), b'{"user_id": "u"}\n'), {}),
}


@pytest.mark.parametrize("case", FAULTS)
def test_the_first_fault_in_order_fails_the_job_as_in_one_pass(deployment: Deployment, case: str) -> None:
    name, faults, overrides = FAULTS[case]
    good = KINDS[name]([("u", "1"), ("v", "2")])
    side_by_side, whole = both(deployment, [faults.get(n, good) for n in range(40)], name, **overrides)
    fault = fault_of(side_by_side, lambda: verify_units(deployment, side_by_side))
    expected = fault_of(whole, lambda: deployment.step(whole, "verify_file"))
    assert fault == expected
    keys = [rejects_key(job.tenant, job.job_id) for job in (side_by_side, whole)]
    kept = [table(deployment, key) for key in keys if ("lake", key) in deployment.objects.contents]
    assert len(kept) in {0, 2}
    assert kept[:1] == kept[1:]
    tables = [table(deployment, files_key(job.tenant, job.job_id)) for job in (side_by_side, whole)]
    assert tables[0] == tables[1]


def test_a_unit_that_was_given_up_fails_the_job(deployment: Deployment) -> None:
    job, _ = both(deployment, [csv([("u", "1")] * 4) for _ in range(6)])
    items = units_of(deployment, job)
    failure = {"Error": "States.Timeout", "Cause": ""}
    for item in items:
        deployment.step(
            job, "fail_unit" if item["number"] == "1" else "verify_unit", number=item["number"], failure=failure
        )
    deployment.step(job, "verify_unit", number="1")  # a late run says nothing any more
    deployment.step(job, "fail_unit", number="0", failure=failure)  # what was verified stays so
    assert fault_of(job, lambda: deployment.step(job, "gather_evidence", round=0))["code"] == "States.Timeout"


def test_a_lost_result_is_an_error_of_the_system(deployment: Deployment) -> None:
    job, _ = both(deployment, [csv([("u", "1")] * 4) for _ in range(6)])
    for item in units_of(deployment, job):
        deployment.step(job, "verify_unit", number=item["number"])
    deployment.objects.delete("staging", unit_key(job.job_id, 2))
    assert fault_of(job, lambda: deployment.step(job, "gather_evidence", round=0))["code"] == "UNITS_LOST"


def test_another_execution_verifies_nothing(deployment: Deployment) -> None:
    job, _ = both(deployment, [csv([("u", "1")] * 4) for _ in range(6)])
    units_of(deployment, job)
    view = deployment.call("verify_unit", job_id=job.job_id, execution="another", number="0")
    assert view["state"] == "DUPLICATE"
    assert ("staging", unit_key(job.job_id, 0)) not in deployment.objects.contents


def test_what_units_have_stored_is_removed_after_the_job(deployment: Deployment) -> None:
    job, _ = both(deployment, [csv([("u", "1")] * 4) for _ in range(6)])
    assert deployment.run(job).state == "READY"
    sweep(deployment.context, deployment.later(minutes=1))
    assert deployment.objects.keys("staging", staging_prefix(job.job_id)) == []


def test_what_ranges_have_stored_is_removed_whatever_the_setting_has_become(deployment: Deployment) -> None:
    job, _ = text_jobs(deployment, "csv", hard_csv(), ranges=4)
    deployment.step(job, "verify_unit", number=units_of(deployment, job)[0]["number"])
    assert deployment.objects.keys("staging", staging_prefix(job.job_id)) != []
    deployment.context.import_jobs.cancel(job.job_id)
    object.__setattr__(deployment.context.settings, "unit_bytes", 10**9)  # of this test alone
    sweep(deployment.context, deployment.later(minutes=1))
    assert deployment.objects.keys("staging", staging_prefix(job.job_id)) == []


# --- sending ---------------------------------------------------------------------------------------------------------


def verified(deployment: Deployment, contents: list[bytes] | None = None, **overrides: Any) -> tuple[Job, Job]:
    """The same files twice, both IMPORTING: one verified in units, one in one pass."""
    contents = contents or [csv([(f"u{n}", str(n)), ("", "x"), ("same", str(n))]) for n in range(20)]
    side_by_side, whole = both(deployment, contents, **overrides)
    verify_units(deployment, side_by_side)
    deployment.step(whole, "verify_file")
    return side_by_side, whole


def begin(deployment: Deployment, job: Job) -> tuple[str, list[str]]:
    """Begin an attempt; its number, and the numbers of its units."""
    view = deployment.step(job, "begin_attempt")
    assert view["spread"]
    items = json.loads(deployment.objects.get("staging", view["units"]["key"]))
    return view["attempt"], [item["number"] for item in items]


def messages(deployment: Deployment, job: Job, partition: int) -> list[Any]:
    found: list[Any] = [m for log in deployment.logs.values() for m in log.decoded(partition)]
    return [m for m in found if m.import_id == job.job_id]


def rows_of(deployment: Deployment, job: Job) -> list[list[dict[str, Any]]]:
    """The rows of an attempt by partition, each seq once, as workers keep them."""
    found: list[list[dict[str, Any]]] = []
    for partition in range(PARTITIONS):
        chunks = {m.seq: decode_rows(m.rows).to_pylist() for m in messages(deployment, job, partition) if has_rows(m)}
        assert sorted(chunks) == list(range(len(chunks)))
        found.append([row for seq in sorted(chunks) for row in chunks[seq]])
    return found


def has_rows(message: Any) -> bool:
    return isinstance(message, UserChunk | EventChunk | ProfileChunk)


def reconciled(deployment: Deployment, job: Job) -> bool:
    """Whether the fold of every partition ends with a merge."""
    outcomes = []
    for partition in range(PARTITIONS):
        state: Progress | None = None
        for message in messages(deployment, job, partition):
            state = state or Progress(key=GroupKey.of(message))
            state, _ = step(state, message)
        outcomes.append(None if state is None else state.outcome)
    return outcomes == ["reconciled"] * PARTITIONS


def test_units_that_are_sent_side_by_side_are_the_rows_of_one_pass(deployment: Deployment) -> None:
    side_by_side, whole = verified(deployment)
    attempt, units = begin(deployment, side_by_side)
    assert len(units) > 3
    for number in (*reversed(units), *units):  # in any order, and each of them twice
        deployment.step(side_by_side, "send_unit", number=number, attempt=attempt)
        deployment.objects.delete("staging", unit_sent_key(side_by_side.job_id, Attempt(1), int(number)))
        deployment.step(side_by_side, "send_unit", number=number, attempt=attempt)
    progress = deployment.context.progress.stages(side_by_side.job_id)["import"].record
    assert (progress["done"], progress["attempt"], len(progress["offsets"])) == (40, 1, PARTITIONS)
    assert not deployment.markers(side_by_side)
    view = deployment.step(side_by_side, "end_attempt", attempt=attempt)
    assert view["state"] == "AWAITING"
    deployment.step(whole, "import_to_kafka")
    assert rows_of(deployment, side_by_side) == rows_of(deployment, whole)
    assert reconciled(deployment, side_by_side)
    assert [m.digest for m in deployment.markers(side_by_side)] == [m.digest for m in deployment.markers(whole)]
    assert deployment.step(side_by_side, "end_attempt", attempt=attempt)["state"] == "AWAITING"
    reports = deployment.context.jobs.attempt_reports(side_by_side.job_id)
    assert reports[Attempt(1)] is not None
    assert reports[Attempt(1)]["rows"] == 40  # type: ignore[index]
    assert deployment.run(side_by_side).state == "READY"


TARGETS: dict[str, tuple[tuple[str, ...], Callable[[int], tuple[str, ...]]]] = {
    "vip": (NAMES, lambda n: ("" if n % 5 == 0 else f"u{n % 70}", str(n))),
    "_events": (
        ("user_id", "event", "occurred_at", "n"),
        lambda n: ("" if n % 5 == 0 else f"u{n % 70}", "login", f"2026-01-01T00:{n % 60:02}:00Z", str(n)),
    ),
    "_profiles": (NAMES, lambda n: ("" if n % 5 == 0 else f"u{n % 70}", str(n))),
}


def japanese(rows: Rows, names: Sequence[str]) -> bytes:
    return "".join(";".join(row) + "\n" for row in (names, *rows)).replace("\nu", "\nユ").encode("cp932")


STORED = {**KINDS, "cp932.csv": japanese}
SETTINGS: dict[str, dict[str, Any]] = {"cp932.csv": {"encoding": "cp932", "delimiter": ";"}}
UNCUT = {"avro", "csv.gz", "cp932.csv"}
"""Read as a whole, whatever its size."""
LAYOUTS = {"7 files": (7, 3), "200 files": (200, 9), "4 ranges": (1, 4), "16 ranges": (1, 16)}
"""Files, and about how many units."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", [name for name in STORED if name != "parquet"])  # without row groups
def test_the_same_rows_are_the_same_import_in_any_files_and_units(
    deployment: Deployment, name: str, target: str
) -> None:
    names, row = TARGETS[target]
    rows = [row(n) for n in range(200)]
    columns = [] if target == "_events" else [{"name": "n"}]

    def registered(layout: str, files: int, units: int) -> Job:
        firsts = [len(rows) * number // files for number in range(files + 1)]
        contents = [STORED[name](rows[begin:end], names) for begin, end in pairwise(firsts)]
        object.__setattr__(deployment.context.settings, "unit_bytes", -(-sum(map(len, contents)) // units))
        for number, content in enumerate(contents):
            deployment.objects.put("inbox", f"acme/vip/{layout}/part-{number:03d}.{name}", content)
        overrides = {"columns": columns, "max_reject_share": 1.0, **SETTINGS.get(name, {})}
        request = replace(deployment.request(target, overrides=overrides), key=f"acme/vip/{layout}/", form="prefix")
        return deployment.register(request)

    whole = registered("whole", 1, 1)
    deployment.step(whole, "verify_file")
    deployment.step(whole, "import_to_kafka")
    expected = imported(deployment, whole, [len(rows)])
    assert len(expected["rejects"]) == 40
    for layout, (files, about) in LAYOUTS.items():
        if files == 200 and target != "vip":
            continue  # 7 files show the same in less time
        job = registered(layout, files, about)
        if files == 1 and name in UNCUT:
            assert not deployment.step(job, "plan_units")["spread"]
            continue
        assert 2 <= len(units_of(deployment, job)) <= 2 * about
        verify_units(deployment, job)
        if target == "_profiles":  # they are sent in order, by one task
            deployment.step(job, "import_to_kafka")
        else:
            attempt, units = begin(deployment, job)
            for number in reversed(units):
                deployment.step(job, "send_unit", number=number, attempt=attempt)
            deployment.step(job, "end_attempt", attempt=attempt)
        firsts = [len(rows) * number // files for number in range(files + 1)]
        assert imported(deployment, job, [end - begin for begin, end in pairwise(firsts)]) == expected, layout


def imported(deployment: Deployment, job: Job, rows_of_files: list[int]) -> dict[str, Any]:
    """What an import is, however its rows are stored: evidence, digests that were sent, rows, rejects by row."""
    job = deployment.context.jobs.get(job.job_id)
    assert job.evidence is not None
    evidence = {key: value for key, value in job.evidence.items() if not key.endswith("_bytes")}
    rows = rows_of(deployment, job)
    if job.kind != "audience":  # events are identified by their file and the row in it
        rows = [[{**row, "_ordinal": None} for row in partition] for partition in rows]
    sent = [[m.digest for m in messages(deployment, job, p) if isinstance(m, ImportEnded)] for p in range(PARTITIONS)]
    kept = pq.read_table(io.BytesIO(deployment.objects.get("lake", rejects_key(job.tenant, job.job_id)))).to_pylist()
    before = [0, *accumulate(rows_of_files)]
    rejects = sorted(
        (before[int(one["file"].rpartition("/part-")[2][:3])] if "file" in one else 0) + one["ordinal"] for one in kept
    )
    return {"evidence": evidence, "rows": rows, "digests": sent, "rejects": rejects, "codes": {o["code"] for o in kept}}


def test_units_of_events_keep_the_numbers_of_their_files(deployment: Deployment) -> None:
    object.__setattr__(deployment.context.settings, "unit_bytes", 150)  # a file each: ranges would end more chunks
    lines = [f"u{n},login,2026-01-01T00:00:0{n}Z\n,x,y\nv{n},login,2026-01-01T00:00:0{n}Z\n" for n in range(9)]
    contents = [f"user_id,event,occurred_at\n{text}".encode() for text in lines]
    side_by_side, whole = verified(deployment, contents, target="_events")
    attempt, units = begin(deployment, side_by_side)
    for number in reversed(units):
        deployment.step(side_by_side, "send_unit", number=number, attempt=attempt)
    deployment.step(side_by_side, "end_attempt", attempt=attempt)
    deployment.step(whole, "import_to_kafka")

    def chunks(job: Job, folder: str) -> list[tuple[int, str, list[Any]]]:
        return [
            (p, m.source.partition(folder)[2], decode_rows(m.rows).to_pylist())
            for p in range(PARTITIONS)
            for m in sorted(filter(has_rows, messages(deployment, job, p)), key=lambda m: int(m.seq))
        ]

    assert chunks(side_by_side, FOLDERS[0]) == chunks(whole, FOLDERS[1])
    assert deployment.context.jobs.get(side_by_side.job_id).state == "AWAITING"


def test_profiles_are_verified_side_by_side_and_sent_in_order(deployment: Deployment) -> None:
    contents = [csv([(f"u{n}", str(n)), ("same", str(n))]) for n in range(20)]
    job, _ = both(deployment, contents, target="_profiles")
    verify_units(deployment, job)
    view = deployment.step(job, "begin_attempt")
    assert (view["state"], view["spread"]) == ("IMPORTING", False)


def test_units_meet_the_fence_and_send_no_end_marker(deployment: Deployment) -> None:
    job, _ = verified(deployment)
    attempt, units = begin(deployment, job)
    for number in units[1:]:
        deployment.step(job, "send_unit", number=number, attempt=attempt)
    deployment.context.import_jobs.cancel(job.job_id)
    assert deployment.step(job, "send_unit", number=units[0], attempt=attempt) == {}
    assert deployment.step(job, "end_attempt", attempt=attempt)["state"] == "CANCELLED"
    assert not deployment.markers(job)


def test_a_unit_of_an_older_attempt_sends_nothing(deployment: Deployment) -> None:
    job, _ = verified(deployment)
    old, units = begin(deployment, job)
    new, _ = begin(deployment, job)
    assert (old, new) == ("1", "2")
    before = deployment.sent()
    for number in units:
        deployment.step(job, "send_unit", number=number, attempt=old)
    deployment.step(job, "end_attempt", attempt=old)
    assert deployment.sent() == before
    for number in units:
        deployment.step(job, "send_unit", number=number, attempt=new)
    deployment.step(job, "end_attempt", attempt=new)
    assert {m.attempt for m in deployment.markers(deployment.context.jobs.get(job.job_id))} == {2}


def test_no_end_marker_is_sent_before_the_last_unit(deployment: Deployment) -> None:
    job, _ = verified(deployment)
    attempt, units = begin(deployment, job)
    for number in units[:-1]:
        deployment.step(job, "send_unit", number=number, attempt=attempt)
    assert fault_of(job, lambda: deployment.step(job, "end_attempt", attempt=attempt))["code"] == "UNITS_LOST"
    failure = {"Error": "States.Timeout", "Cause": ""}
    deployment.step(job, "fail_unit", number=units[-1], attempt=attempt, failure=failure)
    assert fault_of(job, lambda: deployment.step(job, "end_attempt", attempt=attempt))["code"] == "States.Timeout"
    assert not deployment.markers(job)


def test_a_file_that_changes_between_the_passes_fails_the_unit(deployment: Deployment) -> None:
    job, _ = verified(deployment)
    attempt, units = begin(deployment, job)
    deployment.objects.put("inbox", f"{FOLDERS[0]}part-003.csv", b"user_id,n\nchanged,1\n")
    for number in units:
        deployment.step(job, "send_unit", number=number, attempt=attempt)
    fault = fault_of(job, lambda: deployment.step(job, "end_attempt", attempt=attempt))
    assert (fault["code"], fault["detail"]["file_number"]) == ("SOURCE_CHANGED", 4)
    assert not deployment.markers(job)


def test_chunks_that_were_counted_by_another_rule_are_sent_by_one_task(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = verified(deployment)
    monkeypatch.setattr(sending, "CHUNK_RULE", 2)
    view = deployment.step(job, "begin_attempt")
    assert (view["state"], view["spread"]) == ("IMPORTING", False)
    deployment.step(job, "import_to_kafka")
    assert reconciled(deployment, job)


def test_a_retry_of_units_is_verified_again(deployment: Deployment) -> None:
    job, whole = verified(deployment)
    for one in (job, whole):
        deployment.context.import_jobs.cancel(one.job_id)
        assert deployment.retry(one).evidence is None
