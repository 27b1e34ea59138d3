"""Files of events and profiles: rules beyond those for any file, and the name of each refusal."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.sources.digested import open_digested
from connectors.sources.rejects import RejectCode
from schemas.activity_columns import columns_of
from schemas.columns import Column, ImportKind
from schemas.import_spec import ImportSpec
from segmentation.intake.refusals import RefusalCode
from tests.hostile.avro_bytes import avro, record
from tests.unit.connectors.sources.reading import Found, parse_file, read_csv, read_jsonl

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
NOON_US = 1_795_608_000_000_000


def spec_of(kind: ImportKind, *columns: str, **settings: Any) -> ImportSpec:
    given = columns_of(kind, [Column.parse(text) for text in columns])
    return ImportSpec(kind=kind, mode="append", columns=given, **settings)


def read(content: str, *columns: str, **settings: Any) -> Found:
    return read_csv(content.encode(), spec=spec_of("events", *columns, **settings), received_at_us=NOON_US)


def test_every_row_of_a_user_is_an_event_and_the_named_columns_are_its_properties() -> None:
    found = read(
        "ts,event,user_id,total,ignored,gift\n"
        "2026-11-25T11:00:00Z,order,alice,12.5,x,true\n"
        "2026-11-25 11:00:00+09:00,order,alice,,y,\n"
        "2026-11-25T11:00:00Z,order,alice,12.5,x,true\n",
        "total:double",
        "gift:boolean",
        "occurred_at:timestamp=ts",
    )
    first = (NOON.replace(hour=11), 12.5, True)
    assert found.rejects == []
    assert found.rows == [
        (0, "alice", "order", *first),
        (1, "alice", "order", NOON.replace(hour=2), None, None),
        (2, "alice", "order", *first),
    ]


HEADER = "user_id,event,occurred_at,event_id,coupon,total\n"
GOOD = "alice,order,2026-11-25T11:00:00Z,o-1,X,1\n"


@pytest.mark.parametrize(
    ("row", "code", "column", "reason"),
    [
        ("alice,,2026-11-25T11:00:00Z,o,X,1", "bad_event", "event", "event is missing"),
        ("alice, ,2026-11-25T11:00:00Z,o,X,1", "bad_event", "event", "the name of the event is only white space"),
        (f"alice,{'é' * 256},2026-11-25T11:00:00Z,o,X,1", "bad_event", "event", "the name of the event has 256"),
        ("alice,order,,o,X,1", "bad_time", "occurred_at", "occurred_at is missing"),
        ("alice,order,2026-11-25T11:00:00,o,X,1", "no_timezone", "occurred_at", "'2026-11-25T11:00:00' has no offset"),
        ("alice,order,1764068400,o,X,1", "bad_value", "occurred_at", "'1764068400' is not a timestamp YYYY-MM-DDTHH"),
        ("alice,order,1969-12-31T23:59:59Z,o,X,1", "too_early", "occurred_at", "it occurred at 1969-12-31T23:59:59Z"),
        (
            "alice,order,2286-11-20T17:46:40Z,o,X,1",
            "too_far_ahead",
            "occurred_at",
            "it occurred at 2286-11-20T17:46:40Z",
        ),
        (
            "alice,order,2026-11-26T12:00:01Z,o,X,1",
            "too_far_ahead",
            "occurred_at",
            "it occurred at 2026-11-26T12:00:01Z",
        ),
        (f"alice,order,2026-11-25T11:00:00Z,{'o' * 256},X,1", "bad_event_id", "event_id", "the event id has 256"),
        (
            f"alice,order,2026-11-25T11:00:00Z,o,{'x' * 8193},1",
            "bad_property",
            "coupon",
            "the property 'coupon' has 8193",
        ),
        ("alice,order,2026-11-25T11:00:00Z,o,X,much", "bad_value", "total", "'much' is not a finite number"),
        ("alice,,1969-12-31T23:59:59Z,o,X,1", "bad_event", "event", "event is missing"),
        ("alice,,1969-12-31T23:59:59Z,o,X,much", "bad_value", "total", "'much' is not a finite number"),
        (",,1969-12-31T23:59:59Z,o,X,1", "id_empty", "user_id", "the id is empty"),
    ],
)
def test_invalid_event_row_is_named_and_its_neighbours_are_kept(row: str, code: str, column: str, reason: str) -> None:
    found = read(HEADER + GOOD + row + "\n" + GOOD, "coupon", "total:double", "event_id")
    assert [r[0] for r in found.rows] == [0, 2]
    (reject,) = found.rejects
    assert (reject.ordinal, reject.line, reject.byte_offset) == (1, 3, len(HEADER + GOOD))
    assert (reject.code.value, reject.column) == (code, column)
    assert reject.reason.startswith(reason)
    assert reject.raw == row[:512]


def test_column_is_named_as_in_the_file() -> None:
    found = read("user_id,what,when\nalice,,2026-11-25T11:00:00Z\n", "event=what", "occurred_at:timestamp=when")
    assert [(r.column, r.reason) for r in found.rejects] == [("what", "event is missing")]


def test_json_lines_obey_the_checks_of_table_rows() -> None:
    lines = (
        b'{"user_id": "alice", "event": "order", "occurred_at": "2026-11-25T11:00:00Z", "total": 1}\n'
        b'{"user_id": "alice", "occurred_at": "2026-11-25T11:00:00Z"}\n'
        b'{"user_id": "alice", "event": "order", "occurred_at": "2026-11-25T11:00:00Z", "total": {"yen": 1}}\n'
        b'{"user_id": "alice", "event": "order", "occurred_at": "2027-01-01T00:00:00Z"}\n'
    )
    found = read_jsonl(lines, spec=spec_of("events", "total:double"), received_at_us=NOON_US)
    assert found.rows == [(0, "alice", "order", NOON.replace(hour=11), 1.0)]
    assert found.codes == [(1, "bad_event"), (2, "bad_value"), (3, "too_far_ahead")]


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_events_far_ahead_of_the_files_time_are_rejected(tmp_path: Path) -> None:
    times = [NOON, NOON.replace(day=26), NOON.replace(day=26, second=1), NOON.replace(year=1969)]
    at = pa.array(times, pa.timestamp("ms", "UTC"))
    file = parquet(tmp_path / "f.parquet", user_id=["a", "b", "c", "d"], event=["e"] * 4, occurred_at=at)
    os.utime(file, (0, NOON_US // 1_000_000))
    found = parse_file(file, spec=spec_of("events"))
    assert [row[1] for row in found.rows] == ["a", "b"]
    assert found.codes == [(2, "too_far_ahead"), (3, "too_early")]


def test_rejects_are_the_same_when_the_child_digests_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text(HEADER + GOOD + "bob,,2026-11-25T11:00:00Z,o,X,1\n" + GOOD)
    os.utime(file, (0, NOON_US // 1_000_000))
    spec = spec_of("events", "coupon", "total:double", "event_id")
    with open_digested(file, spec, partitions=4) as digested:
        rejects = [reject for batch in digested for reject in batch.rejects()]
        assert [(r.ordinal, r.code.value) for r in rejects] == [(1, "bad_event")]
        assert [digest.count for digest in digested.digests] == [0, 2, 0, 0]


def test_profile_file_has_one_row_per_change() -> None:
    spec = spec_of("profiles", "age:double", "plan")
    content = f"user_id,age,plan\nalice,30,gold\nbob,,{'x' * 8193}\nalice,,\n"
    found = read_csv(content.encode(), spec=spec)
    assert found.rows == [(0, "alice", 30.0, "gold"), (2, "alice", None, None)]
    assert [(r.code.value, r.column) for r in found.rejects] == [("bad_property", "plan")]


def test_members_skip_the_checks_of_events() -> None:
    spec = ImportSpec(columns=(Column(name="event"), Column(name="occurred_at", type="timestamp")))
    found = read_csv(b"user_id,event,occurred_at\nalice,,1969-01-01T00:00:00Z\n", spec=spec, received_at_us=0)
    assert (len(found.rows), found.rejects) == (1, [])


def test_files_and_records_are_refused_in_the_same_words() -> None:
    words = {"BAD_EVENT", "BAD_EVENT_ID", "BAD_TIME", "TOO_EARLY", "TOO_FAR_AHEAD", "BAD_PROPERTY"}
    assert {RejectCode[word].value for word in words} == {RefusalCode[word].value for word in words}


def test_avro_of_events_and_profiles_is_read_like_other_formats(tmp_path: Path) -> None:
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    events = record(("user_id", "string"), ("event", "string"), ("occurred_at", micros), ("total", ["null", "double"]))
    early = datetime(1999, 1, 1, tzinfo=UTC)
    rows = [{"user_id": "a", "event": "e", "occurred_at": at, "total": 1.5} for at in (NOON.replace(hour=11), early)]
    file = tmp_path / "events.avro"
    file.write_bytes(avro(events, rows))
    found = parse_file(file, spec=spec_of("events", "total:double"))
    assert found.rows == [(0, "a", "e", NOON.replace(hour=11), 1.5)]
    assert found.codes == [(1, "too_early")]

    profiles = record(("user_id", "long"), ("deleted", ["null", "boolean"]), ("city", ["null", "string"]))
    file = tmp_path / "profiles.avro"
    states = [(1, None, "Oslo"), (2, True, None), (3, True, "Ulm")]
    file.write_bytes(avro(profiles, [{"user_id": u, "deleted": d, "city": c} for u, d, c in states]))
    found = parse_file(file, spec=spec_of("profiles", "deleted:boolean", "city"))
    assert [row[:2] for row in found.rows] == [(0, "1"), (1, "2")]
    assert found.codes == [(2, "bad_property")]
