"""Random rules over random events, profiles and memberships: DuckDB finds the same users as a naive evaluation.

Events come late, twice, with other properties the second time, at the same moment, and from the future.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmentation.expressions.literals import EPOCH
from segmentation.expressions.sql import BoundSql
from segmentation.rules.canonical import canonical
from segmentation.rules.events import Events
from segmentation.rules.nodes import Ever, Group, Rule, RuleCondition
from segmentation.rules.sql import Relations, breakdown_sql, count_sql, explain_sql, members_sql
from segmentation.rules.truths import true_without_facts
from tests.examples import examples
from tests.naive_rules import Event, Named, World, is_asked, is_in, is_true
from tests.property.rule_cases import CONDITIONS, EVENTS, NAMES, NEAR, VALUES, ZONES, rules, widened

KNOWN = ("u1", "u2", "u3", "u4")
USERS = (*KNOWN, "stranger")
MAPS: Mapping[str, tuple[type, pa.DataType]] = {
    "numbers": (float, pa.float64()),
    "strings": (str, pa.string()),
    "booleans": (bool, pa.bool_()),
    "dates": (date, pa.date32()),
    "timestamps": (datetime, pa.timestamp("us", "UTC")),
}
NAN = st.just(float("nan"))
STORED = st.one_of(
    *(VALUES[type_] for type_ in ("string", "double", "boolean")), NAN, st.sampled_from([float("inf"), float("-inf")])
)
OLD_AND_NEW = st.integers(-20 * 365 * 86_400, 130 * 365 * 86_400).map(lambda s: EPOCH + timedelta(seconds=s))
DATED = st.sampled_from([STORED, VALUES["double"], VALUES["date"], NEAR, NEAR, OLD_AND_NEW]).flatmap(lambda kind: kind)
PROPERTIES = st.dictionaries(st.sampled_from(NAMES), STORED, max_size=3)
EVENT = st.builds(
    Event,
    user=st.sampled_from(USERS[:2] * 2 + USERS),
    name=st.sampled_from(EVENTS[:1] * 2 + EVENTS),
    occurred_at=NEAR,
    id=st.sampled_from(["1", "2", "3"]),
    properties=PROPERTIES,
)
AGAIN = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, "2", "4"]), PROPERTIES), max_size=6)
"""Which event to repeat, under which other id, with which properties."""


@st.composite
def worlds(draw: st.DrawFn) -> World:
    events = draw(st.lists(EVENT, min_size=2, max_size=20))
    again = [
        replace(events[n], id=other or events[n].id, properties=properties)
        for n, other, properties in draw(AGAIN)
        if n < len(events)
    ]
    member = st.tuples(
        st.sampled_from(["audience", "segment"]), st.sampled_from(["vip", "2026-spring", "x"]), st.sampled_from(USERS)
    )
    profile = st.dictionaries(st.sampled_from(NAMES), DATED, max_size=4)
    return World(
        events=draw(st.permutations(events + again)),
        profiles=draw(
            st.fixed_dictionaries({"u1": profile, "u2": profile}, optional={"u3": profile, "stranger": profile})
        ),
        members=draw(st.sets(member, max_size=8)),
    )


INSTANTS = st.lists(NEAR, min_size=2, max_size=3, unique=True)


SESSIONS = st.sampled_from(["UTC", "Asia/Kolkata"])
"""The time zone of DuckDB's session, which makes no difference."""


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")  # handing twenty rows to another thread takes longer than the work
        connection.register("known_users", pa.table({"user_id": KNOWN}))
        yield connection


def fill(database: duckdb.DuckDBPyConnection, world: World, session: str) -> None:
    """The relations of a world, with the maps of values by type."""
    database.execute(f"SET TimeZone = '{session}'")
    events = {
        "user_id": pa.array([event.user for event in world.events], pa.string()),
        "event": pa.array([event.name for event in world.events], pa.string()),
        "occurred_at": pa.array([event.occurred_at for event in world.events], pa.timestamp("us", "UTC")),
        "event_id": pa.array([event.id for event in world.events], pa.string()),
        **maps([event.properties for event in world.events], "numbers", "strings", "booleans"),
    }
    profiles = {"user_id": pa.array(world.profiles, pa.string()), **maps([*world.profiles.values()], *MAPS)}
    columns = [*zip(*sorted(world.members), strict=True)] or [(), (), ()]
    members = dict(zip(("kind", "name", "user_id"), (pa.array(c, pa.string()) for c in columns), strict=True))
    for name, relation in (("events", events), ("profiles", profiles), ("members", members)):
        database.register(name, pa.table(relation))


