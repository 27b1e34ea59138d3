import re
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from schemas.columns import Column, RowSchema
from schemas.errors import UserError
from segmentation.expressions.cursor import MAX_DEPTH, MAX_TERMS
from segmentation.expressions.filters import parse_filter
from segmentation.expressions.lexer import RESERVED
from segmentation.expressions.nodes import And, Comparison, Filter, Not, OneOf, Or, Presence
from segmentation.expressions.printer import filter_text
from segmentation.expressions.source import MAX_CHARACTERS
from segmentation.expressions.sql import to_sql

SCHEMA = RowSchema(
    columns=(
        Column(name="age", type="long"),
        Column(name="score", type="double"),
        Column(name="country"),
        Column(name="active", type="boolean"),
        Column(name="born", type="date"),
        Column(name="last_seen", type="timestamp"),
        Column(name="set", type="long"),
    )
)
ADULT = Comparison(column="age", type="long", operator=">=", value=25)
JAPAN = Comparison(column="country", type="string", operator="=", value="JP")
ACTIVE = Comparison(column="active", type="boolean", operator="=", value=True)


def refused(text: str, *, timezone: str | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        parse_filter(text, SCHEMA, timezone=timezone)
    return caught.value


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("age >= 25", ADULT),
        ("age>=25", ADULT),
        ("`age` >= 25", ADULT),
        ("age != -9223372036854775808", Comparison(column="age", type="long", operator="!=", value=-(2**63))),
        ("score < 2.5e-3", Comparison(column="score", type="double", operator="<", value=0.0025)),
        ("score <= 3", Comparison(column="score", type="double", operator="<=", value=3.0)),
        ('country = "JP"', JAPAN),
        ('user_id > "u-1"', Comparison(column="user_id", type="string", operator=">", value="u-1")),
        (
            r'country = "a\"b\\c\n\u00e9\ud83d\ude00 日本"',
            Comparison(column="country", type="string", operator="=", value='a"b\\c\né😀 日本'),
        ),
        ('country in ("JP", "US")', OneOf(column="country", type="string", values=("JP", "US"))),
        ("active = TRUE", ACTIVE),
        ("active != false", Comparison(column="active", type="boolean", operator="!=", value=False)),
        ("born = 1969-12-31", Comparison(column="born", type="date", operator="=", value=date(1969, 12, 31))),
        (
            "last_seen >= 2026-11-01T09:00:00+09:00",
            Comparison(column="last_seen", type="timestamp", operator=">=", value=datetime(2026, 11, 1, tzinfo=UTC)),
        ),
        (
            "last_seen < 2026-11-01T00:00:00.000001Z",
            Comparison(
                column="last_seen", type="timestamp", operator="<", value=datetime(2026, 11, 1, 0, 0, 0, 1, tzinfo=UTC)
            ),
        ),
        ("country is set", Presence(column="country", present=True)),
        ("country IS NOT SET", Presence(column="country", present=False)),
        ("`set` = 1", Comparison(column="set", type="long", operator="=", value=1)),
        ("`set` is set", Presence(column="set", present=True)),
        ('age >= 25 and country = "JP" and active = true', And((ADULT, JAPAN, ACTIVE))),
        ('age >= 25 or country = "JP" and active = true', Or((ADULT, And((JAPAN, ACTIVE))))),
        ('(age >= 25 or country = "JP") and active = true', And((Or((ADULT, JAPAN)), ACTIVE))),
        ('age >= 25 and (country = "JP" and active = true)', And((ADULT, And((JAPAN, ACTIVE))))),
        ('not age >= 25 and country = "JP"', And((Not(ADULT), JAPAN))),
        ('not (age >= 25 and country = "JP")', Not(And((ADULT, JAPAN)))),
        ("not not (((age >= 25)))", Not(Not(ADULT))),
        ("\n age\t>=\r\n25 ", ADULT),
    ],
)
def test_filter_round_trips_through_text(text: str, tree: Filter) -> None:
    assert parse_filter(text, SCHEMA) == tree
    assert parse_filter(filter_text(tree), SCHEMA) == tree


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 1, "expected a column, not, or an opening parenthesis, not the end"),
        ("agee >= 25", 1, "unknown column agee; did you mean age?"),
        ("AGE >= 25", 1, "unknown column AGE; did you mean age?"),
        ("zip = 1", 1, "unknown column zip; known are user_id, age, score, country, active, born"),
        ("age", 4, "expected =, !=, <, <=, >, >=, in, or is, not the end"),
        ("age >=", 7, "expected a value, not the end"),
        ("age >= age", 8, "expected a whole number of 64 bits: 25; not 'age'"),
        ("age >= 25 25", 11, "expected and, or, or the end, not '25'"),
        ("age >= 2.5", 8, "expected a whole number of 64 bits"),
        ("age >= 9223372036854775808", 8, "expected a whole number of 64 bits"),
        ("age >= 1e3", 8, "expected a whole number of 64 bits"),
        ("age >= 25x", 8, "this is not a number"),
        ("age >= .5", 8, "this is not a number"),
        ("age >= 1_000", 8, "this is not a number"),
        ("age >= +1", 8, "this is not a number"),
        ("age >= 1" + "0" * 400, 8, "a number has at most 400 characters"),
        ("score = 1e999", 9, "this number is larger than any double"),
        ("score = NaN", 9, "expected a number: 2.5; not 'NaN'"),
        (
            "score = 9007199254740993",
            9,
            "no double represents this whole number exactly; the nearest one is 9007199254740992",
        ),
        ('age >= "25"', 8, "expected a whole number of 64 bits: 25; not '25'"),
        ("country = 5", 11, "expected a text in double quotes: \"JP\"; not '5'"),
        ("country = JP", 11, "expected a text in double quotes"),
        ("country = 'JP'", 11, "a text is written in double quotes"),
        ("country = “JP”", 11, "'“' (U+201C) has no meaning outside of a text in double quotes"),
        ('country = "JP', 11, "this text is not closed"),
        ('country = "J\nP"', 11, "this text is not closed"),
        (r'country = "JP\x"', 14, "escapes are those of JSON"),
        (r'country = "\u0000"', 11, "this text has a NUL character"),
        ('country = "\0"', 11, "this text is not closed, or has a line end or control character in it"),
        (r'country = "\ud83d"', 11, "this text has half of a surrogate pair"),
        ('country = "\udc80"', 11, "this text has half of a surrogate pair"),
        ("country = null", 11, "expected a value; to test if there is one, write: is set, is not set"),
        ("country is null", 12, "expected set, as in: email is set, email is not set, not 'null'"),
        ("country not in (1)", 9, 'expected an operator; "not in" is written as: not (country in ("JP", "US"))'),
        ("country in ()", 13, "expected a value"),
        ('country in "JP"', 12, "expected '(' around the values"),
        ('country in ("JP" "US")', 18, "expected ')' or a comma after a value"),
        ('country in ("JP",)', 18, "expected a value"),
        ("active = 1", 10, "expected true or false; not '1'"),
        ("active > false", 8, "active is boolean, which has no order: use = or !="),
        ("born > 2026-02-30", 8, "this value does not exist: '2026-02-30'"),
        ("born > 2026-2-3", 8, "write a date as 2026-11-01"),
        ("born > 20261101", 8, "expected a date: 2026-11-01, without quotes; not '20261101'"),
        ('born > "2026-11-01"', 8, "expected a date: 2026-11-01, without quotes"),
        ("born > 2026-11-01T00:00:00Z", 8, "expected a date"),
        ("last_seen > 2026-11-01", 13, "2026-11-01 has no time zone: write an offset"),
        ("last_seen > 2026-11-01T09:00", 13, "2026-11-01T09:00 has no time zone"),
        ("last_seen > 2026-11-01T25:00:00Z", 13, "this value does not exist"),
        ("last_seen > 2026-11-01T09:00:00.1234567Z", 13, "write a date as"),
        ("last_seen > 0001-01-01T00:00:00+09:00", 13, "this value does not exist"),
        ("age = 1 && age = 2", 9, "write and"),
        ("age == 1", 6, "expected a value, not '='"),
        ("age <> 1", 6, "expected a value, not '>'"),
        ("age = 1; drop table x", 8, "';' (U+003B) has no meaning outside of a text in double quotes"),
        ("年齢 = 1", 1, "'年' (U+5E74) has no meaning outside of a text in double quotes"),
        ("age = 1\u3000and age = 2", 8, "(U+3000) has no meaning"),
        ("`a ge` = 1", 1, "a column in backquotes is a letter, then letters, digits and '_'"),
        ("set = 1", 1, "expected a column, not, or an opening parenthesis, not 'set'"),
        ("(age = 1", 9, "expected ')' for the one opened at character 1, not the end"),
        ("age = 1)", 8, "expected and, or, or the end, not ')'"),
        ("count(x) > 1", 1, "unknown column count; did you mean country?"),
        ("not", 4, "expected a column"),
        ("true", 1, "expected a column"),
    ],
)
def test_an_error_points_at_the_character(text: str, position: int, message: str) -> None:
    error = refused(text)
    assert (error.code, error.detail["position"]) == ("BAD_FILTER", position)
    assert message in error.message
    assert error.message.startswith(f"at character {position}: ")


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("age >= x", "age >= x\n       ^"),
        ("age >= 1\nand x = 1\nor age = 2", "and x = 1\n    ^"),
        ('country = "日本" x', 'country = "日本" x\n                 ^'),
        ('country = "a\tb\x1b[31m"', 'country = "a b [31m"\n          ^'),
        (f'country = "{"x" * 100}" y', f'{"x" * 58}" y\n{" " * 60}^'),
    ],
)
def test_the_line_is_shown_with_a_caret_under_the_character(text: str, marked: str) -> None:
    assert refused(text).detail["marked"] == marked


