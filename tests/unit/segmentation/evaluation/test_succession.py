"""From one set of rules to the next, case by case; tests/property/test_succession.py has the rest."""

import numpy as np
import pyarrow as pa
import pytest

from segmentation.evaluation.batches import EventBatch
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.evaluation.state import State
from segmentation.evaluation.succession import Succession
from segmentation.expressions.literals import SECOND_US
from segmentation.rules.nodes import Member
from segmentation.rules.parser import parse_rule
from tests.unit.segmentation.evaluation.test_evaluator import buy, emitted

ARROW = {"double": pa.float64(), "string": pa.string(), "boolean": pa.bool_()}
DAY = 86_400
NOW = 10 * DAY


def active(**rules: str) -> dict[str, ActiveRule]:
    return {name: ActiveRule(version=1, rule=parse_rule(text)) for name, text in rules.items()}


def bought(user: str, *times_s: int) -> EventBatch:
    return EventBatch(
        user_ids=pa.repeat(pa.scalar(user), len(times_s)),
        events=pa.repeat(pa.scalar("buy"), len(times_s)),
        occurred_at=np.array(times_s, np.int64) * SECOND_US,
        identities=np.array(times_s, np.int64),
        values=lambda name, type_: pa.array(
            [2.0 if (name, type_) == ("price", "double") else None] * len(times_s), ARROW[type_]
        ),
    )


def at_ten_days(**rules: str) -> Evaluator:
    evaluator = Evaluator(active(**rules), at_us=NOW * SECOND_US)
    buy(evaluator, NOW, ("ann", NOW - 1))
    return evaluator


def test_known_user_without_attributes_joins_a_new_segment_of_unset_attributes() -> None:
    succession = Succession(active(nameless="age is not set"), at_ten_days(buyers="ever(buy)"))
    _, changes = succession.settle()
    assert emitted(changes) == [("buyers", "ann", False, NOW, "rule"), ("nameless", "ann", True, NOW, "rule")]


def test_missing_history_spans_the_widest_window() -> None:
    rules = {"two": "count(buy, 2d) >= 2", "week": "count(buy, 7d) >= 3", "old": "ever(sell)"}
    assert Succession(active(**rules), at_ten_days(old="ever(sell)")).since_us == (NOW - 7 * DAY) * SECOND_US


def test_missing_history_is_unbounded_for_a_rule_without_a_window() -> None:
    rules = {"two": "count(buy, 2d) >= 2", "first": "first(buy) < 2026-01-01T00:00:00Z"}
    succession = Succession(active(**rules), at_ten_days(old="ever(sell)"))
    assert succession.since_us is None
    assert succession.event_names == ("buy",)


def test_new_segment_sees_members_of_an_unchanged_segment() -> None:
    succession = Succession(active(buyers="ever(buy)", friends="in segment buyers"), at_ten_days(buyers="ever(buy)"))
    assert succession.kinds == ()
    evaluator, changes = succession.settle()
    assert emitted(changes) == [("friends", "ann", True, NOW, "rule")]
    assert evaluator.members("buyers").to_pylist() == ["ann"]


def test_count_beyond_the_kept_events_needs_history() -> None:
    succession = Succession(active(buyers="count(buy, 3d) >= 3"), at_ten_days(buyers="count(buy, 3d) >= 1"))
    assert succession.event_names == ("buy",)
    succession.events(bought("ann", NOW - 1, NOW - 2, NOW - 3))
    _, changes = succession.settle()
    assert emitted(changes) == []  # ann is a member by the old and the new rule


