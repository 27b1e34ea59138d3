from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from schemas.errors import UserError
from segmentation.expressions.lexer import string
from segmentation.rules.events import Events
from segmentation.rules.nodes import Count, Group, Rule
from segmentation.rules.parser import parse_rule
from segmentation.rules.sql import Relations, breakdown_sql, count_sql, explain_sql, members_sql
from tests.unit.segmentation.expressions.injections import INJECTIONS

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
RELATIONS = """
    CREATE TABLE events (user_id VARCHAR, event VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR,
        numbers MAP(VARCHAR, DOUBLE), strings MAP(VARCHAR, VARCHAR), booleans MAP(VARCHAR, BOOLEAN));
    CREATE TABLE profiles (user_id VARCHAR, numbers MAP(VARCHAR, DOUBLE), strings MAP(VARCHAR, VARCHAR),
        booleans MAP(VARCHAR, BOOLEAN), dates MAP(VARCHAR, DATE), timestamps MAP(VARCHAR, TIMESTAMPTZ));
    CREATE TABLE known_users (user_id VARCHAR);
    CREATE TABLE members (kind VARCHAR, name VARCHAR, user_id VARCHAR);
    INSERT INTO known_users VALUES ('ann'), ('bob'), ('cid');
"""


@pytest.fixture
def tenant() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(RELATIONS)
        yield connection


@pytest.fixture(scope="module")
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    """A tenant for tests that change nothing."""
    with duckdb.connect() as connection:
        connection.execute(RELATIONS)
        yield connection


def happened(
    tenant: duckdb.DuckDBPyConnection, user: str, event: str, at: datetime, id_: str = "1", **numbers: float
) -> None:
    tenant.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, NULL, NULL)", [user, event, at, id_, numbers])


def found(tenant: duckdb.DuckDBPyConnection, rule: str | Rule, at: datetime = NOON) -> list[str]:
    rule = parse_rule(rule, timezone="UTC") if isinstance(rule, str) else rule
    sql, parameters = members_sql(rule, Relations(), at)
    users = sorted(user for (user,) in tenant.execute(sql, parameters).fetchall())
    sql, parameters = count_sql(rule, Relations(), at)
    assert tenant.execute(sql, parameters).fetchall() == [(len(users),)]
    return users


def test_event_counts_for_exactly_one_window(tenant: duckdb.DuckDBPyConnection) -> None:
    happened(tenant, "ann", "buy", NOON)
    rule = "count(buy, 3d) >= 1"
    assert found(tenant, rule, NOON - MICROSECOND) == []
    assert found(tenant, rule, NOON) == ["ann"]
    assert found(tenant, rule, NOON + timedelta(days=3) - MICROSECOND) == ["ann"]
    assert found(tenant, rule, NOON + timedelta(days=3)) == []
    assert found(tenant, "count(buy, 3d) = 0", NOON + timedelta(days=3)) == ["ann", "bob", "cid"]


def test_window_is_exact_across_a_clock_change(tenant: duckdb.DuckDBPyConnection) -> None:
    happened(tenant, "ann", "buy", datetime(2026, 10, 24, 12, tzinfo=UTC))  # Berlin: 14:00, and 24 hours later 13:00
    rule = parse_rule("count(buy, 1d) >= 1", timezone="Europe/Berlin")
    assert found(tenant, rule, datetime(2026, 10, 25, 11, 59, 59, tzinfo=UTC)) == ["ann"]
    assert found(tenant, rule, datetime(2026, 10, 25, 12, tzinfo=UTC)) == []


def test_identity_counts_once_and_matches_if_any_copy_does(tenant: duckdb.DuckDBPyConnection) -> None:
    happened(tenant, "ann", "buy", NOON, "1", amount=1)
    happened(tenant, "ann", "buy", NOON, "1", amount=100)
    happened(tenant, "ann", "buy", NOON, "2", amount=100)
    assert found(tenant, "count(buy, 1d) = 2") == ["ann"]
    assert found(tenant, "count(buy where amount = 100, 1d) = 2") == ["ann"]
    assert found(tenant, "count(buy where amount = 1, 1d) = 1") == ["ann"]


def test_negative_conditions_match_known_users_without_events(
    tenant: duckdb.DuckDBPyConnection,
) -> None:
    happened(tenant, "ann", "buy", NOON)
    happened(tenant, "stranger", "buy", NOON)
    tenant.execute("INSERT INTO profiles (user_id, numbers) VALUES ('bob', MAP {'age': 30}), ('x', MAP {'age': 30})")
    tenant.execute("INSERT INTO members VALUES ('audience', 'vip', 'cid'), ('audience', 'vip', 'y')")
    assert found(tenant, "ever(buy)") == ["ann"]
    for rule in ("never(buy)", "not ever(buy)", "count(buy, 3d) <= 0", "count(buy, 3d) = 0", "not count(buy, 1s) >= 1"):
        assert found(tenant, rule) == ["bob", "cid"]
    assert found(tenant, "not last(buy) >= 2026-11-01") == ["bob", "cid"]
    assert found(tenant, "age < 40") == ["bob"]
    assert found(tenant, "not age >= 40") == ["ann", "bob", "cid"]
    assert found(tenant, "age is not set and not in audience vip") == ["ann"]