def test_a_filter_over_the_limits_is_refused() -> None:
    most = " or ".join(["age = 1"] * (MAX_TERMS // 2) + [f"age in ({', '.join(['1'] * (MAX_TERMS // 2))})"])
    parse_filter(most, SCHEMA)
    assert f"more than {MAX_TERMS} conditions" in refused(f"{most} or age = 2").message
    assert f"more than {MAX_TERMS} conditions" in refused(f"age in ({'1, ' * MAX_TERMS}1)").message
    for opening, closing in (("(", ")"), ("not ", ""), ("not (", ")")):
        levels = MAX_DEPTH // opening.count("(" if closing else "not") // (2 if opening == "not (" else 1)
        parse_filter(opening * levels + "age = 1" + closing * levels, SCHEMA)
        parse_filter(" or ".join([opening * levels + "age = 1" + closing * levels] * 3), SCHEMA)  # side by side
        assert "nested deeper" in refused(opening * (levels + 1) + "age = 1" + closing * (levels + 1)).message
    assert "nested deeper" in refused("(" * (MAX_CHARACTERS - 1)).message
    error = refused("(" * (MAX_CHARACTERS + 1))
    assert (error.code, error.detail) == ("BAD_FILTER", {"characters": MAX_CHARACTERS + 1})


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-11-01", "Asia/Tokyo", datetime(2026, 10, 31, 15, tzinfo=UTC)),
        ("2026-11-01T09:00", "Asia/Tokyo", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T09:00:00Z", "Asia/Tokyo", datetime(2026, 11, 1, 9, tzinfo=UTC)),
        ("2026-03-29T01:59:59.5", "Europe/Berlin", datetime(2026, 3, 29, 0, 59, 59, 500_000, tzinfo=UTC)),
        ("2026-03-29T03:00", "Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ],
)
def test_time_without_an_offset_uses_the_given_zone(text: str, zone: str, moment: datetime) -> None:
    tree = parse_filter(f"last_seen = {text}", SCHEMA, timezone=zone)
    assert tree == Comparison(column="last_seen", type="timestamp", operator="=", value=moment)
    assert parse_filter(filter_text(tree), SCHEMA) == tree  # the written form has an offset


@pytest.mark.parametrize("text", ["2026-03-29T02:30", "2026-10-25T02:30"])  # skipped, and occurring twice
def test_ambiguous_or_skipped_local_time_is_refused(text: str) -> None:
    error = refused(f"last_seen > {text}", timezone="Europe/Berlin")
    assert (error.code, error.detail["position"]) == ("BAD_FILTER", 13)
    assert "does not exist, or exists twice, in Europe/Berlin" in error.message


def test_an_unknown_zone_is_refused() -> None:
    assert refused("last_seen > 2026-03-29", timezone="Mars/Olympus").code == "BAD_TIMEZONE"


def test_values_are_bound_and_names_quoted() -> None:
    tree = parse_filter('not (age in (1, 2) or country = "JP") and last_seen < 1970-01-01T00:00:01Z', SCHEMA)
    sql, parameters = to_sql(tree, 'r"x')
    assert parameters == (1, 2, "JP", 1_000_000)
    assert sql.count("?") == len(parameters)
    assert '"r""x"."age" IN (CAST(? AS BIGINT), CAST(? AS BIGINT))' in sql
    assert not re.search(r"JP|1000000|[12]", sql)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("age >= 25", ["25"]),
        ("not age >= 25", ["no age", "nan"]),
        ("age != 25", ["nan"]),
        ("not age != 25", ["no age", "25"]),
        ("age is set", ["25", "nan"]),
        ("not (age is not set)", ["25", "nan"]),
        ("score > 0", ["no age"]),  # SQL takes NaN for the largest number, equal to itself
        ("not score > 0", ["25", "nan"]),
        ("score != 1", []),
        ("not score in (1, 2)", ["25", "nan"]),
        ("score is set", ["no age", "nan"]),
        ("age in (25, 26) and not (score > 0 or score is set)", ["25"]),
    ],
)
def test_missing_values_match_no_comparison(text: str, found: list[str]) -> None:
    sql, parameters = to_sql(parse_filter(text, SCHEMA), "m")
    rows = "(VALUES ('no age', NULL, 1.0::DOUBLE), ('25', 25, NULL), ('nan', 7, 'nan'::DOUBLE)) m(id, age, score)"
    with duckdb.connect() as connection:
        ids = connection.execute(f"SELECT id FROM {rows} WHERE {sql}", parameters).fetchall()
    assert [id_ for (id_,) in ids] == found


def test_documented_filters_are_valid() -> None:
    text = (Path(__file__).parents[4] / "docs" / "filters.md").read_text()
    [block] = re.findall(r"```filter\n(.*?)```", text, re.DOTALL)
    columns = (*SCHEMA.columns, Column(name="email"), Column(name="in", type="double"))
    for line in block.splitlines():
        tree = parse_filter(line, RowSchema(columns=columns))
        assert parse_filter(filter_text(tree), RowSchema(columns=columns)) == tree
    assert f"{MAX_CHARACTERS:,} characters, {MAX_TERMS:,} conditions and values, or {MAX_DEPTH} levels" in text
    [words] = re.findall(r"word of the language \(`([^`]*)`\)", text)
    assert set(words.split()) == RESERVED
