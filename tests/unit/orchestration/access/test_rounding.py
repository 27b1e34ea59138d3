"""Rounded counts reveal little of one person, computed over every draw of the noise."""

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import pytest

from orchestration.access.policy import IN_A_TENANT, Action
from orchestration.access.rounding import DRAWS, SCALE, SPREAD, TO, Rounding, noise, questions, rounded
from orchestration.platform.budget import DAY_S, Budget
from orchestration.records.fields import EXAMPLE_TIME
from orchestration.records.questions import ConditionCount, Count, GroupCount
from schemas.ids import TenantName
from segmentation.rules.parser import parse_rule

ACME = TenantName("acme")
ROUNDING = Rounding(secret=b"secret", tenant=ACME)
KNOWN_USERS = (0, 9, 14)


def odds(found: int) -> dict[int, Fraction]:
    """The exact probability of each answer."""
    answers = Counter(rounded(found, draw) for draw in range(DRAWS))
    return {answer: Fraction(times, DRAWS) for answer, times in answers.items()}


def counted(
    members: int, *, groups: Sequence[GroupCount] = (), precision: Literal["exact", "estimate"] = "exact"
) -> Count:
    return Count(
        precision=precision,
        members=members,
        interval=[members, members],
        groups=groups,
        users=None,
        as_of=EXAMPLE_TIME,
        unseen_events=[],
        unseen_attributes=[],
        suggestions=[],
        paused=[],
        mistyped=None,
        outside=None,
        known_only_by=None,
    )


def answered(rule: str, members: int) -> int | None:
    parsed = parse_rule(rule)
    return ROUNDING.answer(parsed, counted(members), 8).members


@pytest.mark.parametrize("known", KNOWN_USERS)
def test_rounded_counts_hide_a_single_person(known: int) -> None:
    """Whether one person is counted beside known users makes no answer certain, nor much likelier."""
    without, with_person, none = odds(known), odds(known + 1), Fraction()
    for answer in without.keys() | with_person.keys():
        one, other = without.get(answer, none), with_person.get(answer, none)
        if min(one, other) > Fraction(1, 1000):
            assert max(one, other) / min(one, other) <= math.exp(1 / SCALE) * 1.01
        else:  # an answer in a thousand, which the grid of draws resolves less finely
            assert max(one, other) < Fraction(2, 1000)
    apart = sum((abs(without.get(a, none) - with_person.get(a, none)) for a in {*without, *with_person}), none) / 2
    assert apart <= 1 / (2 * SCALE)  # the best guess is right in at most 55 % of the cases


@pytest.mark.parametrize("known", KNOWN_USERS)
def test_repeated_counts_do_not_reveal_a_salary(known: int) -> None:
    """A binary search by rounded counts is led astray as often as not, for every person alike."""
    padding = "".join(f' or user = "known-{n}"' for n in range(known))
    found = Counter[bool]()
    for person in range(100):
        salary, low, high = 50_000 + 97 * person, 0, 131_072
        for _ in range(17):
            middle = (low + high) // 2
            rule = f'(email = "{person}@example.com"{padding}) and (salary >= {middle}{padding})'
            more = (answered(rule, known + (salary >= middle)) or 0) > known
            low, high = (middle, high) if more else (low, middle)
        found[low == salary] += 1
    assert found[True] <= 1


def test_rounded_count_is_close_and_independent_of_the_rules_wording() -> None:
    assert len([draw for draw in range(DRAWS) if abs(noise(draw)) <= SPREAD - TO // 2]) > 0.95 * DRAWS
    assert abs(sum(noise(draw) for draw in range(DRAWS))) < DRAWS / 100
    forms = ("a = 1 and b = 2", "b = 2 and a = 1", "(b = 2) and a = 1 and a = 1")
    assert len({answered(rule, 12_345) for rule in forms}) == 1
    assert len({answered(f"a = {n}", 12_345) for n in range(50)}) > 3


def test_only_rules_with_several_conditions_count_their_parts() -> None:
    assert len(questions(parse_rule("a = 1"))) == 1
    assert len(questions(parse_rule("a = 1 and not (b = 2 or c = 3)"))) == 5


def test_each_count_uses_the_daily_budget_of_its_principal() -> None:
    now = 0.0
    day = Budget(per_s=200 / DAY_S, burst=200, clock=lambda: now)
    assert [day.take("viewer", 99), day.take("viewer", 99), day.take("other", 500)] == [0, 0, 0]
    assert day.take("viewer", 3) == pytest.approx(DAY_S / 200)
    now = DAY_S / 200
    assert [day.take("viewer", 3), day.take("viewer") > 0] == [0, True]
    assert Budget(per_s=0, burst=0).take("viewer") == math.inf


def test_an_estimate_is_rounded_before_it_is_scaled() -> None:
    rule = parse_rule("a = 1")
    condition = ConditionCount(condition="a = 1", members=8, interval=[8, 8])
    group = GroupCount(negated=False, members=8, interval=[8, 8], conditions=[condition])
    found = ROUNDING.answer(rule, counted(8, groups=[group], precision="estimate"), 8)
    assert (found.precision, found.rounded_to) == ("estimate", 80)
    assert (found.members or 0) % 80 == 0
    assert found.groups[0].members == found.groups[0].conditions[0].members == found.members


def test_writing_segments_implies_reading_users() -> None:
    """The size of a segment is exact, and so is what its builder counts."""
    assert IN_A_TENANT[Action.WRITE_SEGMENTS] <= IN_A_TENANT[Action.READ_USERS]