def test_values_of_another_type_match_no_comparison(tenant: duckdb.DuckDBPyConnection) -> None:
    tenant.execute("INSERT INTO profiles (user_id, numbers) VALUES ('ann', MAP {'a': 1})")
    tenant.execute("INSERT INTO profiles (user_id, strings) VALUES ('bob', MAP {'a': '1'})")
    tenant.execute("INSERT INTO profiles (user_id, booleans) VALUES ('cid', MAP {'a': true})")
    assert found(tenant, "a = 1") == ["ann"]
    assert found(tenant, 'a = "1"') == ["bob"]
    assert found(tenant, "a = true") == ["cid"]
    assert found(tenant, "a != 2") == ["ann"]
    assert found(tenant, "a != false") == ["cid"]
    assert found(tenant, "a is set") == ["ann", "bob", "cid"]
    assert found(tenant, "not a = 1") == ["bob", "cid"]


@pytest.mark.parametrize(
    ("stored", "rule", "there"),
    [
        ("'nan'", "a = 1 or a != 1 or a < 1 or a > 1", False),
        ("'nan'", "a is set", True),
        ("'infinity'", "a > 1.7976931348623157e308", True),
        ("'-infinity'", "a < -1e300", True),
        ("'-0.0'", "a = 0", True),
        ("'0.0'", "a = -0", True),
        ("9007199254740993", "a = 9007199254740992", True),  # the nearest double, as stored
        ("9007199254740993", "a > 9007199254740992", False),
        ("5e-324", "a > 0", True),
    ],
)
def test_numbers_compare_as_doubles(tenant: duckdb.DuckDBPyConnection, stored: str, rule: str, *, there: bool) -> None:
    tenant.execute(f"INSERT INTO profiles (user_id, numbers) VALUES ('ann', MAP {{'a': {stored}::DOUBLE}})")
    assert found(tenant, rule) == (["ann"] if there else [])


@pytest.mark.parametrize(
    ("stored", "rule", "there"),
    [
        ("2026-03-28 22:59:59.999999+00", "seen < 2026-03-29", True),
        ("2026-03-28 23:00:00+00", "seen < 2026-03-29", False),
        ("2026-03-28 23:00:00+00", "seen >= 2026-03-29", True),
        ("2026-03-29 21:59:59.999999+00", "seen = 2026-03-29", True),  # a day of 23 hours
        ("2026-03-29 22:00:00+00", "seen = 2026-03-29", False),
        ("2026-03-29 21:59:59.999999+00", "seen <= 2026-03-29", True),
        ("2026-03-29 21:59:59.999999+00", "seen > 2026-03-29", False),
        ("2026-03-29 22:00:00+00", "seen > 2026-03-29", True),
        ("2026-03-29 22:00:00+00", "seen != 2026-03-29", True),
        ("2026-03-29 22:00:00+00", "seen in (2026-03-27, 2026-03-30)", True),
        ("2026-03-29 22:00:00+00", "seen = 2026-03-30T00:00", True),
    ],
)
def test_date_compares_with_a_timestamp_as_a_day_in_the_zone(
    tenant: duckdb.DuckDBPyConnection, stored: str, rule: str, *, there: bool
) -> None:
    tenant.execute(
        f"INSERT INTO profiles (user_id, timestamps) VALUES ('ann', MAP {{'seen': '{stored}'::TIMESTAMPTZ}})"
    )
    assert found(tenant, parse_rule(rule, timezone="Europe/Berlin")) == (["ann"] if there else [])


def test_explanation_covers_every_condition_for_a_known_user(tenant: duckdb.DuckDBPyConnection) -> None:
    happened(tenant, "ann", "buy", NOON)
    happened(tenant, "bob", "buy", NOON)
    rule = parse_rule("ever(buy) and (age >= 25 or in audience vip) and not never(buy)")

    def explained(user: str) -> list[tuple[bool, ...]]:
        sql, parameters = explain_sql(rule, Relations(), NOON, user)
        return tenant.execute(sql, parameters).fetchall()

    tenant.execute("INSERT INTO members VALUES ('audience', 'vip', 'ann')")
    assert explained("ann") == [(True, True, False, True, False)]
    assert explained("bob") == [(False, True, False, False, False)]
    assert explained("cid") == [(False, False, False, False, True)]
    assert explained("stranger") == []


@pytest.mark.parametrize("name", ['my "events', "k", "e", "events; DROP TABLE known_users"])
def test_caller_names_the_relations(tenant: duckdb.DuckDBPyConnection, name: str) -> None:
    happened(tenant, "ann", "buy", NOON)
    quoted = '"' + name.replace('"', '""') + '"'
    tenant.execute(f"ALTER TABLE events RENAME TO {quoted}")
    sql, parameters = members_sql(parse_rule("ever(buy)"), Relations(events=name), NOON)
    assert tenant.execute(sql, parameters).fetchall() == [("ann",)]


