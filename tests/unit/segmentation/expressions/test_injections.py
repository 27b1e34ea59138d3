import re
from collections.abc import Iterator

import duckdb
import pytest

from schemas.columns import Column, RowSchema
from schemas.errors import UserError
from segmentation.expressions.filters import parse_filter
from segmentation.expressions.lexer import string
from segmentation.expressions.nodes import Comparison, Filter, OneOf
from segmentation.expressions.sql import to_sql
from tests.unit.segmentation.expressions.injections import INJECTIONS

SCHEMA = RowSchema(columns=(Column(name="country"), Column(name="age", type="long")))
MEMBERS = [("u1", "JP", 30), ("u2", "US", None), ("u3", None, 20)]

OUR_SQL = re.compile(
    r'(?:[()?, ]|[<>!]?=|<|>|IS|NOT|NULL|AND|OR|IN|CAST|AS|VARCHAR|BIGINT|"m"\."(?:country|age|user_id)")+'
)


@pytest.fixture
def members() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE members (user_id VARCHAR, country VARCHAR, age BIGINT)")
        connection.executemany("INSERT INTO members VALUES (?, ?, ?)", MEMBERS)
        yield connection


def matching(connection: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    """Ids that a filter finds; fails if the table has changed."""
    sql, parameters = to_sql(parse_filter(text, SCHEMA), "m")
    assert OUR_SQL.fullmatch(sql)
    ids = connection.execute(f"SELECT user_id FROM members m WHERE {sql} ORDER BY 1", parameters).fetchall()
    assert connection.execute("SELECT * FROM members ORDER BY 1").fetchall() == MEMBERS
    return [id_ for (id_,) in ids]


def read(text: str) -> Filter | UserError:
    try:
        return parse_filter(text, SCHEMA)
    except UserError as error:
        return error


def test_fifty_injections_are_tried() -> None:
    assert len(set(INJECTIONS)) == 50


@pytest.mark.parametrize("attempt", INJECTIONS)
def test_injection_as_a_filter_is_refused_or_matches_nothing(members: duckdb.DuckDBPyConnection, attempt: str) -> None:
    match read(attempt):
        case UserError() as error:
            assert (error.code, type(error.detail["position"])) == ("BAD_FILTER", int)
        case tree:
            assert isinstance(tree, Comparison)
            assert matching(members, attempt) == []


@pytest.mark.parametrize("attempt", INJECTIONS)
def test_injection_as_a_text_matches_only_itself(members: duckdb.DuckDBPyConnection, attempt: str) -> None:
    if "\0" in attempt:
        with pytest.raises(UserError, match="BAD_FILTER"):
            parse_filter(f"country = {string(attempt)}", SCHEMA)
        return
    assert matching(members, f"country = {string(attempt)}") == []
    assert matching(members, f"user_id in ({string(attempt)}, {string(attempt)})") == []
    assert matching(members, f'not country = {string(attempt)} and country != "US"') == ["u1"]
    other = parse_filter(f"country in ({string(attempt)})", SCHEMA)
    assert other == OneOf(column="country", type="string", values=(attempt,))
    members.execute("UPDATE members SET country = ? WHERE user_id = 'u1'", [attempt])
    sql, parameters = to_sql(other, "m")
    assert members.execute(f"SELECT user_id FROM members m WHERE {sql}", parameters).fetchall() == [("u1",)]


@pytest.mark.parametrize("attempt", INJECTIONS)
@pytest.mark.parametrize("form", ["`{}` is set", "{} is set", "country = {}", "age in ({})", "country is set or {}"])
def test_injection_as_a_name_or_bare_value_is_refused(attempt: str, form: str) -> None:
    match read(form.format(attempt)):
        case UserError() as error:
            assert error.code == "BAD_FILTER"
        case _:  # after `or` it is a whole filter, as in the first test
            assert form.endswith("or {}")
            assert not isinstance(read(attempt), UserError)


@pytest.mark.parametrize("attempt", INJECTIONS)
def test_injection_as_a_relation_name_stays_quoted(attempt: str) -> None:
    if "\0" in attempt:
        return
    sql, parameters = to_sql(parse_filter("age >= 25", SCHEMA), attempt)
    quoted = '"' + attempt.replace('"', '""') + '"'
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT age FROM (SELECT 30 AS age) {quoted} WHERE {sql}", parameters).fetchall()
    assert rows == [(30,)]
