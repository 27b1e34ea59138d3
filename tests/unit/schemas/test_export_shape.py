"""Which part of a version is exported, as text and as JSON: parsed strictly, since both may come from anywhere."""

import json
from typing import Any

import pytest

from schemas.errors import UserError
from schemas.export_shape import MAX_LISTS, AudienceVersion, ExportShape, Lookup, column_names
from schemas.ids import AudienceName, Version

OPTED_OUT = AudienceVersion(audience=AudienceName("opted-out"), version=Version(12))
PROFILES = AudienceVersion(audience=AudienceName("profiles"))
SHAPE = ExportShape(
    where="age >= 20",
    attributes=(Lookup(source=PROFILES, columns=("plan", "score")),),
    suppress=(OPTED_OUT,),
    columns=("age", "plan"),
    partition_by=("plan",),
)


@pytest.mark.parametrize("shape", [SHAPE, ExportShape(), ExportShape(columns=())])
def test_shape_round_trips_through_json(shape: ExportShape) -> None:
    assert ExportShape.from_record(json.loads(json.dumps(shape.as_record()))) == shape


def test_omitted_fields_take_their_defaults() -> None:
    assert ExportShape.from_record({}) == ExportShape()
    assert ExportShape.from_record({"suppress": [{"audience": "a"}]}).suppress[0].version is None


def test_audiences_and_columns_are_parsed_from_text() -> None:
    assert AudienceVersion.parse("opted-out@12") == OPTED_OUT
    assert AudienceVersion.parse("profiles") == PROFILES
    assert Lookup.parse("profiles:plan,score") == SHAPE.attributes[0]
    assert Lookup.parse("opted-out:plan@12") == Lookup(source=OPTED_OUT, columns=("plan",))
    assert column_names("a,B_2") == ("a", "B_2")


@pytest.mark.parametrize(
    "text",
    ["a:", "a", "a:x,", "a:,x", "a:x x", "a:x,X", "a:x@", "a:x@0", "a:x@-1", "a:x@1.0", "a:x@1e3", "a:x@٣", "a:x@1@2",
     "a:x@9999999999", "a@1:x", "a:x;y", "a:é", "a:../x"],
)  # fmt: skip
def test_a_text_that_names_no_columns_of_an_audience_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="BAD_SHAPE"):
        Lookup.parse(text)


@pytest.mark.parametrize("text", ["", "A", "../x", "a b", "@1", "a'--", "é"])
def test_invalid_audience_name_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="BAD_NAME"):
        AudienceVersion.parse(text)


@pytest.mark.parametrize(
    "record",
    [
        None, [], "x", 1, {"wher": "x"}, {"where": 1}, {"where": ["x"]}, {"where": "a\0"},
        {"where": "\ud800"}, {"columns": "age"}, {"columns": [1]},
        {"partition_by": "age"}, {"partition_by": None}, {"attributes": {}}, {"attributes": ["profiles:x"]},
        {"attributes": [{"audience": "a", "version": 1}]}, {"attributes": [{"audience": "a", "columns": "x"}]},
        {"suppress": "a"}, {"suppress": ["a"]}, {"suppress": [{}]}, {"suppress": [{"audience": 1}]},
        {"suppress": [{"audience": "a", "version": "1"}]}, {"suppress": [{"audience": "a", "version": 0}]},
        {"suppress": [{"audience": "a", "version": True}]}, {"suppress": [{"audience": "a", "version": 1.0}]},
        {"suppress": [{"audience": "a", "x": 1}]}, {"suppress": [{"audience": "a"}] * (MAX_LISTS + 1)},
    ],
)  # fmt: skip
def test_invalid_shape_is_refused(record: Any) -> None:
    with pytest.raises(UserError, match="BAD_SHAPE"):
        ExportShape.from_record(record)


def test_versions_are_pinned_wherever_an_audience_is_named() -> None:
    pinned = SHAPE.pin_versions(lambda one: AudienceVersion(audience=one.audience, version=one.version or Version(7)))
    assert pinned.other_audiences == (AudienceVersion(audience=AudienceName("profiles"), version=Version(7)), OPTED_OUT)
    assert SHAPE.other_audiences == (PROFILES, OPTED_OUT)