@pytest.mark.parametrize(
    ("days_3", "days_2", "wider"),
    [
        ("count(buy, 3d) >= 1", "count(buy, 2d) >= 1", "count(buy, 7d) >= 1"),
        ("count(buy, 3d) >= 1", "count(buy, 2d) >= 1", "ever(buy)"),
        ("sum(price of buy, 3d) > 0", "avg(price of buy, 2d) >= 1", "sum(price of buy, 7d) >= 1"),
        ("sum(price of buy, 3d) > 0", "sum(price of buy, 2d) >= 2", "avg(price of buy) < 3"),
        ("distinct(price of buy, 3d) = 1", "distinct(price of buy, 2d) >= 1", "distinct(price of buy, 7d) >= 1"),
        ("max(price of buy, 3d) >= 1", "max(price of buy, 2d) >= 1", "max(price of buy, 7d) >= 1"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_rule_with_a_window_beyond_the_loaded_history_needs_history(
    days_3: str,
    days_2: str,
    wider: str,
    restarted: bool,  # noqa: FBT001
) -> None:
    first = Succession(active(buyers=days_3), Evaluator({}, at_us=NOW * SECOND_US))
    first.events(bought("ann", NOW - DAY))  # everything later than `since_us`
    evaluator, _ = first.settle()
    if restarted:
        columns = evaluator.state.columns()
        evaluator = Evaluator(evaluator.plan.rules, state=State.from_columns(evaluator.plan, evaluator.at_us, columns))
    succession = Succession(active(buyers=days_2), evaluator)
    assert succession.kinds == ()
    evaluator, _ = succession.settle()
    succession = Succession(active(buyers=wider), evaluator)
    assert succession.event_names == ("buy",)
    succession.events(bought("ann", NOW - DAY))
    succession.events(bought("ben", NOW - 5 * DAY))
    _, changes = succession.settle()
    assert emitted(changes) == [("buyers", "ben", True, NOW, "rule")]


def test_checkpoint_without_its_history_bound_is_reloaded() -> None:
    old = at_ten_days(buyers="count(buy, 3d) >= 1")
    columns = {name: column for name, column in old.state.columns().items() if not name.endswith(".since")}
    again = Evaluator(old.plan.rules, state=State.from_columns(old.plan, old.at_us, columns))
    assert Succession(active(buyers="count(buy, 3d) >= 1"), again).event_names == ("buy",)


VIP = Member(kind="audience", name="vip")


def with_prospect(rule: str) -> Evaluator:
    """A segment over an audience that has eve, who is not known."""
    evaluator = at_ten_days(vips=rule)
    evaluator.set_members(VIP, pa.array(["ann", "eve"]), NOW * SECOND_US)
    return evaluator


def test_members_who_are_not_known_come_and_go_with_form_2() -> None:
    rule = "in audience vip and age is not set"
    new, changes = Succession(active(vips=f"rule 2: {rule}"), with_prospect(rule)).settle()
    assert emitted(changes) == [("vips", "eve", True, NOW, "rule")]
    _, changes = Succession(active(vips=rule), new).settle()
    assert emitted(changes) == [("vips", "eve", False, NOW, "rule")]


def test_checkpoint_without_results_of_members_who_are_not_known_is_mended() -> None:
    old = with_prospect("in audience vip and age is not set")
    columns = {name: column.copy() for name, column in old.state.columns().items()}
    columns["true.0"] &= columns["known"]
    again = Evaluator(old.plan.rules, state=State.from_columns(old.plan, old.at_us, columns))
    again.settle()
    _, changes = Succession(active(vips="rule 2: in audience vip and age is not set"), again).settle()
    assert emitted(changes) == [("vips", "eve", True, NOW, "rule")]


def test_edited_rule_emits_only_the_difference() -> None:
    old = at_ten_days(buyers="count(buy, 3d) >= 1")
    edited = {"buyers": ActiveRule(version=2, rule=parse_rule("count(buy, 3d) >= 2"))}
    _, changes = Succession(edited, old).settle()
    assert [(change.rule_version, emitted([change])) for change in changes] == [
        (2, [("buyers", "ann", False, NOW, "rule")])
    ]


def test_paused_segment_is_frozen_and_resumes_with_current_members() -> None:
    paused = {"buyers": ActiveRule(version=1, rule=parse_rule("count(buy, 3d) >= 1"), paused=True)}
    evaluator, changes = Succession(paused, at_ten_days(buyers="count(buy, 3d) >= 1")).settle()
    assert changes == []
    assert buy(evaluator, NOW + 5 * DAY, ("ben", NOW + 5 * DAY)) == []
    assert evaluator.members("buyers").to_pylist() == ["ann"]
    _, changes = Succession(active(buyers="count(buy, 3d) >= 1"), evaluator).settle()
    assert emitted(changes) == [
        ("buyers", "ann", False, NOW + 5 * DAY, "rule"),
        ("buyers", "ben", True, NOW + 5 * DAY, "rule"),
    ]


def test_future_event_is_kept() -> None:
    evaluator = Evaluator(active(sellers="ever(sell)", buyers="ever(buy)"), at_us=NOW * SECOND_US)
    assert buy(evaluator, NOW, ("ann", NOW + 60)) == []
    evaluator, _ = Succession(active(buyers="ever(buy)"), evaluator).settle()
    assert emitted(evaluator.advance((NOW + 60) * SECOND_US)) == [("buyers", "ann", True, NOW + 60, "time")]
