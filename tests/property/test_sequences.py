"""Sequences over dense events, so that ends, ties and bounds are met all the time: stream = SQL = definition."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.expressions.literals import EPOCH, SECOND_US, micros
from segmentation.rules.events import Events as EventsAsked
from segmentation.rules.nodes import Group, Rule
from segmentation.rules.sequence_progress import Reached, progress
from segmentation.rules.sequences import Sequence, Step
from segmentation.rules.sql import Relations, members_sql, steps_sql
from tests.examples import examples
from tests.naive_rules import Event, World, followed
from tests.property.rule_cases import NOW
from tests.property.test_evaluator import Events, History, check_log, give
from tests.property.test_evaluator import Step as LogStep
from tests.property.test_rules import fill, rows
from tests.property.test_succession import restarted, succeeded

NAMES = "ABC"
USERS = ("u1", "u2")
PRODUCTS: st.SearchStrategy[Mapping[str, Any]] = st.sampled_from(
    [{}, {"product": 1.0}, {"product": "1"}, {"product": True}, {"product": -0.0}]
)
OTHER_CLOCKS = (datetime(1969, 12, 31, 23, 59, 50, tzinfo=UTC), datetime(2286, 11, 20, 17, 46, 39, tzinfo=UTC))
"""Around the epoch, and around ten digits of seconds since."""
ASKED = st.builds(EventsAsked, event=st.sampled_from(NAMES))


@st.composite
def sequences(draw: st.DrawFn) -> Sequence:
    """Two or three steps in seconds, with few latest moments."""
    number = draw(st.sampled_from([2, 2, 3]))
    negated = draw(st.integers(0, number - 1))
    steps = [Step(events=draw(ASKED))]
    for at in range(1, number):
        within_s = draw(st.sampled_from([1, 2, 3, 5, 8]))
        gap_s = min(draw(st.sampled_from([0, 0, 0, 1, 7])), within_s - 1)
        steps.append(Step(events=draw(ASKED), negated=at == negated, gap_s=gap_s, within_s=within_s))
    return Sequence(
        steps=tuple(steps),
        same=draw(st.sampled_from([None, None, "product"])),
        window_s=draw(st.sampled_from([1, 2, 4, 7, 15, 40])),
        latest=draw(st.sampled_from([1, 2, 3, 5, 1_000])),
    )


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[datetime, LogStep]]:
    """Events around T, some late, some to come, some again with another value."""
    log: list[tuple[datetime, LogStep]] = []
    at = draw(st.sampled_from([NOW, NOW, *OTHER_CLOCKS]))
    seen: list[Event] = []
    for _ in range(draw(st.integers(3, 9))):
        at += timedelta(seconds=draw(st.sampled_from([0, 0, 1, 1, 2, 3, 6, 12])))
        batch = [
            Event(
                user=draw(st.sampled_from(USERS)),
                name=draw(st.sampled_from(NAMES)),
                occurred_at=at + timedelta(seconds=draw(st.sampled_from([0, 0, -1, -1, -2, -3, -5, -8, -20, 1, 3]))),
                id=draw(st.sampled_from("12")),
                properties=draw(PRODUCTS),
            )
            for _ in range(draw(st.integers(1, 4)))
        ]
        if draw(st.booleans()) and seen:
            batch.append(draw(st.sampled_from(seen)))
        seen += batch
        log.append((at, Events(rows=batch)))
    return [*log, (at + timedelta(seconds=draw(st.sampled_from([1, 5, 50]))), None)]


def rule_of(sequence: Sequence, *, negated: bool = False) -> Rule:
    return Rule(groups=(Group(conditions=(sequence,), negated=negated),))


@examples(150)
@given(first=sequences(), second=sequences(), negated=st.booleans(), log=logs())
def test_stream_follows_sequences_after_every_step_and_at_every_instant(
    first: Sequence, second: Sequence, *, negated: bool, log: list[tuple[datetime, LogStep]]
) -> None:
    check_log({"vip": rule_of(first), "x": rule_of(second, negated=negated)}, log)


def test_late_moment_counts_no_more_than_those_that_later_ones_pushed_out() -> None:
    """Two values of one moment go together, which leaves room that a still earlier moment must not take."""
    asked = Sequence(
        steps=(Step(events=EventsAsked(event="A")), Step(events=EventsAsked(event="B"), within_s=8)),
        same="product",
        window_s=40,
        latest=2,
    )

    def happened(name: str, seconds: int, product: str) -> Event:
        return Event(
            user="u1", name=name, occurred_at=later(seconds), id=str(ord(product)), properties={"product": product}
        )

    def later(seconds: int) -> datetime:
        return NOW + timedelta(seconds=seconds)

    pushed_out = [happened("A", 10, "x"), happened("A", 10, "y"), happened("A", 11, "z")]
    late, follows = happened("A", 9, "x"), happened("B", 17, "x")
    log: list[tuple[datetime, LogStep]] = [
        (later(12), Events(rows=pushed_out)),
        (later(13), Events(rows=[late])),
        (later(20), Events(rows=[follows])),
    ]
    check_log({"vip": rule_of(asked)}, log)


TURNS = st.lists(st.none() | st.just("restart") | st.lists(sequences(), min_size=1, max_size=2), min_size=9, max_size=9)


@examples(100)
@given(first=sequences(), turns=TURNS, log=logs())
def test_rules_with_sequences_change_and_workers_restart(
    first: Sequence, turns: list[str | list[Sequence] | None], log: list[tuple[datetime, LogStep]]
) -> None:
    """Those with the same sequence as before go on from what was kept; others take over the past."""
    of = {"a": ActiveRule(version=1, rule=rule_of(first))}
    evaluator, history, past = Evaluator(of, at_us=micros(log[0][0])), History(), list[LogStep]()
    for (at, step), turn in zip(log, turns, strict=False):
        if turn == "restart":
            evaluator.advance(micros(at))
            evaluator = restarted(evaluator)
        elif isinstance(turn, list):
            asked = [first, *turn]
            of = {
                name: ActiveRule(version=len(past), rule=rule_of(one)) for name, one in zip("abc", asked, strict=False)
            }
            evaluator, _ = succeeded(evaluator, of, past, history.known, at)
        give(evaluator, step, at)
        history.take(step)
        past.append(step)
        expected = history.answer({name: active.rule for name, active in of.items()}, at)
        assert {name: set(evaluator.members(name).to_pylist()) for name in of} == expected


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.register("known_users", pa.table({"user_id": USERS}))
        yield connection


@examples(60)
@given(asked=st.lists(sequences(), min_size=4, max_size=8), log=logs())
def test_sql_finds_the_users_of_sequences(
    database: duckdb.DuckDBPyConnection, asked: list[Sequence], log: list[tuple[datetime, LogStep]]
) -> None:
    events = [event for _, step in log if isinstance(step, Events) for event in step.rows]
    world = World(events=events, profiles={}, members=set())
    fill(database, world, "UTC")
    for sequence in asked:
        for at in {at for at, _ in log[-3:]}:
            expected = sorted(user for user in USERS if followed(sequence, user, at, world))
            found = rows(database, members_sql(rule_of(sequence), Relations(), at))
            assert sorted(user for (user,) in found) == expected


MICROSECOND = timedelta(microseconds=1)


@examples(60)
@given(asked=st.lists(sequences(), min_size=4, max_size=8), log=logs())
def test_progress_says_whether_a_sequence_is_true_and_when_that_changes(
    database: duckdb.DuckDBPyConnection, asked: list[Sequence], log: list[tuple[datetime, LogStep]]
) -> None:
    events = [event for _, step in log if isinstance(step, Events) for event in step.rows]
    fill(database, World(events=events, profiles={}, members=set()), "UTC")
    at = log[-2][0]
    past = World(events=[event for event in events if event.occurred_at <= at], profiles={}, members=set())
    for sequence in asked:
        for user in USERS:
            steps = 1 + len(sequence.steps)
            found = rows(database, steps_sql(sequence, Relations(), at, user))
            of = progress(sequence, [Reached(us, flags[: steps - 1]) for us, *flags in found], micros(at))
            true, last = followed(sequence, user, at, past), of.steps[-1].reached_us
            assert true == (last is not None and last > micros(at) - sequence.window_s * SECOND_US)
            if of.changes_us is None:
                later = at + timedelta(seconds=sum(step.within_s for step in sequence.steps))
                assert not true
                assert not followed(sequence, user, later, past)
            else:
                changes = EPOCH + timedelta(microseconds=of.changes_us)
                assert followed(sequence, user, changes, past) is not true
                assert followed(sequence, user, changes - MICROSECOND, past) is true
