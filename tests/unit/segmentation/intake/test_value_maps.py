from datetime import date

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas.activity import ATTRIBUTES_TYPE, PROPERTIES_TYPE
from schemas.columns import ColumnType
from schemas.messages import PropertyValue
from segmentation.intake.value_maps import (
    maps_of_columns,
    maps_of_records,
    maps_without_nulls,
    mentions_of,
    values_of,
)
from tests.unit.segmentation.intake.sending import mapping

NAMES = ["total", "coupon", "gift", "ref"]
COLUMNS = [
    pa.array([1.0, None, 3.0]),
    pa.array(["x", None, None]),
    pa.array([None, True, False]),
    pa.array(["p", "q", None]),
]
RECORDS: list[dict[str, PropertyValue | None]] = [
    {"total": 1.0, "coupon": "x", "ref": "p"},
    {"gift": True, "ref": "q"},
    {"total": 3.0, "gift": False},
]

TYPES: tuple[ColumnType, ...] = ("double", "string", "boolean")

values = st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"), max_size=3) | st.booleans() | st.none()
records = st.lists(st.dictionaries(st.sampled_from("abcd"), values))


def test_columns_become_a_map_for_each_row() -> None:
    maps = maps_without_nulls(NAMES, COLUMNS, 3, PROPERTIES_TYPE)
    maps.validate(full=True)
    assert [mapping(pairs) for pairs in maps.to_pylist()] == RECORDS
    assert maps.equals(maps_of_records(RECORDS, PROPERTIES_TYPE))


def test_column_slices_respect_their_offset() -> None:
    maps = maps_without_nulls(NAMES, [column.slice(1) for column in COLUMNS], 2, PROPERTIES_TYPE)
    assert [mapping(pairs) for pairs in maps.to_pylist()] == RECORDS[1:]


def test_a_null_can_be_kept_as_an_entry_without_a_value() -> None:
    columns = [pa.array([1.0, None]), pa.array([None, "x"]), pa.array([date(2026, 11, 25), None], pa.date32())]
    maps = maps_of_columns(["age", "plan", "born"], columns, 2, ATTRIBUTES_TYPE)
    maps.validate(full=True)
    assert [mapping(pairs) for pairs in maps.to_pylist()] == [
        {"age": 1.0, "plan": None, "born": date(2026, 11, 25)},
        {"age": None, "plan": "x", "born": None},
    ]
    assert values_of(maps, "born", "date").to_pylist() == [date(2026, 11, 25), None]
    assert mentions_of(maps, "plan").tolist() == [True, True]
    assert mentions_of(maps, "other").tolist() == [False, False]


def test_without_columns_the_maps_are_empty() -> None:
    assert maps_of_columns([], [], 2, ATTRIBUTES_TYPE).to_pylist() == [[], []]
    assert maps_without_nulls([], [], 2, PROPERTIES_TYPE).to_pylist() == [[], []]


def test_a_value_of_another_type_is_missing() -> None:
    maps = maps_of_records([{"p": 1.0}, {"p": "1"}, {"p": True}, {}], PROPERTIES_TYPE)
    assert values_of(maps, "p", "double").to_pylist() == [1.0, None, None, None]
    assert values_of(maps, "p", "string").to_pylist() == [None, "1", None, None]
    assert values_of(maps, "p", "boolean").to_pylist() == [None, None, True, None]
    assert values_of(maps, "q", "double").to_pylist() == [None] * 4


@given(records, st.integers(0, 5), st.sampled_from(["a", "d", "z"]))
def test_values_of_any_slice_equal_their_records(
    given_: list[dict[str, PropertyValue | None]], start: int, name: str
) -> None:
    whole = maps_of_records(given_, PROPERTIES_TYPE)
    joined = pa.concat_arrays([whole, maps_of_records(given_[:1], PROPERTIES_TYPE)])
    types: list[tuple[ColumnType, type]] = [("double", float), ("string", str), ("boolean", bool)]
    for maps, expected in ((whole.slice(start), given_[start:]), (joined.slice(start), [*given_, *given_[:1]][start:])):
        assert mentions_of(maps, name).tolist() == [name in r for r in expected]
        for type_, python_type in types:
            found = values_of(maps, name, type_).to_pylist()
            assert found == [r[name] if type(r.get(name)) is python_type else None for r in expected]


@given(records, st.integers(0, 2))
def test_columns_and_records_make_equal_maps(given_records: list[dict[str, PropertyValue | None]], first: int) -> None:
    """A column for each name and type; a row has a value in at most one column per name."""
    types: list[tuple[type, pa.DataType]] = [(float, pa.float64()), (str, pa.string()), (bool, pa.bool_())]
    names, columns = [], []
    for name in "abcd":
        for python, arrow in types:
            values = [r[name] if type(r.get(name)) is python else None for r in given_records]
            names.append(name)
            columns.append(pa.array(values, arrow).slice(first))
    of_columns = maps_without_nulls(names, columns, max(len(given_records) - first, 0), PROPERTIES_TYPE)
    of_columns.validate(full=True)
    expected = [{name: value for name, value in r.items() if value is not None} for r in given_records[first:]]
    assert [mapping(pairs) for pairs in of_columns.to_pylist()] == expected
    for name, (python, _), type_ in ((n, t, c) for n in "abcd" for t, c in zip(types, TYPES, strict=True)):
        found = [r[name] if type(r.get(name)) is python else None for r in expected]
        assert values_of(of_columns, name, type_).to_pylist() == found


def test_rows_without_any_column_have_empty_maps() -> None:
    assert maps_without_nulls([], [], 2, PROPERTIES_TYPE).to_pylist() == [[], []]
