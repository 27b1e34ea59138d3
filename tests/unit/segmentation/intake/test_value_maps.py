import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import PropertyValue
from segmentation.intake.value_maps import Kind, maps_of_columns, maps_of_records, values_of
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

values = st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"), max_size=3) | st.booleans() | st.none()
records = st.lists(st.dictionaries(st.sampled_from("abcd"), values))


def test_columns_become_a_map_for_each_row() -> None:
    maps = maps_of_columns(NAMES, COLUMNS, 3, keep_nulls=False)
    maps.validate(full=True)
    assert [mapping(pairs) for pairs in maps.to_pylist()] == RECORDS
    assert maps.equals(maps_of_records(RECORDS, keep_nulls=False))


def test_slices_of_columns_are_read_where_they_are() -> None:
    maps = maps_of_columns(NAMES, [column.slice(1) for column in COLUMNS], 2, keep_nulls=False)
    assert [mapping(pairs) for pairs in maps.to_pylist()] == RECORDS[1:]


def test_a_null_can_be_kept_as_an_entry_without_a_value() -> None:
    maps = maps_of_columns(["age", "plan"], [pa.array([1.0, None]), pa.array([None, "x"])], 2, keep_nulls=True)
    assert [mapping(pairs) for pairs in maps.to_pylist()] == [{"age": 1.0, "plan": None}, {"age": None, "plan": "x"}]


def test_without_columns_the_maps_are_empty() -> None:
    assert maps_of_columns([], [], 2, keep_nulls=True).to_pylist() == [[], []]


def test_a_value_of_another_kind_is_missing() -> None:
    maps = maps_of_records([{"p": 1.0}, {"p": "1"}, {"p": True}, {}], keep_nulls=False)
    assert values_of(maps, "p", "number").to_pylist() == [1.0, None, None, None]
    assert values_of(maps, "p", "string").to_pylist() == [None, "1", None, None]
    assert values_of(maps, "p", "boolean").to_pylist() == [None, None, True, None]
    assert values_of(maps, "q", "number").to_pylist() == [None] * 4


@given(records, st.integers(0, 5), st.sampled_from(["a", "d", "z"]))
def test_values_of_any_slice_are_those_of_the_records(
    given_: list[dict[str, PropertyValue | None]], start: int, name: str
) -> None:
    whole = maps_of_records(given_, keep_nulls=True)
    joined = pa.concat_arrays([whole, maps_of_records(given_[:1], keep_nulls=False)])
    kinds: list[tuple[Kind, type]] = [("number", float), ("string", str), ("boolean", bool)]
    for maps, expected in ((whole.slice(start), given_[start:]), (joined.slice(start), [*given_, *given_[:1]][start:])):
        for kind, type_ in kinds:
            found = values_of(maps, name, kind).to_pylist()
            assert found == [r[name] if type(r.get(name)) is type_ else None for r in expected]
