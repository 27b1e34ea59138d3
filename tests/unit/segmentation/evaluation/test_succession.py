"""From one set of rules to the next, case by case; tests/property/test_succession.py has the rest."""

import numpy as np
import pyarrow as pa
import pytest

from segmentation.evaluation.answers import MICROS
from segmentation.evaluation.batches import EventBatch
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.evaluation.state import State
from segmentation.evaluation.succession import Succession
from segmentation.rules.parser import parse_rule
from tests.unit.segmentation.evaluation.test_evaluator import buy, told

DAY = 86_400
NOW = 10 * DAY


def active(**rules: str) -> dict[str, ActiveRule]:
    return {name: ActiveRule(version=1, rule=parse_rule(text)) for name, text in rules.items()}


def bought(user: str, *times_s: int) -> EventBatch:
    return EventBatch(
        user_ids=pa.repeat(pa.scalar(user), len(times_s)),
        events=pa.repeat(pa.scalar("buy"), len(times_s)),
        occurred_at=np.array(times_s, np.int64) * MICROS,
        identities=np.array(times_s, np.int64),
        values=lambda name, type_: pytest.fail(f"nobody asks for {name} {type_}"),
    )


def at_ten_days(**rules: str) -> Evaluator:
    evaluator = Evaluator(active(**rules), at_us=NOW * MICROS)
    buy(evaluator, NOW, ("ann", NOW - 1))
    return evaluator


def test_a_known_user_of_whom_nothing_is_set_is_in_a_new_segment_that_asks_for_that() -> None:
    succession = Succession(active(nameless="age is not set"), at_ten_days(buyers="ever(buy)"))
    _, changes = succession.settle()
    assert told(changes) == [("buyers", "ann", False, NOW, "rule"), ("nameless", "ann", True, NOW, "rule")]


def test_what_is_missing_goes_back_as_far_as_the_widest_window() -> None:
    rules = {"two": "count(buy, 2d) >= 2", "week": "count(buy, 7d) >= 3", "old": "ever(sell)"}
    assert Succession(active(**rules), at_ten_days(old="ever(sell)")).since_us == (NOW - 7 * DAY) * MICROS


def test_what_is_missing_goes_back_to_the_beginning_where_a_rule_asks_for_all_the_past() -> None:
    rules = {"two": "count(buy, 2d) >= 2", "first": "first(buy) < 2026-01-01T00:00:00Z"}
    succession = Succession(active(**rules), at_ten_days(old="ever(sell)"))
    assert succession.since_us is None
    assert succession.event_names == ("buy",)


def test_a_new_segment_finds_the_members_of_one_that_stays() -> None:
    succession = Succession(active(buyers="ever(buy)", friends="in segment buyers"), at_ten_days(buyers="ever(buy)"))
    assert succession.kinds == ()
    evaluator, changes = succession.settle()
    assert told(changes) == [("friends", "ann", True, NOW, "rule")]
    assert evaluator.members("buyers").to_pylist() == ["ann"]


def test_a_count_of_more_events_than_were_kept_asks_for_the_past() -> None:
    succession = Succession(active(buyers="count(buy, 3d) >= 3"), at_ten_days(buyers="count(buy, 3d) >= 1"))
    assert [kind.event for kind in succession.kinds] == ["buy"]
    succession.events(bought("ann", NOW - 1, NOW - 2, NOW - 3))
    _, changes = succession.settle()
    assert told(changes) == []  # ann is a member by the old and the new rule


@pytest.mark.parametrize("wider", ["count(buy, 7d) >= 1", "ever(buy)"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_rule_that_looks_further_back_than_what_was_loaded_asks_for_the_past(
    wider: str,
    restarted: bool,  # noqa: FBT001
) -> None:
    first = Succession(active(buyers="count(buy, 3d) >= 1"), Evaluator({}, at_us=NOW * MICROS))
    first.events(bought("ann", NOW - DAY))  # all that is later than `since_us`
    evaluator, _ = first.settle()
    if restarted:
        columns = evaluator.state.columns()
        evaluator = Evaluator(evaluator.plan.rules, state=State.from_columns(evaluator.plan, evaluator.at_us, columns))
    succession = Succession(active(buyers="count(buy, 2d) >= 1"), evaluator)
    assert succession.kinds == ()
    evaluator, _ = succession.settle()
    succession = Succession(active(buyers=wider), evaluator)
    assert [kind.event for kind in succession.kinds] == ["buy"]
    succession.events(bought("ann", NOW - DAY))
    succession.events(bought("ben", NOW - 5 * DAY))
    _, changes = succession.settle()
    assert told(changes) == [("buyers", "ben", True, NOW, "rule")]


def test_a_checkpoint_that_does_not_say_how_far_back_it_goes_is_loaded_again() -> None:
    old = at_ten_days(buyers="count(buy, 3d) >= 1")
    columns = {name: column for name, column in old.state.columns().items() if not name.endswith(".since")}
    again = Evaluator(old.plan.rules, state=State.from_columns(old.plan, old.at_us, columns))
    assert [kind.event for kind in Succession(active(buyers="count(buy, 3d) >= 1"), again).kinds] == ["buy"]


def test_an_edited_rule_tells_the_difference() -> None:
    old = at_ten_days(buyers="count(buy, 3d) >= 1")
    edited = {"buyers": ActiveRule(version=2, rule=parse_rule("count(buy, 3d) >= 2"))}
    _, changes = Succession(edited, old).settle()
    assert [(change.rule_version, told([change])) for change in changes] == [
        (2, [("buyers", "ann", False, NOW, "rule")])
    ]


def test_a_paused_segment_stays_as_it_is_and_goes_on_where_it_would_be() -> None:
    paused = {"buyers": ActiveRule(version=1, rule=parse_rule("count(buy, 3d) >= 1"), paused=True)}
    evaluator, changes = Succession(paused, at_ten_days(buyers="count(buy, 3d) >= 1")).settle()
    assert changes == []
    assert buy(evaluator, NOW + 5 * DAY, ("ben", NOW + 5 * DAY)) == []
    assert evaluator.members("buyers").to_pylist() == ["ann"]
    _, changes = Succession(active(buyers="count(buy, 3d) >= 1"), evaluator).settle()
    assert told(changes) == [
        ("buyers", "ann", False, NOW + 5 * DAY, "rule"),
        ("buyers", "ben", True, NOW + 5 * DAY, "rule"),
    ]


def test_an_event_that_is_yet_to_happen_is_not_forgotten() -> None:
    evaluator = Evaluator(active(sellers="ever(sell)", buyers="ever(buy)"), at_us=NOW * MICROS)
    assert buy(evaluator, NOW, ("ann", NOW + 60)) == []
    evaluator, _ = Succession(active(buyers="ever(buy)"), evaluator).settle()
    assert told(evaluator.advance((NOW + 60) * MICROS)) == [("buyers", "ann", True, NOW + 60, "time")]
