"""Splits: one place for each user and name, in rules of form 2."""

import pytest

from schemas.errors import UserError
from segmentation.rules.canonical import canonical, rule_hash
from segmentation.rules.nodes import Group, Rule, Split
from segmentation.rules.parser import parse_rule
from segmentation.rules.record_reader import rule_from_record
from segmentation.rules.records import rule_record
from segmentation.rules.splits import BUCKETS, bucket

WINTER = Split(name="winter", begin=0, before=1000)


def test_place_of_a_user_is_fixed() -> None:
    assert bucket("winter", "u1") == 1760
    assert bucket("winter", "商品") == 6636
    places = [bucket("winter", f"u{n}") for n in range(20_000)]
    assert 0 <= min(places) < max(places) < BUCKETS
    assert abs(sum(place < 500 for place in places) - 1_000) < 150


def test_split_is_saved_in_form_2_alone() -> None:
    rule = parse_rule("rule 2: split(winter) < 10")
    record = rule_record(rule)
    assert record["all"] == [{"any": [{"type": "split", "name": "winter", "from": 0, "before": 1000}]}]
    assert rule_from_record(record) == rule == canonical(rule)
    assert rule_hash(rule) == rule_hash(parse_rule("rule 2: (split(winter) < 10.00)"))
    with pytest.raises(UserError, match="split needs the second form of rules"):
        rule_from_record({**record, "rule": 1})
    with pytest.raises(UserError, match="split needs the second form of rules"):
        Rule(groups=(Group(conditions=(WINTER,)),))


@pytest.mark.parametrize(("begin", "before"), [(0, 0), (0, 10_000), (5, 500), (500, 10_001), (-1, 10_000)])
def test_split_has_one_end(begin: int, before: int) -> None:
    with pytest.raises(UserError, match="a split is below or from"):
        Split(name="winter", begin=begin, before=before)
