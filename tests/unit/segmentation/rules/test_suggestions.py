import pytest

from segmentation.rules.parser import parse_rule
from segmentation.rules.suggestions import suggestions


@pytest.mark.parametrize(
    ("condition", "instead"),
    [
        ('carrier = "UA"', ('ever(flight where carrier = "UA")', 'count(flight where carrier = "UA", 30d) >= 1')),
        (
            'not carrier in ("UA", "AA")',
            ('ever(flight where carrier in ("UA", "AA"))', 'count(flight where carrier in ("UA", "AA"), 30d) >= 1'),
        ),
        ("carrier is set", ("ever(flight where carrier is set)", "count(flight where carrier is set, 30d) >= 1")),
        ("carrier is not set", ("never(flight where carrier is set)", "count(flight where carrier is set, 30d) = 0")),
        (
            "carrier >= 2026-11-01",
            ('ever(flight where carrier >= "2026-11-01")', 'count(flight where carrier >= "2026-11-01", 30d) >= 1'),
        ),
    ],
)
def test_property_condition_is_suggested_on_its_event(condition: str, instead: tuple[str, ...]) -> None:
    rule = parse_rule(condition, timezone="UTC")
    [found] = suggestions(rule, ["carrier"], {"carrier": ["flight", "landing"]})
    assert (found.attribute, found.events, found.instead) == ("carrier", ("flight", "landing"), instead)
    assert found.condition == condition.removeprefix("not ")
    for text in found.instead:
        parse_rule(text)


def test_unquotable_names_are_quoted_in_suggestions() -> None:
    [found] = suggestions(parse_rule('"Set" = 1'), ["Set"], {"Set": ["Add to cart"]})
    assert found.instead[0] == 'ever("Add to cart" where "Set" = 1)'
    parse_rule(found.instead[0])


def test_user_ids_are_suggested_as_an_audience() -> None:
    rule = parse_rule('"user_id" in ("ann", "bob") and height > 2 and age > 3')
    [found] = suggestions(rule, ["user_id", "height"], {"user_id": ["flight"], "age": ["flight"]})
    assert (found.condition, found.events) == ('"user_id" in ("ann", "bob")', ())
    assert found.instead == ("in audience chosen-users",)
    parse_rule(found.instead[0])
