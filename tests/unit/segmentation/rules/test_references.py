import pytest

from schemas.errors import UserError
from segmentation.rules.nodes import Rule
from segmentation.rules.parser import parse_rule
from segmentation.rules.references import Names, check_members, cycle, evaluation_order, excluded_audiences, names


def rules(**texts: str) -> dict[str, Rule]:
    return {name: parse_rule(text) for name, text in texts.items()}


def test_names_are_listed_in_order_and_once() -> None:
    rule = parse_rule(
        "count(purchase where amount >= 1 and plan is set, 3d) >= 3 and (ever(purchase) or never(a)) and age >= 25 "
        'and age < 30 and plan in ("x") and not (in audience vip or in audience all) and in segment buyers'
    )
    assert names(rule) == Names(
        events=("a", "purchase"),
        properties=(("purchase", "amount"), ("purchase", "plan")),
        attributes=("age", "plan"),
        audiences=("all", "vip"),
        segments=("buyers",),
    )


@pytest.mark.parametrize(
    ("text", "excluded"),
    [
        ("x = 1 and not in audience gone", {"gone"}),
        ("not (x = 1 or in audience gone or in audience quiet) and in audience vip", {"gone", "quiet"}),
        ("in audience gone", set()),
        ("x = 1 or in audience gone", set()),
        ("x = 1 and not in segment gone", set()),
    ],
)
def test_excluded_audiences_have_no_member_in_the_segment(text: str, excluded: set[str]) -> None:
    assert excluded_audiences(parse_rule(text)) == excluded


@pytest.mark.parametrize(
    ("given", "around"),
    [
        (rules(a="in segment a"), ("a",)),
        (rules(c="not in segment b", b="x = 1 or in segment a", a="in segment c"), ("a", "c", "b")),
        (rules(a="in segment b", b="in segment c and in segment d", c="in segment b", d="x = 1"), ("b", "c")),
    ],
)
def test_a_cycle_is_named(given: dict[str, Rule], around: tuple[str, ...]) -> None:
    assert cycle(given) == around
    with pytest.raises(UserError, match=f"SEGMENT_CYCLE.*{' -> '.join((*around, around[0]))}") as caught:
        evaluation_order(given)
    assert caught.value.detail == {"segments": list(around)}


def test_segments_follow_the_segments_they_reference() -> None:
    given = rules(a="in segment b and in segment c", b="in segment c or in segment unknown", c="in audience a")
    assert cycle(given) is None
    assert evaluation_order(given) == ("c", "b", "a")


def test_long_chain_is_not_a_cycle() -> None:
    chain = {f"s{n}": parse_rule(f"in segment s{n + 1}") for n in range(5_000)}
    assert cycle(chain) is None
    assert evaluation_order(chain)[0] == "s4999"
    assert len(cycle(chain | {"s5000": parse_rule("in segment s0")}) or ()) == 5_001


@pytest.mark.parametrize(
    ("text", "code", "position"),
    [
        ('"in audience x" = 1 and IN Audience  nobody', "UNKNOWN_AUDIENCE", 38),
        ("x = 1 and not (in audience vip or in segment nobody)", "UNKNOWN_SEGMENT", 46),
        ("in audience vip\nand in segment mine", "SEGMENT_CYCLE", 32),
    ],
)
def test_invalid_reference_is_located_like_any_rule_error(text: str, code: str, position: int) -> None:
    with pytest.raises(UserError, match=f"{code}: at character {position}: ") as caught:
        check_members("mine", rules(mine=text), {"vip"}, text)
    assert caught.value.detail["position"] == position
    assert str(caught.value.detail["marked"]).endswith(" ^")


def test_invalid_reference_in_json_is_located_by_path() -> None:
    with pytest.raises(UserError, match=r"UNKNOWN_AUDIENCE: at all\[1\]\.none\[1\]\.name: ") as caught:
        check_members("mine", rules(mine="x = 1 and not (y = 1 or in audience nobody)"), set())
    assert caught.value.detail == {"audience": "nobody", "path": "all[1].none[1].name"}
