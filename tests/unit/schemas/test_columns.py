from typing import Any

import pyarrow as pa
import pytest

from schemas.activity_columns import columns_of
from schemas.arrow import ARROW_TYPES, arrow_schema
from schemas.columns import Column, ImportKind, RowSchema
from schemas.errors import UserError
from schemas.import_spec import ImportSpec


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("age", Column(name="age", type="string")),
        ("age:long", Column(name="age", type="long")),
        ("seen:date=Last seen", Column(name="seen", type="date", source="Last seen")),
        ("note=a=b:c", Column(name="note", source="a=b:c")),
        ("age:", Column(name="age", type="string")),
        ("note=", Column(name="note", source="")),
        ("price:double:rounded=Preis", Column(name="price", type="double", source="Preis", rounded=True)),
    ],
)
def test_column_is_parsed_from_the_command_line(text: str, column: Column) -> None:
    assert Column.parse(text) == column
    assert Column.parse(column.notation) == column


def test_name_in_the_file_defaults_to_the_column_name() -> None:
    assert Column(name="age").file_name == "age"
    assert Column(name="age", source="Alter").file_name == "Alter"


@pytest.mark.parametrize("name", ["", "1a", "_ordinal", "a b", "a-b", "a" * 64, "é", "user_id", "USER_ID", "a\n"])
def test_invalid_column_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="BAD_COLUMN"):
        Column(name=name)


@pytest.mark.parametrize("text", ["age:int", "age:LONG", "age:long:x"])
def test_unknown_type_lists_the_known_types(text: str) -> None:
    with pytest.raises(UserError, match="string, long, double, boolean, date, timestamp"):
        Column.parse(text)


def test_the_schema_id_is_the_hash_of_names_and_types_in_order() -> None:
    # printf "user_id:string\nage:long\nnote:string" | sha256sum
    schema = RowSchema(columns=(Column(name="age", type="long", source="Alter"), Column(name="note")))
    assert schema.schema_id == "6214b67aaaeffd12"
    assert schema.schema_id == RowSchema(columns=(Column(name="age", type="long"), Column(name="note"))).schema_id
    assert schema.schema_id != RowSchema(columns=tuple(reversed(schema.columns))).schema_id


def test_the_arrow_schema_has_a_required_id_and_optional_columns() -> None:
    schema = RowSchema(columns=tuple(Column(name=f"c_{name}", type=name) for name in ARROW_TYPES))
    assert arrow_schema(schema, ordinal=True) == pa.schema(
        [
            pa.field("_ordinal", pa.int64(), nullable=False),
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("c_string", pa.string()),
            pa.field("c_long", pa.int64()),
            pa.field("c_double", pa.float64()),
            pa.field("c_boolean", pa.bool_()),
            pa.field("c_date", pa.date32()),
            pa.field("c_timestamp", pa.timestamp("us", tz="UTC")),
        ]
    )
    assert arrow_schema(schema).names == list(schema.names) == ["user_id", *(f"c_{name}" for name in ARROW_TYPES)]


def test_row_schema_round_trips_without_names_in_the_file() -> None:
    schema = RowSchema(columns=(Column(name="age", type="long", source="Alter"),))
    assert schema.as_record() == [{"name": "age", "type": "long"}]
    assert RowSchema.from_record(schema.as_record()) == RowSchema(columns=(Column(name="age", type="long"),))


def test_import_spec_round_trips_through_its_record() -> None:
    spec = ImportSpec(
        id_column="uid",
        columns=(
            Column(name="age", type="long", source="Alter"),
            Column(name="note"),
            Column(name="price", type="double", rounded=True),
        ),
        format="jsonl",
        mode="append",
        timezone="Asia/Tokyo",
        max_reject_share=0.25,
        allow_empty=True,
        max_shrink_percent=None,
        null_values=("", "NULL"),
    )
    assert ImportSpec.from_record(spec.as_record()) == spec
    assert ImportSpec.from_record({}) == ImportSpec()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"max_reject_share": -0.1}, "share from 0 to 1"),
        ({"max_reject_share": 1.1}, "share from 0 to 1"),
        ({"max_reject_share": float("nan")}, "share from 0 to 1"),
        ({"max_shrink_percent": 101}, "from 0 to 100"),
        ({"max_shrink_percent": -1}, "from 0 to 100"),
        ({"format": "xlsx"}, "csv, jsonl, parquet"),
        ({"mode": "merge"}, "replace, append, remove"),
        ({"columns": (Column(name="a"), Column(name="A"))}, "column a is given twice"),
        ({"columns": tuple(Column(name=f"c{n}") for n in range(65))}, "at most 64 extra columns"),
    ],
)
def test_contradictory_spec_is_refused_with_the_reason(values: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why) as error:
        ImportSpec(**values)
    assert error.value.code == "BAD_SPEC"


EVENT, AT, EVENT_ID = Column(name="event"), Column(name="occurred_at", type="timestamp"), Column(name="event_id")
TOTAL = Column(name="total", type="double")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"kind": "members"}, "kind 'members' is not one of audience, profiles, events"),
        ({"kind": "events", "mode": "replace"}, "events are imported with mode append, not replace"),
        ({"kind": "profiles", "mode": "remove"}, "profiles are imported with mode append, not remove"),
        ({"kind": "events"}, "must begin with event:string and occurred_at:timestamp"),
        ({"kind": "events", "columns": (AT, EVENT)}, "must begin with event:string and occurred_at:timestamp"),
        ({"kind": "events", "columns": (EVENT, Column(name="occurred_at"))}, "must begin with event:string"),
        (
            {"kind": "events", "columns": (EVENT, AT, TOTAL, EVENT_ID)},
            "event_id must be a string, in the column right after",
        ),
        ({"kind": "events", "columns": (EVENT, AT, Column(name="event_id", type="long"))}, "event_id must be a string"),
        ({"kind": "events", "columns": (EVENT, AT, Column(name="n", type="long"))}, "the column n is long"),
        (
            {"kind": "profiles", "columns": (Column(name="n", type="long"),)},
            "n is long; rules on profiles compare double,",
        ),
        (
            {"kind": "events", "columns": (EVENT, AT, Column(name="day", type="date"))},
            "day is date; rules on events compare double, string, boolean",
        ),
    ],
)
def test_event_and_profile_columns_have_comparable_types(values: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why) as error:
        ImportSpec(**{"mode": "append", **values})
    assert error.value.code == "BAD_SPEC"


def test_event_columns_are_assigned_their_roles() -> None:
    assert columns_of("events", [TOTAL]) == (EVENT, AT, TOTAL)
    when = Column(name="occurred_at", type="timestamp", source="ts")
    assert columns_of("events", [TOTAL, EVENT_ID, when]) == (EVENT, when, EVENT_ID, TOTAL)
    assert columns_of("profiles", [TOTAL, EVENT]) == (TOTAL, EVENT)


@pytest.mark.parametrize("kind", ["audience", "profiles", "events"])
def test_spec_of_every_kind_round_trips_through_its_record(kind: ImportKind) -> None:
    spec = ImportSpec(kind=kind, mode="append", columns=columns_of(kind, [TOTAL]))
    assert ImportSpec.from_record(spec.as_record()) == spec
    assert ("kind" in spec.as_record()) == (kind != "audience")


def test_an_unknown_key_of_a_spec_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown import spec key.*max_rejects"):
        ImportSpec.from_record({"max_rejects": 3})
