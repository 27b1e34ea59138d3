"""Random filters over random rows of random columns: DuckDB finds the same rows as a naive evaluation.

Also: a written filter is read as the same filter, and any text that is not a filter raises BAD_FILTER.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.arrow import arrow_schema
from schemas.columns import USER_ID, Column, ColumnType, RowSchema
from schemas.errors import UserError
from segmentation.expressions.filters import parse_filter
from segmentation.expressions.nodes import And, Comparison, Condition, Filter, Not, OneOf, Operator, Or, Presence
from segmentation.expressions.printer import filter_text
from segmentation.expressions.sql import to_sql
from tests.examples import examples

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
TEXTS = st.sampled_from(["", "a", "A", "B", "é", "e\u0301", "z", "日本", "😀", "\uffff", "'", '"', "\\", "%"]) | TEXT
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUES: Mapping[ColumnType, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "long": st.sampled_from([-(2**63), -1, 0, 1, 2**53, 2**53 + 1, 2**63 - 1]) | st.integers(-(2**63), 2**63 - 1),
    "double": st.sampled_from([-0.0, 0.0, 5e-324, 0.1, 2.0**53, 1e16, 1.7976931348623157e308])
    | st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "date": st.sampled_from([date.min, date(1969, 12, 31), date(1970, 1, 1), date.max]) | st.dates(),
    "timestamp": st.integers(-3, 3).map(lambda n: EPOCH + timedelta(hours=3 * n))
    | st.integers(-2, 2).map(lambda n: EPOCH + timedelta(microseconds=n))
    | st.datetimes(timezones=st.just(UTC)),
}
"""Close values, so that they are often equal, and values at the limits of their types."""
STORED = {**VALUES, "double": st.just(math.nan) | VALUES["double"] | st.sampled_from([math.inf, -math.inf])}
SIGNS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NAMES = ["age", "Set", "and", "x_1", "country", "T", "in", "is_1"]
Row = Mapping[str, Any]


def matches(tree: Filter, row: Row) -> bool:
    """Naive evaluation of a filter on a row."""
    match tree:
        case Not(operand):
            return not matches(operand, row)
        case And(operands):
            return all(matches(operand, row) for operand in operands)
        case Or(operands):
            return any(matches(operand, row) for operand in operands)
        case Presence(column=name, present=present):
            return (row[name] is not None) == present
        case Comparison(column=name, operator=sign, value=value):
            there = row[name] is not None and row[name] == row[name]  # NaN counts as absent
            return there and SIGNS[sign](row[name], value)
        case OneOf(column=name, values=values):
            return row[name] is not None and any(row[name] == value for value in values)


@st.composite
def schemas(draw: st.DrawFn) -> RowSchema:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3))
    return RowSchema(columns=tuple(Column(name=n, type=draw(st.sampled_from(list(VALUES)))) for n in names))


@st.composite
def conditions(draw: st.DrawFn, schema: RowSchema) -> Condition:
    types: dict[str, ColumnType] = {USER_ID: "string", **{c.name: c.type for c in schema.columns}}
    name = draw(st.sampled_from([*types][1:] * 2 + [USER_ID]))
    value = VALUES[types[name]]
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return Presence(column=name, present=draw(st.booleans()))
    if kind == 1:
        return OneOf(column=name, type=types[name], values=tuple(draw(st.lists(value, min_size=1, max_size=4))))
    signs: list[Operator] = ["=", "!="] if types[name] == "boolean" else list(SIGNS)
    return Comparison(column=name, type=types[name], operator=draw(st.sampled_from(signs)), value=draw(value))


def filters(schema: RowSchema) -> st.SearchStrategy[Filter]:
    def larger(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        several = st.lists(inner, min_size=2, max_size=4).map(tuple)
        return st.one_of(inner.map(Not), several.map(And), several.map(Or))

    return st.recursive(conditions(schema), larger, max_leaves=8)


@st.composite
def cases(draw: st.DrawFn) -> tuple[RowSchema, list[Filter], list[Row]]:
    schema = draw(schemas())
    trees = draw(st.lists(filters(schema), min_size=1, max_size=4))
    row = st.fixed_dictionaries({USER_ID: TEXTS, **{c.name: st.none() | STORED[c.type] for c in schema.columns}})
    return schema, trees, draw(st.lists(row, min_size=3, max_size=20))


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")  # handing twenty rows to another thread takes longer than the work
        yield connection


NUMBERS = RowSchema(columns=(Column(name="age", type="double"),))
ONE_ZERO = (
    NUMBERS,
    [OneOf(column="age", type="double", values=(value, 5.0)) for value in (0.0, -0.0)],
    [{USER_ID: "a", "age": value} for value in (None, 0.0, -0.0, 5.0)],
)


@example(case=ONE_ZERO, session="UTC")
@examples(200)
@given(case=cases(), session=st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_duckdb_rows_match_a_naive_evaluation(
    database: duckdb.DuckDBPyConnection, case: tuple[RowSchema, list[Filter], list[Row]], session: str
) -> None:
    database.execute(f"SET TimeZone = '{session}'")  # makes no difference
    schema, trees, rows = case
    table = pa.Table.from_pylist([dict(row) for row in rows], arrow_schema(schema))
    database.register("given", table.append_column("n", pa.array(range(len(rows)), pa.int64())))
    for tree in trees:
        sql, parameters = to_sql(tree, "r")
        expected = [n for n, row in enumerate(rows) if matches(tree, row)]
        found = database.execute(f"SELECT n FROM given r WHERE {sql} ORDER BY n", parameters).fetchall()
        assert [n for (n,) in found] == expected
        unknown = f"SELECT count(*) FROM given r WHERE ({sql}) IS NULL"
        assert database.execute(unknown, parameters).fetchall() == [(0,)]  # true or false, never null, also if negated


@examples(300)
@given(data=st.data(), schema=schemas())
def test_written_filter_round_trips(data: st.DataObject, schema: RowSchema) -> None:
    tree = data.draw(filters(schema))
    text = filter_text(tree)
    again = parse_filter(text, schema)
    assert again == tree
    assert filter_text(again) == text  # distinguishes 0.0 from -0.0, which are equal


SIGNS_AND_WORDS = ("age", "`and`", "country", ">=", "=", "in", "is", "set", "not", "and", "or", "(", ")", ",")
WRITTEN = ('"JP"', "25", "2.5", "2026-11-01", "2026-11-01T00:00Z", "true", "null", "'", ";", "--", "\\", "-", "\u3000")
WORDS = st.sampled_from([*SIGNS_AND_WORDS, *WRITTEN])


@examples(500)
@given(st.lists(WORDS | st.text(max_size=3), max_size=12).map(" ".join) | st.text(max_size=20))
def test_other_texts_are_refused_at_a_character(text: str) -> None:
    schema = RowSchema(
        columns=(Column(name="age", type="long"), Column(name="and", type="double"), Column(name="country"))
    )
    match read(text, schema):
        case UserError(code="BAD_FILTER", detail={"position": int(position), "marked": str(marked)}):
            assert 1 <= position <= len(text) + 1
            line, caret = marked.split("\n")
            assert caret.strip() == "^"
            assert not line or line.isprintable()
        case UserError() as error:
            pytest.fail(str(error))
        case tree:
            assert parse_filter(filter_text(tree), schema) == tree


def read(text: str, schema: RowSchema) -> Filter | UserError:
    try:
        return parse_filter(text, schema)
    except UserError as error:
        return error
