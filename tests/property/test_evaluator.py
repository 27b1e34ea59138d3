"""Random rules and a random log: after every step the stream's answer equals a naive evaluation of all the history.

Steps are events (late, duplicate, at the same moment, from the future), profile changes, members of audiences, and the
passing of time, alone and with the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.columns import ColumnType
from segmentation.evaluation.batches import Changes, EventBatch, ProfileBatch
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.expressions.literals import EPOCH
from segmentation.rules.events import Events as BooleanFact
from segmentation.rules.nodes import Count, Group, Member, Rule
from segmentation.rules.references import cycle, evaluation_order
from tests.examples import examples
from tests.naive_rules import Event, World, is_in
from tests.property.rule_cases import NAMES, NEAR, rules, widened
from tests.property.test_rules import DATED, EVENT, USERS

TYPES: Mapping[ColumnType, tuple[type, pa.DataType]] = {
    "double": (float, pa.float64()),
    "string": (str, pa.string()),
    "boolean": (bool, pa.bool_()),
    "date": (type(EPOCH.date()), pa.date32()),
    "timestamp": (datetime, pa.timestamp("us", "UTC")),
}
SEGMENTS = ("vip", "x")
MICRO = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICRO


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile change: None unsets an attribute; `deleted` unsets all."""

    user: str
    attributes: Mapping[str, Any]
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Audience:
    name: str
    users: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Events:
    rows: list[Event]


@dataclass(frozen=True, kw_only=True)
class Profiles:
    rows: list[Profile]


Step = Events | Profiles | Audience | None


@dataclass
class History:
    """Everything so far, evaluated naively."""

    events: list[Event] = field(default_factory=list)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    audiences: dict[str, frozenset[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def take(self, step: Step) -> None:
        match step:
            case Audience():
                self.audiences[step.name] = step.users
            case Events():
                self.events += step.rows
                self.known |= {event.user for event in step.rows}
            case Profiles():
                for change in step.rows:
                    before = {} if change.deleted else self.profiles.get(change.user, {})
                    self.profiles[change.user] = {**before, **({} if change.deleted else change.attributes)}
                    self.known.add(change.user)

    def answer(self, of: Mapping[str, Rule], at: datetime) -> dict[str, set[str]]:
        members = {("audience", name, user) for name, users in self.audiences.items() for user in users}
        world = World(events=self.events, profiles=self.profiles, members=members)
        answer: dict[str, set[str]] = {}
        for name in evaluation_order(of):
            users = self.known.union(*self.audiences.values())
            answer[name] = {user for user in users if is_in(of[name], user, at, world, known=user in self.known)}
            members |= {("segment", name, user) for user in answer[name]}
        return answer


def values_of(named: list[Mapping[str, Any]], name: str, type_: ColumnType) -> pa.Array:
    python, arrow = TYPES[type_]
    return pa.array([row[name] if type(row.get(name)) is python else None for row in named], arrow)


def event_batch(step: Events) -> EventBatch:
    properties = [one.properties for one in step.rows]
    return EventBatch(
        user_ids=pa.array([one.user for one in step.rows], pa.string()),
        events=pa.array([one.name for one in step.rows], pa.string()),
        occurred_at=np.array([micros(one.occurred_at) for one in step.rows], np.int64),
        identities=np.array([int(one.id) for one in step.rows], np.int64),
        values=lambda name, type_: values_of(properties, name, type_),
    )


def profile_batch(step: Profiles) -> ProfileBatch:
    attributes = [{} if one.deleted else one.attributes for one in step.rows]
    return ProfileBatch(
        user_ids=pa.array([one.user for one in step.rows], pa.string()),
        deleted=np.array([one.deleted for one in step.rows], np.bool_),
        mentions=lambda name: np.array([name in row for row in attributes], np.bool_),
        values=lambda name, type_: values_of(attributes, name, type_),
    )


def give(evaluator: Evaluator, step: Step, at: datetime) -> list[Changes]:
    match step:
        case Audience():
            ids = pa.array(sorted(step.users), pa.string())
            return evaluator.set_members(Member(kind="audience", name=step.name), ids, micros(at))
        case None:
            return evaluator.advance(micros(at))
        case Events():
            return evaluator.apply_events(event_batch(step), micros(at))
        case Profiles():
            return evaluator.apply_profiles(profile_batch(step), micros(at))


ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), st.none() | DATED, max_size=3)
PROFILE = st.builds(
    Profile, user=st.sampled_from(USERS), attributes=ATTRIBUTES, deleted=st.sampled_from([False, False, False, True])
)
AUDIENCE = st.builds(
    Audience, name=st.sampled_from(["vip", "2026-spring", "x"]), users=st.frozensets(st.sampled_from(USERS))
)
STEP = st.one_of(
    st.builds(Events, rows=st.lists(EVENT, min_size=1, max_size=6)),
    st.builds(Events, rows=st.lists(EVENT, min_size=1, max_size=6)),
    st.builds(Profiles, rows=st.lists(PROFILE, min_size=1, max_size=3)),
    AUDIENCE,
    st.none(),
)


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[datetime, Step]]:
    """Steps at non-decreasing instants, with copies of earlier events."""
    steps = draw(st.lists(STEP, min_size=2, max_size=8))
    instants = draw(st.lists(NEAR, min_size=len(steps), max_size=len(steps)))
    seen: list[Event] = []
    for step in steps:
        if isinstance(step, Events):
            if draw(st.booleans()) and seen:
                again = draw(st.sampled_from(seen))
                step.rows.append(replace(again, properties=draw(st.sampled_from([again.properties, {}]))))
            seen += step.rows
    return list(zip(sorted(instants), steps, strict=True))