def _of_users(world: World, asked: Collection[str]) -> World:
    """As relations without `known_users` are: users with events or profiles are known, and all members are asked."""
    return World(
        events=[event for event in world.events if event.user in KNOWN],
        profiles={user: profile for user, profile in world.profiles.items() if user in KNOWN},
        members={member for member in world.members if member[2] in asked},
    )


def maps(given: list[Named], *columns: str) -> dict[str, pa.Array]:
    def of_type(named: Named, type_: type) -> list[tuple[str, Any]] | None:
        return [(name, value) for name, value in named.items() if type(value) is type_] or None

    return {
        column: pa.array([of_type(named, MAPS[column][0]) for named in given], pa.map_(pa.string(), MAPS[column][1]))
        for column in columns
    }


def rows(database: duckdb.DuckDBPyConnection, query: BoundSql) -> list[Any]:
    return database.execute(query.text, query.parameters).fetchall()


@examples(30)
@given(
    given_rules=st.lists(rules() | widened(), min_size=2, max_size=3),
    world=worlds(),
    instants=INSTANTS,
    session=SESSIONS,
)
def test_duckdb_users_match_a_naive_evaluation(
    database: duckdb.DuckDBPyConnection, given_rules: list[Rule], world: World, instants: list[datetime], session: str
) -> None:
    fill(database, world, session)
    for rule in given_rules:
        for at in instants:
            expected = sorted(user for user in USERS if is_in(rule, user, at, world, known=user in KNOWN))
            assert sorted(user for (user,) in rows(database, members_sql(canonical(rule), Relations(), at))) == expected
            assert sorted(user for (user,) in rows(database, members_sql(rule, Relations(), at))) == expected
            assert rows(database, count_sql(rule, Relations(), at)) == [(len(expected),)]
        for user in ("u1", "stranger"):
            found = [row[0] for row in rows(database, explain_sql(rule, Relations(), at, user))]
            assert found == [user in expected] * is_asked(rule, user, world, known=user in KNOWN)


MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
A_STRANGER = Event(user="stranger", name="purchase", occurred_at=MIDNIGHT, id="1", properties={})


@examples(30)
@example(
    given_rules=[Rule(groups=(Group(conditions=(Ever(events=Events(event="purchase")),)),))],
    world=World(events=[A_STRANGER], profiles={"u1": {}}, members=set()),
    at=MIDNIGHT,
    session="UTC",
)
@given(given_rules=st.lists(rules() | widened(), min_size=2, max_size=3), world=worlds(), at=NEAR, session=SESSIONS)
def test_each_part_of_a_rule_is_counted_independently(
    database: duckdb.DuckDBPyConnection, given_rules: list[Rule], world: World, at: datetime, session: str
) -> None:
    for rule in given_rules:
        parts = [Group(conditions=(condition,)) for condition in rule.conditions]
        alone = [rule, *(replace(rule, groups=(group,)) for group in (*rule.groups, *parts))]
        asked = sorted(user for user in USERS if is_asked(rule, user, world, known=user in KNOWN))
        expected = [[user for user in asked if is_in(one, user, at, world)] for one in alone]
        needs_all = any(map(true_without_facts, alone))
        relations = Relations() if needs_all else replace(Relations(), known_users=None)
        fill(database, world if needs_all else _of_users(world, asked), session)
        [(*counted, users)] = rows(database, breakdown_sql(rule, relations, at, 2))
        assert counted == [len(one) for one in expected]
        assert (users or []) == expected[0][:2]


@examples(30)
@given(
    conditions=st.lists(CONDITIONS, min_size=20, max_size=30),
    world=worlds(),
    at=NEAR,
    zone=st.sampled_from(ZONES),
    session=SESSIONS,
)
def test_each_condition_matches_a_naive_evaluation(
    database: duckdb.DuckDBPyConnection,
    conditions: list[RuleCondition],
    world: World,
    at: datetime,
    zone: str,
    session: str,
) -> None:
    fill(database, world, session)
    rule = Rule(groups=(Group(conditions=tuple(conditions)),), timezone=zone, form=2)
    for user in KNOWN:
        [(_, *found)] = rows(database, explain_sql(rule, Relations(), at, user))
        expected = [is_true(condition, user, at, zone, world) for condition in conditions]
        wrong = [condition for condition, one, other in zip(conditions, found, expected, strict=True) if one != other]
        assert wrong == []