def test_naive_instant_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="an instant needs a time zone"):
        members_sql(parse_rule("ever(buy)"), Relations(), datetime(2026, 11, 1))  # noqa: DTZ001


FORMS = (
    "ever({}) or never({})",
    "count({} where {} = {} and {} in ({}) and {} is set, 3d) >= 1",
    "first({}) < 2026-11-02T00:00Z",
    "{} = {} or {} in ({}, {}) or {} is not set",
    "sequence({} where {} = {} then not {} where {} in ({}, {}) within 1d same {}, 7d)",
)


def test_cart_bought_at_its_very_moment_is_not_abandoned(tenant: duckdb.DuckDBPyConnection) -> None:
    cart = NOON - timedelta(days=2)
    for user in ("ann", "bob", "cid"):
        happened(tenant, user, "cart", cart)
    happened(tenant, "ann", "buy", cart)
    happened(tenant, "bob", "buy", cart - MICROSECOND)
    happened(tenant, "cid", "buy", cart + timedelta(days=1))
    assert found(tenant, "sequence(cart then not buy within 1d, 7d)") == ["bob"]
    assert found(tenant, "sequence(cart then buy within 1d, 7d)") == ["ann", "cid"]
    assert found(tenant, "sequence(cart then cart within 1d, 7d)") == []  # of one name, another moment is needed


@pytest.mark.parametrize("attempt", INJECTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_rule_texts_never_enter_the_sql(form: str, attempt: str) -> None:
    if "\0" in attempt:
        with pytest.raises(UserError, match="BAD_RULE"):
            parse_rule(form.replace("{}", string(attempt)))
        return
    sql, parameters = members_sql(parse_rule(form.replace("{}", string(attempt))), Relations(), NOON)
    assert sql == members_sql(parse_rule(form.replace("{}", '"x"')), Relations(), NOON).text
    assert attempt in parameters


@pytest.mark.parametrize("attempt", [attempt for attempt in INJECTIONS if "\0" not in attempt])
def test_text_matches_only_itself(tenant: duckdb.DuckDBPyConnection, attempt: str) -> None:
    rule = FORMS[1].replace("{}", string(attempt))
    other = f"{string(attempt)} = {string(attempt)}"
    happened(tenant, "bob", "buy", NOON)
    assert found(tenant, rule) == found(tenant, other) == []
    named = {attempt: attempt}
    tenant.execute("INSERT INTO events VALUES ('ann', ?, ?, '1', NULL, ?, NULL)", [attempt, NOON, named])
    tenant.execute("INSERT INTO profiles (user_id, strings) VALUES ('cid', ?)", [named])
    assert found(tenant, rule) == ["ann"]
    assert found(tenant, other) == ["cid"]


@pytest.mark.parametrize("attempt", INJECTIONS)
@pytest.mark.parametrize("form", ["{}", "ever({})", "a = 1 and {}", "count(x where {}, 3d) >= 1", "in audience {}"])
def test_unquoted_injection_is_refused_or_binds_values(
    empty: duckdb.DuckDBPyConnection, form: str, attempt: str
) -> None:
    try:
        rule = parse_rule(form.format(attempt) if form != "{}" else attempt)
    except UserError as error:
        refusal = (error.code, type(error.detail["position"]))
        assert refusal == ("BAD_RULE", int)
    else:
        assert found(empty, rule) == []
    assert empty.execute("SELECT count(*) FROM known_users").fetchall() == [(3,)]


def test_rule_with_the_most_conditions_runs(tenant: duckdb.DuckDBPyConnection) -> None:
    happened(tenant, "ann", "e7", NOON)
    happened(tenant, "bob", "e8", NOON)
    counts = [Count(events=Events(event=f"e{n}"), quantity="at_most", times=0, within_s=60 + n) for n in range(1_000)]
    every = Rule(groups=tuple(Group(conditions=(condition,)) for condition in counts))
    assert found(tenant, every) == ["cid"]
    assert found(tenant, Rule(groups=(Group(conditions=tuple(counts)),))) == ["ann", "bob", "cid"]


def test_condition_count_ignores_the_rest_of_the_rule(tenant: duckdb.DuckDBPyConnection) -> None:
    """The rule alone needs only users with events; its condition on age does not."""
    happened(tenant, "ann", "buy", NOON)
    tenant.execute("INSERT INTO profiles (user_id, numbers) VALUES ('ann', MAP {'age': 30}), ('bob', MAP {'age': 40})")
    rule = parse_rule("count(buy, 3d) >= 1 and age >= 18")
    sql, parameters = breakdown_sql(rule, Relations(known_users=None), NOON, 5)
    assert tenant.execute(sql, parameters).fetchall() == [(1, 1, 2, 1, 2, ["ann"])]