COUNT_RULES = st.builds(
    lambda count, negated: Rule(groups=(Group(conditions=(count,), negated=negated),)),
    st.builds(
        Count,
        events=st.just(BooleanFact(event="purchase")),
        quantity=st.sampled_from(["at_least", "at_most", "exactly"]),
        times=st.integers(1, 3),
        within_s=st.sampled_from([1, 3_600, 86_400]),
    ),
    st.booleans(),
)
"""Rules that become true and false by time alone."""


@examples(200)
@given(first=COUNT_RULES | rules() | widened(), second=COUNT_RULES | rules() | widened(), log=logs())
def test_stream_matches_the_whole_history_after_every_step(
    first: Rule, second: Rule, log: list[tuple[datetime, Step]]
) -> None:
    of = dict(zip(SEGMENTS, (first, second), strict=True))
    assume(cycle(of) is None)
    check_log(of, log)


def check_log(of: Mapping[str, Rule], log: list[tuple[datetime, Step]]) -> None:
    """Members after every step are those of the whole history, and changes by time alone have the right instants."""
    active = {name: ActiveRule(version=number, rule=rule) for number, (name, rule) in enumerate(of.items(), start=1)}
    evaluator, history = Evaluator(active, at_us=micros(log[0][0])), History()
    emitted: dict[str, set[str]] = {name: set() for name in of}
    for at, step in log:
        before = History(list(history.events), dict(history.profiles), dict(history.audiences), set(history.known))
        changes = give(evaluator, step, at)
        history.take(step)
        expected = history.answer(of, at)
        assert {name: set(evaluator.members(name).to_pylist()) for name in of} == expected
        assert {name: evaluator.size(name) for name in of} == {name: len(expected[name]) for name in of}
        for change in changes:
            assert change.rule_version == active[change.segment].version
            for user, entered, effective_us in zip(
                change.user_ids.to_pylist(), change.entered.tolist(), change.effective_at.tolist(), strict=True
            ):
                assert (user in emitted[change.segment]) != entered, "emitted twice"
                (emitted[change.segment].add if entered else emitted[change.segment].remove)(user)
                if change.cause == "time":
                    moment = EPOCH + timedelta(microseconds=effective_us)
                    assert (user in before.answer(of, moment)[change.segment]) == entered
                    assert (user in before.answer(of, moment - MICRO)[change.segment]) != entered
                else:
                    assert effective_us == micros(at)
        assert emitted == expected
