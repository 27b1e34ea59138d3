"""Columns of a file that its import spec does not name."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.sources.completion import complete_spec
from connectors.sources.jsonl_reader import JsonLinesReader
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.sources.rejects import RejectBatch
from connectors.sources.suggestion import Layout
from schemas.columns import Column, ImportKind
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec
from tests.unit.connectors.sources.reading import read_csv, read_jsonl

AT = "2026-01-01T10:00:00Z"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def asked(kind: ImportKind = "events", *columns: str, **changes: Any) -> ImportSpec:
    given = [Column.parse(text) for text in columns]
    return activity_spec(kind, {"columns": [c.as_record() for c in given], **changes})


def complete(folder: Path, name: str, content: str | bytes, spec: ImportSpec) -> list[str]:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return columns(complete_spec(file, spec, ParseLimits()))


@pytest.mark.parametrize("first", [100, 2_000_000], ids=["lines of a hundred bytes", "a first line beyond the sample"])
def test_the_sample_of_a_file_does_not_depend_on_how_its_bytes_arrive(first: int) -> None:
    """A retry or a dry run must choose the same columns."""
    line = {"user_id": "alice", "event": "order", "occurred_at": AT}
    lines = [{**line, "first": "x" * first}, *({**line, "pad": "x" * 2_000} for _ in range(700)), {**line, "late": 1}]
    content = "".join(f"{json.dumps(one)}\n" for one in lines).encode()
    found = set()
    for block_bytes in (1_000, 64 * 1024, 1024 * 1024, 8 * 1024 * 1024):
        chosen: list[Layout] = []

        def choose(layout: Layout, chosen: list[Layout] = chosen) -> ImportSpec:
            chosen.append(layout)
            return asked()

        list(JsonLinesReader(BytesIO(content), asked(), choose=choose, block_bytes=block_bytes))
        found.add(tuple(name for name, _ in chosen[0].columns))
    assert len(found) == 1
    assert "late" not in next(iter(found))


def columns(spec: ImportSpec) -> list[str]:
    return [f"{c.name}:{c.type}" + (f"={c.source}" if c.source else "") for c in spec.columns]


EVENT = ["event:string", "occurred_at:timestamp"]


def test_unnamed_table_columns_are_texts(tmp_path: Path) -> None:
    content = f"coupon,event,ts,user_id,total,event_id\nX,order,{AT},alice,1,o-1\n"
    found = complete(tmp_path, "a.csv", content, asked("events", "total:double", "occurred_at=ts"))
    assert found == ["event:string", "occurred_at:timestamp=ts", "event_id:string", "total:double", "coupon:string"]


def test_known_column_keeps_its_type_under_any_name_and_is_optional(tmp_path: Path) -> None:
    known = asked("events", "total:double=Total", "rush:boolean", "gone:double")
    spec = replace(asked("events", "rush=Rush"), known_columns=known.known_columns)
    head = "user_id,event,occurred_at"
    assert complete(tmp_path, "a.csv", f"{head},Total,Rush\n", spec) == [
        *EVENT,
        "rush:string=Rush",
        "total:double=Total",
    ]
    assert complete(tmp_path, "a.csv", f"{head},total,Rush\n", spec) == [*EVENT, "rush:string=Rush", "total:double"]
    once = complete_spec(tmp_path / "a.csv", spec, ParseLimits())
    assert complete_spec(tmp_path / "a.csv", once, ParseLimits()) == once


def test_empty_table_has_columns(tmp_path: Path) -> None:
    assert complete(tmp_path, "a.csv", "user_id,event,occurred_at,x\n", asked()) == [*EVENT, "x:string"]


def test_json_members_take_the_types_of_their_values(tmp_path: Path) -> None:
    line = (
        f'{{"user_id": "a", "event": "e", "occurred_at": "{AT}", "n": 1, "x": 1.5, "t": "y", "b": true, "z": null}}\n'
    )
    assert complete(tmp_path, "a.jsonl", line, asked()) == [
        *EVENT,
        "n:double",
        "x:double",
        "t:string",
        "b:boolean",
        "z:string",
    ]


def test_parquet_columns_take_the_types_of_the_file(tmp_path: Path) -> None:
    table = pa.table({"user_id": ["a"], "since": [NOON], "day": [NOON.date()], "n": [1], "deleted": [True], "t": ["x"]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = complete_spec(tmp_path / "a.parquet", asked("profiles"), ParseLimits())
    assert columns(found) == ["deleted:boolean", "since:timestamp", "day:date", "n:double", "t:string"]


def test_complete_spec_is_unchanged(tmp_path: Path) -> None:
    content = f"user_id,event,occurred_at,coupon\nalice,order,{AT},X\n"
    (tmp_path / "a.csv").write_text(content)
    once = complete_spec(tmp_path / "a.csv", asked(), ParseLimits())
    assert complete_spec(tmp_path / "a.csv", once, ParseLimits()) == once


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        (
            "a.csv",
            f"user_id,event,occurred_at,Order total\na,e,{AT},1\n",
            "BAD_COLUMN",
            "'Order total' needs another name",
        ),
        ("a.csv", f"user_id,event,occurred_at,Total,total\na,e,{AT},1,2\n", "BAD_SPEC", "column total is given twice"),
        ("a.csv", "user_id,event,x\na,e,1\n", "MISSING_COLUMN", "no column 'occurred_at'"),
        ("a.csv", f"user_id,event,occurred_at,x,x\na,e,{AT},1,2\n", "DUPLICATE_COLUMN", "'x' more than once"),
        ("a.csv", "user_id,event,occurred_at," + ",".join(f"c{n}" for n in range(63)) + "\n", "BAD_SPEC", "not 65"),
        (
            "a.jsonl",
            f'{{"user_id": "a", "event": "e", "occurred_at": "{AT}", "items": [1]}}\n',
            "BAD_COLUMN_TYPE",
            "'items' is nested, or of several types",
        ),
    ],
)
def test_invalid_column_type_refuses_the_file_and_is_named(
    tmp_path: Path, name: str, content: str, code: str, words: str
) -> None:
    with pytest.raises(UserError, match=words) as error:
        complete(tmp_path, name, content, asked())
    assert error.value.code == code


def test_parquet_time_is_refused_as_an_event_property(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"user_id": ["a"], "event": ["e"], "occurred_at": [NOON], "paid": [NOON]}), tmp_path / "a.parquet"
    )
    with pytest.raises(UserError, match="the column 'paid' is timestamp; rules on events compare") as error:
        complete_spec(tmp_path / "a.parquet", asked(), ParseLimits())
    assert error.value.code == "BAD_COLUMN_TYPE"


def test_a_decimal_of_events_is_imported_only_as_text_or_rounded_on_request(tmp_path: Path) -> None:
    price = pa.array([Decimal("12.30")], pa.decimal128(12, 2))
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user_id": ["a"], "event": ["e"], "occurred_at": [NOON], "price": price}), file)
    with pytest.raises(UserError, match=r"--column NAME=price\) or .* \(--column NAME:double:rounded=price\)") as error:
        complete_spec(file, asked(), ParseLimits())
    assert error.value.code == "BAD_COLUMN_TYPE"
    rounded = Column(name="price", type="double", rounded=True)
    assert rounded in complete_spec(file, asked("events", rounded.notation), ParseLimits()).columns


def test_late_member_is_rejected_not_lost(tmp_path: Path) -> None:
    line = f'{{"user_id": "a", "event": "e", "occurred_at": "{AT}"'
    content = f"{line}}}\n" * 1500 + f'{line}, "late": null}}\n{line}, "late": 1}}\n'
    file = tmp_path / "a.jsonl"
    file.write_text(content)
    spec = complete_spec(file, asked(), ParseLimits())
    with open_parsed(file, spec) as parsed:
        rejects = [reject for batch in parsed if isinstance(batch, RejectBatch) for reject in batch.rejects()]
    assert [(r.ordinal, r.code.value, r.column) for r in rejects] == [(1501, "unknown_member", "late")]


def test_late_null_of_a_profile_is_rejected_not_lost() -> None:
    found = read_jsonl(b'{"user_id": "a", "late": null}\n', spec=asked("profiles"))
    assert found.codes == [(0, "unknown_member")]


def test_unnamed_columns_are_ignored_on_request() -> None:
    line = f'{{"user_id": "a", "event": "e", "occurred_at": "{AT}", "late": 1}}\n'
    found = read_jsonl(line.encode(), spec=asked(other_columns=False))
    assert (len(found.rows), found.rejects) == (1, [])


def test_deleted_profile_row_has_no_attributes() -> None:
    content = b"user_id,plan,deleted\na,gold,true\nb,,1\nc,gold,\nd,gold,no\n"
    found = read_csv(content, spec=asked("profiles", "deleted", "plan"))
    assert found.rows == [(1, "b", True, None), (2, "c", None, "gold")]
    assert [(r.ordinal, r.code.value, r.column) for r in found.rejects] == [
        (0, "bad_property", "deleted"),
        (3, "bad_value", "deleted"),
    ]


def test_audience_keeps_its_named_columns() -> None:
    with pytest.raises(UserError, match="BAD_SPEC"):
        ImportSpec(other_columns=True)
