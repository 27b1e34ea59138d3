"""Answers of an evaluator, case by case; tests/property/test_evaluator.py compares it with the whole history."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import UserError
from segmentation.evaluation.batches import Changes, EventBatch
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.expressions.literals import SECOND_US
from segmentation.expressions.nodes import Presence
from segmentation.rules.events import Events
from segmentation.rules.nodes import Count, Group, Member, Never, Rule

HOUR = timedelta(hours=1) // timedelta(seconds=1)
BUYS = Events(event="buy")
Emitted = tuple[str, str, bool, int, str]


def rule(*groups: Group) -> ActiveRule:
    return ActiveRule(version=1, rule=Rule(groups=groups))


def buys(quantity: str, times: int) -> Group:
    count = Count(events=BUYS, quantity=quantity, times=times, within_s=HOUR)  # type: ignore[arg-type]
    return Group(conditions=(count,))


def buy(evaluator: Evaluator, at_s: int, *events: tuple[str, int]) -> list[Emitted]:
    """Events (user, time in seconds) that arrive at an instant, each with its own identity."""
    batch = EventBatch(
        user_ids=pa.array([user for user, _ in events], pa.string()),
        events=pa.repeat(pa.scalar("buy"), len(events)),
        occurred_at=np.array([at * SECOND_US for _, at in events], np.int64),
        identities=np.array([hash(event) for event in events], np.int64),
        values=lambda name, type_: pytest.fail(f"unexpected request for {name} {type_}"),
    )
    return emitted(evaluator.apply_events(batch, at_s * SECOND_US))


def emitted(changes: list[Changes]) -> list[Emitted]:
    return [
        (change.segment, user, entered, at // SECOND_US, change.cause)
        for change in changes
        for user, entered, at in zip(
            change.user_ids.to_pylist(), change.entered.tolist(), change.effective_at.tolist(), strict=True
        )
    ]


def test_member_leaves_in_the_second_its_event_expires() -> None:
    evaluator = Evaluator({"two": rule(buys("at_least", 2))}, at_us=0)
    assert buy(evaluator, 100, ("ann", 50), ("ann", 100)) == [("two", "ann", True, 100, "event")]
    assert emitted(evaluator.advance((50 + HOUR) * SECOND_US - 1)) == []
    assert emitted(evaluator.advance((50 + HOUR) * SECOND_US)) == [("two", "ann", False, 50 + HOUR, "time")]


def test_passing_time_can_add_a_member() -> None:
    evaluator = Evaluator({"one": rule(buys("exactly", 1))}, at_us=0)
    assert buy(evaluator, 100, ("ann", 50), ("ann", 100)) == []
    passed = emitted(evaluator.advance(2 * HOUR * SECOND_US))
    assert passed == [("one", "ann", True, 50 + HOUR, "time"), ("one", "ann", False, 100 + HOUR, "time")]


def test_future_event_counts_at_its_own_time() -> None:
    evaluator = Evaluator({"one": rule(buys("at_least", 1))}, at_us=0)
    assert buy(evaluator, 100, ("ann", 200), ("ann", 200)) == []
    assert evaluator.members("one").to_pylist() == []
    assert emitted(evaluator.advance(199 * SECOND_US)) == []
    assert emitted(evaluator.advance(500 * SECOND_US)) == [("one", "ann", True, 200, "time")]


def test_a_late_event_makes_a_member_now() -> None:
    evaluator = Evaluator({"one": rule(buys("at_least", 1))}, at_us=0)
    assert buy(evaluator, HOUR, ("ann", HOUR - 5), ("ben", 0)) == [("one", "ann", True, HOUR, "event")]


def test_unknown_users_are_in_no_segment() -> None:
    evaluator = Evaluator({"quiet": rule(Group(conditions=(Never(events=Events(event="sell")),)))}, at_us=0)
    assert evaluator.size("quiet") == 0
    assert buy(evaluator, 1, ("ann", 1)) == [("quiet", "ann", True, 1, "event")]


def test_form_2_considers_members_who_are_not_known() -> None:
    vip, known = Member(kind="audience", name="vip"), Group(conditions=(Never(events=BUYS),))
    groups = (Group(conditions=(vip,)), known, Group(conditions=(Presence(column="email", present=False),)))
    evaluator = Evaluator(
        {"new": ActiveRule(version=1, rule=Rule(groups=groups, form=2)), "old": rule(*groups)}, at_us=0
    )
    assert emitted(evaluator.set_members(vip, pa.array(["ann", "bob"]), 0)) == [
        ("new", "ann", True, 0, "members"),
        ("new", "bob", True, 0, "members"),
    ]
    assert buy(evaluator, 100, ("ann", 100)) == [("new", "ann", False, 100, "event")]
    assert emitted(evaluator.set_members(vip, pa.array(["ann"]), 200 * SECOND_US)) == [
        ("new", "bob", False, 200, "members")
    ]


def test_segment_conditions_see_members_of_the_same_step() -> None:
    inner = Group(conditions=(Member(kind="segment", name="two"),))
    outer = Group(conditions=(Member(kind="segment", name="inner"),), negated=True)
    rules = {"outer": rule(outer), "inner": rule(inner), "two": rule(buys("at_least", 2))}
    evaluator = Evaluator(rules, at_us=0)
    assert buy(evaluator, 10, ("ann", 10)) == [("outer", "ann", True, 10, "event")]
    assert buy(evaluator, 20, ("ann", 20)) == [
        ("two", "ann", True, 20, "event"),
        ("inner", "ann", True, 20, "event"),
        ("outer", "ann", False, 20, "event"),
    ]
    assert emitted(evaluator.advance((10 + HOUR) * SECOND_US)) == [
        ("two", "ann", False, 10 + HOUR, "time"),
        ("inner", "ann", False, 10 + HOUR, "time"),
        ("outer", "ann", True, 10 + HOUR, "time"),
    ]


def test_time_passes_in_bounded_steps_without_gaps() -> None:
    evaluator = Evaluator({"one": rule(buys("at_least", 1))}, at_us=0)
    users = [f"u{n}" for n in range(10)]
    buy(evaluator, 100, *((user, 10 + n) for n, user in enumerate(users)))
    steps = [emitted(step) for step in evaluator.steps(2 * HOUR * SECOND_US, max_users=4)]
    assert [len(step) for step in steps] == [4, 4, 2]
    left = [(user, at) for step in steps for _, user, entered, at, _ in step if not entered]
    assert left == [(user, 10 + n + HOUR) for n, user in enumerate(users)]


def test_time_does_not_go_back() -> None:
    evaluator = Evaluator({"one": rule(buys("at_least", 1))}, at_us=0)
    evaluator.advance(100 * SECOND_US)
    assert buy(evaluator, 50, ("ann", 90)) == [("one", "ann", True, 100, "event")]
    assert evaluator.at_us == 100 * SECOND_US


def test_circular_segment_references_are_refused() -> None:
    rules = {a: rule(Group(conditions=(Member(kind="segment", name=b),))) for a, b in (("x", "y"), ("y", "x"))}
    with pytest.raises(UserError, match="SEGMENT_CYCLE"):
        Evaluator(rules, at_us=0)
