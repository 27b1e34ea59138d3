"""Aggregates over dense events, so that ends, ties and bounds are met all the time: stream = SQL = definition."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation.evaluation.amounts import in_steps
from segmentation.rules.aggregates import Extreme, Function, Total, aggregate
from segmentation.rules.events import Events as EventsAsked
from segmentation.rules.nodes import Distinct, Group, Quantity, Rule
from segmentation.rules.sql import Relations, members_sql
from tests.examples import examples
from tests.naive_rules import Event, World, aggregated
from tests.property.rule_cases import COMPARED, NOW
from tests.property.test_evaluator import Events, Step, check_log
from tests.property.test_rules import fill, rows

NAMES = "AB"
USERS = ("u1", "u2")
VALUES: st.SearchStrategy[Mapping[str, Any]] = st.sampled_from(
    [{}, {"n": 1.0}, {"n": 2.0}, {"n": -1.0}, {"n": 0.1}, {"n": 0.2}, {"n": 0.00005}, {"n": -0.00005}, {"n": 9e11},
     {"n": 9.1e11}, {"n": float("nan")}, {"n": "1"}, {"n": True}, {"n": False}, {"n": -0.0}, {"n": 0.0}]
)  # fmt: skip
SMALL = st.sampled_from([0.0, 0.1, 0.3, 0.0001, -0.0001, 1.0, 2.0, 3.0, 4.0, 0.5, 1.5, 9e11, -1.0])


@st.composite
def aggregates(draw: st.DrawFn) -> Total | Extreme | Distinct:
    """In windows of seconds, with bounds that are often met."""
    function: Function = draw(st.sampled_from(["sum", "sum", "avg", "min", "max"]))
    events = EventsAsked(event=draw(st.sampled_from(NAMES)))
    within_s = draw(st.sampled_from([None, 1, 2, 3, 5, 8, 20]))
    if draw(st.sampled_from([False, False, False, True])):
        quantity: Quantity = draw(st.sampled_from(["at_least", "at_most", "exactly"]))
        times = draw(st.integers(1 if quantity == "at_least" else 0, 4))
        return Distinct(of="n", events=events, quantity=quantity, times=times, within_s=within_s or 4)
    return aggregate(
        function,
        of="n",
        events=events,
        operator=draw(COMPARED),
        value=draw(SMALL),
        within_s=within_s,
        latest=draw(st.sampled_from([1, 2, 3, 4, 5, 1_000])),
    )


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[datetime, Step]]:
    """Events around T, some late, some to come, some again with another value."""
    log: list[tuple[datetime, Step]] = []
    at = NOW
    seen: list[Event] = []
    for _ in range(draw(st.integers(3, 9))):
        at += timedelta(seconds=draw(st.sampled_from([0, 0, 1, 1, 2, 3, 6, 12])))
        batch = [
            Event(
                user=draw(st.sampled_from(USERS)),
                name=draw(st.sampled_from(NAMES)),
                occurred_at=at + timedelta(seconds=draw(st.sampled_from([0, 0, -1, -1, -2, -3, -5, -8, -20, 1, 3]))),
                id=draw(st.sampled_from("123")),
                properties=draw(VALUES),
            )
            for _ in range(draw(st.integers(1, 4)))
        ]
        if draw(st.booleans()) and seen:
            again: Event = draw(st.sampled_from(seen))
            batch.append(replace(again, properties=draw(VALUES)))
        seen += batch
        log.append((at, Events(rows=batch)))
    return [*log, (at + timedelta(seconds=draw(st.sampled_from([1, 5, 50]))), None)]


def rule_of(*conditions: Total | Extreme | Distinct, negated: bool = False) -> Rule:
    return Rule(groups=(Group(conditions=conditions, negated=negated),))


@examples(300)
@given(first=aggregates(), second=aggregates(), third=aggregates(), negated=st.booleans(), log=logs())
def test_stream_follows_aggregates_after_every_step_and_at_every_instant(
    first: Total, second: Total, third: Total, *, negated: bool, log: list[tuple[datetime, Step]]
) -> None:
    check_log({"vip": rule_of(first), "x": rule_of(second, third, negated=negated)}, log)


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.register("known_users", pa.table({"user_id": USERS}))
        yield connection


@examples(60)
@given(asked=st.lists(aggregates(), min_size=4, max_size=8), log=logs())
def test_sql_finds_the_users_of_aggregates(
    database: duckdb.DuckDBPyConnection, asked: list[Total | Extreme | Distinct], log: list[tuple[datetime, Step]]
) -> None:
    events = [event for _, step in log if isinstance(step, Events) for event in step.rows]
    world = World(events=events, profiles={}, members=set())
    fill(database, world, "UTC")
    for condition in asked:
        for at in {at for at, _ in log[-3:]}:
            expected = sorted(user for user in USERS if aggregated(condition, user, at, world))
            found = rows(database, members_sql(rule_of(condition), Relations(), at))
            assert sorted(user for (user,) in found) == expected


@examples(200)
@given(numbers=st.lists(st.floats() | st.integers(-(10**7), 10**7).map(lambda n: n / 20_000), min_size=1))
def test_numbers_have_the_same_steps_in_the_stream_and_in_sql(
    database: duckdb.DuckDBPyConnection, numbers: list[float]
) -> None:
    database.register("numbers", pa.table({"n": pa.array(numbers, pa.float64())}))
    found = database.execute(
        "SELECT CASE WHEN abs(n) <= 900000000000e0 THEN CAST(round(n * 10000) AS BIGINT) END FROM numbers"
    ).fetchall()
    fits, steps = in_steps(np.array(numbers))
    assert [step if fit else None for fit, step in zip(fits.tolist(), steps.tolist(), strict=True)] == [
        n for (n,) in found
    ]
