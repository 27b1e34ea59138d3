from datetime import UTC, date, datetime

import pytest

from schemas.errors import UserError
from segmentation.expressions.cursor import MAX_TERMS
from segmentation.expressions.nodes import Comparison, OneOf, Presence
from segmentation.expressions.source import MAX_CHARACTERS
from segmentation.rules.aggregates import Extreme, Total
from segmentation.rules.events import Events
from segmentation.rules.nodes import (
    MAX_TIMES,
    Count,
    Distinct,
    Ever,
    Group,
    Member,
    Never,
    Rule,
    RuleCondition,
    Seen,
    SeenNear,
    Split,
)
from segmentation.rules.parser import parse_rule
from segmentation.rules.printer import rule_text
from segmentation.rules.relative import Anniversary, Between, Distance, Near, Today, TodayComparison
from segmentation.rules.sequences import Sequence, Step

DAY = 24 * 60 * 60
ADULT = Comparison(column="age", type="double", operator=">=", value=25.0)
VIP = Member(kind="audience", name="vip")
BIG = Comparison(column="amount", type="double", operator=">=", value=100.0)
PURCHASE = Events(event="purchase")
BIG_PURCHASE = Events(event="purchase", where=(BIG,))
NOVEMBER = datetime(2026, 10, 31, 15, tzinfo=UTC)
"""The start of November in Tokyo."""


def one(condition: RuleCondition) -> Rule:
    return Rule(groups=(Group(conditions=(condition,)),))


def in_form_2(condition: RuleCondition) -> Rule:
    return Rule(groups=(Group(conditions=(condition,)),), form=2)


def in_tokyo(condition: RuleCondition) -> Rule:
    return Rule(groups=(Group(conditions=(condition,)),), timezone="Asia/Tokyo")


def count(quantity: str, times: int, within_s: int = 30 * DAY, events: Events = PURCHASE) -> Count:
    return Count(events=events, quantity=quantity, times=times, within_s=within_s)  # type: ignore[arg-type]


def near(after_s: int | None, until_s: int | None) -> Near:
    return Near(column="seen", distance=Distance(after_s=after_s, until_s=until_s))


def seen_near(after_s: int | None, until_s: int) -> SeenNear:
    return SeenNear(which="last", events=PURCHASE, distance=Distance(after_s=after_s, until_s=until_s))


def refused(text: str, *, timezone: str | None = "Asia/Tokyo") -> UserError:
    with pytest.raises(UserError) as caught:
        parse_rule(text, timezone=timezone)
    return caught.value


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("count(purchase, 30d) >= 2", one(count("at_least", 2))),
        ("COUNT( purchase,30D )>=2", one(count("at_least", 2))),
        ("count(purchase, 30d) > 2", one(count("at_least", 3))),
        ("count(purchase, 30d) <= 2", one(count("at_most", 2))),
        ("count(purchase, 30d) < 2", one(count("at_most", 1))),
        ("count(purchase, 30d) = 2", one(count("exactly", 2))),
        ("count(purchase, 30d) = 0", one(count("exactly", 0))),
        ("count(purchase, 1s) = 1000", one(count("exactly", MAX_TIMES, 1))),
        ("count(purchase, 366d) = 1", one(count("exactly", 1, 366 * DAY))),
        ("count(purchase, 1w2d3h4m5s) = 1", one(count("exactly", 1, 9 * DAY + 3 * 3600 + 4 * 60 + 5))),
        ("count(purchase where amount >= 100, 30d) >= 2", one(count("at_least", 2, events=BIG_PURCHASE))),
        (
            'count("Add to cart" where `set` = "a" and plan in ("b", "c") and "x y" is not set, 1h) = 1',
            one(
                count(
                    "exactly",
                    1,
                    3600,
                    Events(
                        event="Add to cart",
                        where=(
                            Comparison(column="set", type="string", operator="=", value="a"),
                            OneOf(column="plan", type="string", values=("b", "c")),
                            Presence(column="x y", present=False),
                        ),
                    ),
                )
            ),
        ),
        ("ever(purchase)", one(Ever(events=PURCHASE))),
        ("never(purchase where amount >= 100)", one(Never(events=BIG_PURCHASE))),
        (
            "first(purchase) < 2026-11-01T00:00:00+09:00",
            one(Seen(which="first", events=PURCHASE, bound="before", moment=NOVEMBER)),
        ),
        (
            "first(purchase) < 2026-11-01T00:00",
            one(Seen(which="first", events=PURCHASE, bound="before", moment=NOVEMBER)),
        ),
        (
            "last(purchase) <= 2026-10-31T15:00:00Z",
            one(Seen(which="last", events=PURCHASE, bound="before", moment=NOVEMBER.replace(microsecond=1))),
        ),
        ("last(purchase) >= 2026-11-01", one(Seen(which="last", events=PURCHASE, bound="from", moment=NOVEMBER))),
        ("last(purchase) > 2026-10-31", one(Seen(which="last", events=PURCHASE, bound="from", moment=NOVEMBER))),
        ("last(purchase) <= 2026-10-31", one(Seen(which="last", events=PURCHASE, bound="before", moment=NOVEMBER))),
        ("in audience vip", one(VIP)),
        ('in AUDIENCE "vip"', one(VIP)),
        ('in segment "2026-spring"', one(Member(kind="segment", name="2026-spring"))),
        ("in segment big-spenders", one(Member(kind="segment", name="big-spenders"))),
        ("rule 2: split(winter) < 5", in_form_2(Split(name="winter", begin=0, before=500))),
        ('rule 2: SPLIT("2026-holdout") >= 99.99', in_form_2(Split(name="2026-holdout", begin=9_999, before=10_000))),
        (
            "sequence(add_to_cart then not purchase within 1d same product_id, 7d)",
            one(
                Sequence(
                    steps=(
                        Step(events=Events(event="add_to_cart")),
                        Step(events=PURCHASE, negated=True, within_s=DAY),
                    ),
                    same="product_id",
                    window_s=7 * DAY,
                )
            ),
        ),
        (
            "SEQUENCE(then THEN not WITHIN within 1h..1d Then purchase where amount >= 100 within 90s, 36h)",
            one(
                Sequence(
                    steps=(
                        Step(events=Events(event="then")),
                        Step(events=Events(event="WITHIN"), negated=True, gap_s=3_600, within_s=DAY),
                        Step(events=BIG_PURCHASE, within_s=90),
                    ),
                    window_s=36 * 3_600,
                )
            ),
        ),
        (
            "SEQUENCE(latest then b within 1d same latest, 7d, LATEST 5)",
            one(
                Sequence(
                    steps=(Step(events=Events(event="latest")), Step(events=Events(event="b"), within_s=DAY)),
                    same="latest",
                    window_s=7 * DAY,
                    latest=5,
                )
            ),
        ),
        ("sequence >= 5", one(Comparison(column="sequence", type="double", operator=">=", value=5.0))),
        ("split >= 5", one(Comparison(column="split", type="double", operator=">=", value=5.0))),
        ("age >= 25", one(ADULT)),
        ("age >= 25e0", one(ADULT)),
        ('"age" >= 25.0', one(ADULT)),
        ('"count" = true', one(Comparison(column="count", type="boolean", operator="=", value=True))),
        ('"not" = "a"', one(Comparison(column="not", type="string", operator="=", value="a"))),
        ('"user_id" = "a"', one(Comparison(column="user_id", type="string", operator="=", value="a"))),
        ('"商品" is set', one(Presence(column="商品", present=True))),
        ("born < 2001-01-01", in_tokyo(Comparison(column="born", type="date", operator="<", value=date(2001, 1, 1)))),
        (
            "born in (2001-01-01, 2002-02-02)",
            in_tokyo(OneOf(column="born", type="date", values=(date(2001, 1, 1), date(2002, 2, 2)))),
        ),
        ("seen = 2026-11-01T00:00", one(Comparison(column="seen", type="timestamp", operator="=", value=NOVEMBER))),
        ("seen IN LAST 7d", in_tokyo(near(-7 * DAY, 0))),
        ("seen within 7d", in_tokyo(near(-7 * DAY, 0))),
        ("seen in next 1d12h..7d", one(near(36 * 3600, 7 * DAY))),
        ("seen 30d..90d ago", in_tokyo(near(-90 * DAY, -30 * DAY))),
        ("seen over 90d ago", in_tokyo(near(None, -90 * DAY))),
        ("seen <= now - 90d", in_tokyo(near(None, -90 * DAY))),
        ("seen > now", in_tokyo(near(0, None))),
        ("seen > now+30m", one(near(1800, None))),
        ('"today" = Today', in_tokyo(TodayComparison(column="today", operator="=", value=Today()))),
        ("ago != today - 7d", in_tokyo(TodayComparison(column="ago", operator="!=", value=Today(days=-7)))),
        ("last-seen < today+1w", in_tokyo(TodayComparison(column="last-seen", operator="<", value=Today(days=7)))),
        ("age between 18 and 30", one(Between(column="age", type="double", low=18.0, high=30.0))),
        (
            "born between 2001-01-01 and today - 1d and age >= 25",
            Rule(
                groups=(
                    Group(conditions=(Between(column="born", type="date", low=date(2001, 1, 1), high=Today(days=-1)),)),
                    Group(conditions=(ADULT,)),
                ),
                timezone="Asia/Tokyo",
            ),
        ),
        ("anniversary(born) = today", in_tokyo(Anniversary(column="born", first_day=0, last_day=0))),
        ('anniversary("first") in next 1w', in_tokyo(Anniversary(column="first", first_day=0, last_day=6))),
        ("anniversary(born) in last 90d", in_tokyo(Anniversary(column="born", first_day=-89, last_day=0))),
        ("anniversary >= 25", one(Comparison(column="anniversary", type="double", operator=">=", value=25.0))),
        ("last(purchase) over 30d ago", one(seen_near(None, -30 * DAY))),
        ("last(purchase) > now - 30d", one(seen_near(-30 * DAY, 0))),
        (
            "count(purchase where amount >= 100 between 2026-11-01 and 2026-11-01T00:00:00Z) <= 2",
            one(
                Count(
                    events=Events(
                        event="purchase",
                        where=(BIG,),
                        since=NOVEMBER,
                        before=datetime(2026, 11, 1, 0, 0, 0, 1, tzinfo=UTC),
                    ),
                    quantity="at_most",
                    times=2,
                    within_s=None,
                )
            ),
        ),
        ("not in audience vip", Rule(groups=(Group(conditions=(VIP,), negated=True),))),
        ("age >= 25 or in audience vip", Rule(groups=(Group(conditions=(ADULT, VIP)),))),
        ("(age >= 25 or in audience vip)", Rule(groups=(Group(conditions=(ADULT, VIP)),))),
        ("(age >= 25)", one(ADULT)),
        ("rule 1: age >= 25", one(ADULT)),
        ("RULE 2 : in audience vip", Rule(groups=(Group(conditions=(VIP,)),), form=2)),
        ("rule 2: not in audience vip", Rule(groups=(Group(conditions=(VIP,), negated=True),), form=2)),
        ("rule >= 25", one(Comparison(column="rule", type="double", operator=">=", value=25.0))),
        (
            '"not" is set or age >= 25',
            Rule(groups=(Group(conditions=(Presence(column="not", present=True), ADULT)),)),
        ),
        (
            "age >= 25 and not (in audience vip or ever(purchase)) and (in audience vip or age >= 25)",
            Rule(
                groups=(
                    Group(conditions=(ADULT,)),
                    Group(conditions=(VIP, Ever(events=PURCHASE)), negated=True),
                    Group(conditions=(VIP, ADULT)),
                )
            ),
        ),
    ],
)
def test_rule_round_trips_through_text(text: str, rule: Rule) -> None:
    assert parse_rule(text, timezone="Asia/Tokyo") == rule
    assert parse_rule(rule_text(rule), timezone=rule.timezone) == rule


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            "count(add_to_cart,72h)>=3 AND age>=25.0 and not(in audience vip)",
            "count(add_to_cart, 3d) >= 3 and age >= 25 and not in audience vip",
        ),
        ("first(x) <= 2026-10-31 or x=1.50", "first(x) < 2026-10-31T15:00:00Z or x = 1.5"),
        ('"COUNT" = "\\u00e9" and "a-b" = -0 and "a--b" = 1e22', '"COUNT" = "é" and a-b = -0.0 and "a--b" = 1e+22'),
    ],
)
def test_rule_text_is_concise(text: str, written: str) -> None:
    assert rule_text(parse_rule(text, timezone="Asia/Tokyo")) == written


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 1, "expected a condition, as in: count(purchase, 30d) >= 2, ever(purchase), age >= 25"),
        ("and", 1, "expected a condition"),
        ("age >= 25 and", 14, "expected a condition"),
        ("age >= 25 age = 1", 11, "expected and, or, or the end, not 'age'"),
        (
            "a = 1 and b = 1 or c = 1",
            17,
            "mix and, or and not only with parentheses, as in: (age < 18 or age >= 65) and not",
        ),
        ("a = 1 or b = 1 and c = 1", 16, "mix and, or and not only with parentheses"),
        ("not a = 1 or b = 1", 11, "mix and, or and not only with parentheses"),
        ("(a = 1) or b = 1", 9, "mix and, or and not only with parentheses"),
        ("(a = 1 and b = 1) or c = 1", 8, "write (a and b) or c as (a or c) and (b or c)"),
        ("((a = 1))", 2, "a rule is flat"),
        ("a = 1 and (b = 1 or (c = 1))", 21, "a rule is flat"),
        ("a = 1 or (b = 1)", 10, "a rule is flat"),
        (
            "a = 1 or not b = 1",
            10,
            "not is allowed before a group, but not within it; negate a single condition with !=",
        ),
        ("(not a = 1)", 2, "not is allowed before a group"),
        ("not not a = 1", 5, "not can be written only once"),
        ("(a = 1", 7, "expected ')' for the one opened at character 1, not the end"),
        ("not (a = 1 or b = 1", 20, "expected ')' for the one opened at character 5"),
        (
            "count(x) >= 1",
            8,
            "expected a comma and a window, as in: count(purchase, 30d) >= 2; without a window, write ever",
        ),
        ("count(x, ) >= 1", 10, "expected a window from 1s to 366d, as in 3d, 12h, 30m, 90s or 1d12h, not ')'"),
        ("count(x, 3) >= 1", 10, "expected a window from 1s to 366d"),
        ("count(x, 3 d) >= 1", 10, "expected a window from 1s to 366d"),
        ("count(x, 1.5d) >= 1", 10, "this is not a number"),
        ("count(x, 1mo) >= 1", 10, "months and years have no exact length: write 30d, 365d, not '1mo'"),
        ("count(x, 10000y) >= 1", 10, "months and years have no exact length"),
        ("count(x, 1h1d) >= 1", 10, "expected a window from 1s to 366d"),
        ("count(x, 0s) >= 1", 10, "a window is from 1s to 366d, not 0 seconds"),
        ("count(x, 366d1s) >= 1", 10, "a window is from 1s to 366d, not 31,622,401 seconds"),
        ("count(x, 3652500d) >= 1", 10, "a window is from 1s to 366d, not 315,576,000,000 seconds"),
        (f"count(x, {'9' * 5000}d) >= 1", 10, "expected a window from 1s to 366d"),
        ("count(x, -3d) >= 1", 10, "expected a window from 1s to 366d"),
        ("count(x, 3d)", 13, "expected >=, <=, = or >, < and a number"),
        ("count(x, 3d) != 2", 14, "!= is written as: not count(purchase, 30d) = 2"),
        ("count(x, 3d) >= 2.5", 17, "expected a whole number of times"),
        ("count(x, 3d) >= -1", 17, "expected a whole number of times"),
        ('count(x, 3d) >= "2"', 17, "expected a whole number of times"),
        ("count(x, 3d) >= 0", 17, "at least 0 times is true for everyone; write >= 1, or = 0"),
        ("count(x, 3d) < 0", 16, "a count is compared with 0 to 1,000 times, not -1"),
        ("count(x, 3d) > 1000", 16, "a count is compared with 0 to 1,000 times, not 1,001"),
        ("count(x, 3d) = " + "9" * 300, 16, "a count is compared with 0 to 1,000 times"),
        ("count >= 3", 7, 'an attribute of this name needs double quotes: "count"'),
        ("count(3, 3d) >= 1", 7, "expected the name of an event"),
        ("count(set, 3d) >= 1", 7, 'a name that is a keyword needs double quotes: "set"'),
        ('count("", 3d) >= 1', 7, "the name of an event has 1 to 255 characters"),
        (f'count("{"x" * 256}", 3d) >= 1', 7, "the name of an event has 1 to 255 characters"),
        ("ever(x, 3d)", 7, "ever has no window: write count(purchase, 30d) >= 1"),
        ("never(x, 3d)", 8, "never has no window: write count(purchase, 30d) = 0"),
        ("ever(x", 7, "expected ')' after the event"),
        ("ever(x where)", 13, "expected a property, as in"),
        ("ever(x where a)", 15, "expected =, !=, <, <=, >, >=, in, or is"),
        ("ever(x where a = 1 or a = 2)", 20, 'a choice of values is written as: where plan in ("free", "pro")'),
        ("ever(x where not a = 1)", 14, "not is not allowed within where: use !=, or is not set"),
        ("ever(x where a not in (1))", 16, "several values are excluded as in"),
        ('ever(x where "" = 1)', 14, "the name of a property has 1 to 255 characters"),
        ("ever(x where a = 2026-11-01)", 18, "properties of events have no dates: compare the text"),
        ("ever(x where a in (2026-11-01T00:00:00Z))", 20, "properties of events have no dates"),
        ("ever(x where a = b)", 18, 'expected a text in double quotes: "JP"; a number, true or false'),
        ("first(x) = 2026-11-01", 10, "expected <, <=, > or >= and a time: before is written as <, after as >"),
        ("first(x) before 2026-11-01", 10, "before is written as <, after as >"),
        ('first(x) < "2026-11-01"', 12, "expected a time without quotes: 2026-11-01"),
        ("first(x) < 3d", 12, "expected a time without quotes"),
        ("first(x) < 2026-02-30", 12, "this time does not exist"),
        ("first(x) < 9999-12-31", 12, "9999-12-31 is not from 0001-01-02 to 9999-12-29"),
        ("first(x) <= 9999-12-31T23:59:59.999999Z", 13, "this time does not exist"),
        ("in vip", 4, "expected audience or segment, as in: in audience vip"),
        ("in audience", 12, "expected the name of the audience"),
        ("in audience VIP", 13, "'VIP' is not a valid audience name: use 1 to 63 of a-z, 0-9"),
        ("in audience 2026-spring", 13, "in double quotes if it begins with a digit"),
        ("in audience 2026", 13, "expected the name of the audience, in double quotes if it begins with a digit"),
        ("sum(amount, 30d) > 5", 11, "expected of and an event, as in: sum(amount of purchase, 30d) >= 100, not ','"),
        ("a = 1 and AVG(amount of, 30d) > 5", 24, "expected the name of an event, as in: avg(amount of purchase, 30d)"),
        (
            "max(a of b, 1d) != 5",
            17,
            "expected >=, >, <=, <, = and a number, as in: max(amount of purchase, 30d) >= 100",
        ),
        ('max(a of b, 1d) >= "5"', 20, "expected a number, as in: max(amount of purchase, 30d) >= 100, not '5'"),
        ("max(a of b, 1d) >= 1e400", 20, "this number is larger than any double"),
        ("max(a of b, 0s) >= 5", 13, "a window is from 1s to 366d, not 0 seconds"),
        ("max(a of b, 3652500d) >= 5", 13, "a window is from 1s to 366d, not 315,576,000,000 seconds"),
        ("max(a of b between 2026-01-01 and 2026-01-02, 1d) >= 5", 45, "between takes the place of the window"),
        ("sum(a of b) >= 0.00005", 16, "sums are in steps of 0.0001: 5e-05 is between two of them"),
        ("sum(a of b) >= 900000000000000.1", 16, "a sum is compared with up to 900,000,000,000,000"),
        ("avg(a of b) >= 900000000001", 16, "an average is compared with up to 900,000,000,000"),
        (
            "sum(a of b, latest 0) >= 5",
            20,
            "expected how many count, from 1 to 1,000, as in: sum(amount of purchase, 30d",
        ),
        ("avg(a of b, 1d, latest 1001) >= 5", 24, "expected how many count, from 1 to 1,000"),
        ("max(a of b, 1d, latest 5) >= 5", 15, "expected ')' after the window, not ','"),
        ("sequence(a then b within 1d, 7d, latest x)", 41, "expected how many count, from 1 to 1,000"),
        ("Median(amount, 30d) > 5", 1, "Median over events cannot be asked; count, sum, avg, min, max, distinct can"),
        ("a = 1 and mean(a of b) > 5", 11, "mean over events cannot be asked; count, sum, avg, min, max, distinct can"),
        ("distinct(a of b) >= 2", 16, "expected a comma and a window, as in: distinct(sku of view, 7d) >= 3, not ')'"),
        ("distinct(a of b, 7d) >= 101", 25, "is compared with 0 to 100 times, not 101"),
        ("distinct(a of b, 7d) >= 0", 25, "at least 0 times is true for everyone"),
        ("distinct(a of b, 367d) >= 1", 18, "a window is from 1s to 366d"),
        ('user_id in ("ann", "bob")', 1, "import the ids as an audience, and write: in audience chosen-users"),
        ('ever(x) and USER_ID = "ann"', 13, 'an attribute of this name needs double quotes: "user_id"'),
        (
            "counts(x, 3d) > 1",
            1,
            "unknown function counts; known are count, ever, never, first, last, sequence, sum, avg, min, max",
        ),
        ("seen >= now", 6, "with now there are > and <=: at that very moment a time is not after now"),
        ("seen = today - 12h", 16, "from today it is whole days, as in: today + 7d; hours follow now"),
        ("seen = today + 36601d", 16, "a day is up to 36,600 days from today, not 36,601"),
        ("seen = today-7d", 8, "today-7d is a name, as names have hyphens: with blanks, today - 7d is a difference"),
        ("seen in last 36601d", 6, "a time is up to 36,600 days from now"),
        ("seen in last 0d", 14, "expected a length as in 7d, 12h, 30m, 90s or 1d12h"),
        ("count(x, 3M) >= 1", 10, "minutes as a small m, as in 3m; months have no exact length: write 90d, not '3M'"),
        ("seen over 3M ago", 11, "minutes as a small m"),
        ("seen in last 1y", 14, "months and years have no exact length"),
        ("seen in 7d", 9, "expected last or next and a length, as in: signed_up in last 7d; or values in parentheses"),
        ("seen 90d..30d ago", 6, "the nearer end comes first, as in: 30d..90d ago"),
        ("seen 30d ago", 10, "expected two lengths, as in: 30d..90d ago; or: over 90d ago, in last 90d"),
        ("seen over 30d", 14, "expected ago, as in: signed_up over 90d ago"),
        ("age between 18 or 30", 16, "expected and and the higher end, as in: age between 18 and 30"),
        ("age between 30 and 18", 5, "nothing is between these: write the lower end first"),
        ('age between 18 and "30"', 20, "both ends have one type"),
        ("age between true and false", 5, "true and false have no order"),
        ("seen between now and 2026-11-01", 14, "between has days, not now: write in last 7d, in next 7d"),
        ("anniversary(born)", 18, "expected = today, in next or in last, as in: anniversary(born) = today"),
        ("anniversary(born) = 2026-11-01", 21, "expected today, as in: anniversary(born) = today"),
        ("anniversary(born) in next 91d", 19, "days of an anniversary are at most 90"),
        ("anniversary(born) in next 12h", 27, "from today it is whole days"),
        ("first(x) in next 7d", 10, "all events have happened: write first(purchase) in last 7d, 30d..90d ago"),
        ("last(x) <= now", 9, "all events have happened"),
        ("count(x between 2026-11-01 and 2026-11-30, 3d) >= 1", 42, "between takes the place of the window"),
        ("count(x between 2026-11-30 and 2026-11-01) >= 1", 7, "nothing is between these times"),
        ("ever(x between 2026-11-01)", 26, "expected and and the later time, as in: purchase between 2026-11-01"),
        ("ever(x between 3 and 4)", 16, "expected a time without quotes: 2026-11-01"),
        ("age", 4, "expected =, !=, <, <=, >, >=, in, or is"),
        ("age >= 25x", 8, "expected a text in double quotes"),
        (
            "age >= 9007199254740993",
            8,
            "no double represents this whole number exactly; the nearest one is 9007199254740992",
        ),
        ("age >= 1e999", 8, "this number is larger than any double"),
        ("age = nan", 7, "expected a text in double quotes"),
        ("age = null", 7, "expected a value; to test if there is one, write: is set"),
        ('country like "J%"', 9, 'an operator; patterns are not supported: write = or in ("JP", "US")'),
        ('country ~ "J.*"', 9, "patterns are not supported"),
        ('country not in ("JP")', 9, '"not in" is written as: not (country in ("JP", "US"))'),
        ('country in ("JP", 1)', 19, "expected a text in double quotes: \"JP\"; not '1'"),
        ("a in (2026-11-01, 2026-11-01T00:00Z)", 19, "expected a date"),
        ("active > true", 8, "active is boolean, which has no order: use = or !="),
        ('"" is set', 1, "the name of an attribute has 1 to 255 characters"),
        ("born in (2026-11-01, 9999-12-30)", 1, "9999-12-30 is not from 0001-01-02 to 9999-12-29"),
        ("born > 2026-02-30", 8, "this value does not exist"),
        ("sequence(a then b within 1d)", 28, "expected a comma and a window, up to 366d, as in: sequence(add_to_cart"),
        ("sequence(not a then b within 1d, 7d)", 10, "not cannot be the first step"),
        ("sequence(a, 7d)", 11, "expected then and the next step, as in: sequence(add_to_cart then not purchase"),
        ("sequence(a then b, 7d)", 18, "expected within and a time, as in: sequence(add_to_cart then not purchase"),
        ("sequence(a then b within 1d then, 7d)", 33, "expected the name of an event"),
        ("sequence(a then b within 1d same, 7d)", 33, "expected a property, as in: sequence(add_to_cart"),
        ('sequence(a then b within 1d same "", 7d)', 1, "the name of a property has 1 to 255 characters"),
        (
            "sequence(a then b within 0s, 7d)",
            1,
            "a step comes within a time, as in: then purchase within 1d; or within 1h..1d",
        ),
        ("sequence(a then b within 2d..1d, 7d)", 1, "a step comes within a time"),
        ("sequence(a then b within 1d, 0s)", 1, "the window of a sequence and the times of its steps are up to 366d"),
        ("sequence(a then b within 1d, 366d)", 1, "the window of a sequence and the times of its steps are up to 366d"),
        ("sequence(a then b within 1d, 3660000d)", 1, "the times of its steps are up to 366d together"),
        ("sequence(a then b within 1d, 1y)", 30, "months and years have no exact length"),
        ("sequence(a then not b within 1d then not c within 1d, 7d)", 1, "a sequence has one step with not, at most"),
        (f"sequence(a{' then b within 1s' * 3}, 7d)", 1, "a sequence has two or three steps, not 4"),
        (f"sequence(a{' then b within 1s' * 3_000}, 7d)", 16_995, "more than 1000 conditions and values"),
        ("sequence(" * 7_000, 18, "expected then and the next step"),
        (
            "sequence(a then b within 1m, 365d)",
            1,
            "within 1m is too fine for 365d: write within 52m34s or more, or a window up to 6d22h39m",
        ),
        (
            "sequence(a then not b within 1d..1d1s then c within 2h, 9d)",
            1,
            "within 1d..1d1s is too fine for 9d: write within 1d..1d1m28s or more",
        ),
        ("split(winter) < 5", 1, "split needs the second form of rules, as in: rule 2: in audience vip and split("),
        ("rule 2: split(winter) > 5", 23, "expected < or >= and a percentage, as in: split(winter) < 5"),
        ("rule 2: split(winter) < x", 25, "expected a percentage"),
        ("rule 2: split(winter) < 0", 15, "a split is below or from 0.01 to 99.99 percent"),
        ("rule 2: split(winter) >= 100", 15, "a split is below or from 0.01 to 99.99 percent"),
        ("rule 2: split(winter) < 0.005", 15, "in steps of 0.01"),
        ("rule 2: split(Winter) < 5", 15, "'Winter' is not a valid name of a split"),
        ("rule 2: split(winter < 5", 22, "expected ')' after the name of the split"),
        ("rule 3: a = 1", 6, "expected the form of the rule, 1 or 2, as in: rule 2: in audience vip, not '3'"),
        ("rule 2 a = 1", 8, "expected a colon after the form of the rule, as in: rule 2: in audience vip, not 'a'"),
        ("a = 1; drop table x", 6, "';' (U+003B) has no meaning outside of a text in double quotes"),
    ],
)
def test_an_error_points_at_the_character(text: str, position: int, message: str) -> None:
    error = refused(text)
    assert (error.code, error.detail["position"]) == ("BAD_RULE", position)
    assert message in error.message


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        (
            "sum(amount of purchase, 30d) >= 100",
            Total(function="sum", of="amount", events=PURCHASE, operator=">=", value=100.0, within_s=2_592_000),
        ),
        (
            "sum(amount of purchase, latest 5) > 1",
            Total(function="sum", of="amount", events=PURCHASE, operator=">", value=1.0, within_s=None, latest=5),
        ),
        (
            'avg("a b" of purchase) < -2.5',
            Total(function="avg", of="a b", events=PURCHASE, operator="<", value=-2.5, within_s=None),
        ),
        (
            "max(of of purchase, 1h) = 1e+300",
            Extreme(function="max", of="of", events=PURCHASE, operator="=", value=1e300, within_s=3_600),
        ),
        (
            "distinct(sku of purchase, 7d) >= 3",
            Distinct(of="sku", events=PURCHASE, quantity="at_least", times=3, within_s=604_800),
        ),
    ],
)
def test_aggregates(text: str, condition: RuleCondition) -> None:
    assert parse_rule(text) == one(condition)
    assert rule_text(parse_rule(text)) == text


def test_names_of_aggregates_are_not_reserved() -> None:
    text = "sum >= 3 and distinct is set and count(sum where of = 1, 1d) >= 1 and median = 4 and min(min of max) > 1"
    assert rule_text(parse_rule(text)) == text


def test_a_stored_rule_with_a_capital_m_stays_readable() -> None:
    rule = parse_rule("count(x, 3M) >= 1 and seen over 3M ago", stored=True)
    assert rule_text(rule) == "count(x, 3m) >= 1 and seen over 3m ago"


def test_a_stored_rule_about_an_attribute_named_user_id_stays_readable() -> None:
    rule = parse_rule('user_id = "a"', stored=True)
    assert rule_text(rule) == '"user_id" = "a"'
    assert parse_rule(rule_text(rule)) == rule
    assert parse_rule("in audience chosen-users") == one(Member(kind="audience", name="chosen-users"))


def test_the_line_is_shown_with_a_caret_under_the_character() -> None:
    error = refused("age >= 25\nand count(購入) >= 1")
    assert error.detail["marked"] == "and count(購入) >= 1\n          ^"


@pytest.mark.parametrize("text", ["born < 2001-01-01", "seen < 2001-01-01T00:00", "last(x) < 2001-01-01"])
def test_a_time_without_an_offset_needs_a_zone(text: str) -> None:
    error = refused(text, timezone=None)
    assert (error.code, error.detail["position"]) == ("BAD_RULE", text.index("2001") + 1)
    assert "has no time zone" in error.message
    assert refused(text, timezone="Mars/Olympus").code == "BAD_TIMEZONE"


@pytest.mark.parametrize(
    ("text", "zone", "begins"),
    [
        ("2026-03-29", "Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC)),
        ("2026-03-30", "Europe/Berlin", datetime(2026, 3, 29, 22, tzinfo=UTC)),  # 23 hours later
        ("2026-11-01", "America/Havana", datetime(2026, 11, 1, 4, tzinfo=UTC)),  # midnight occurs twice
        ("2018-11-04", "America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),  # 01:00 follows 23:59
        ("1919-03-31", "America/Toronto", datetime(1919, 3, 31, 4, 30, tzinfo=UTC)),  # 00:30 follows 23:29
    ],
)
def test_day_starts_at_its_first_moment_in_the_zone(text: str, zone: str, begins: datetime) -> None:
    rule = parse_rule(f"last(x) >= {text}", timezone=zone)
    assert rule == one(Seen(which="last", events=Events(event="x"), bound="from", moment=begins))


def test_ambiguous_or_skipped_local_time_is_refused() -> None:
    assert "does not exist, or exists twice" in refused("last(x) < 2026-03-29T02:30", timezone="Europe/Berlin").message


def test_a_rule_over_the_limits_is_refused() -> None:
    most = " and ".join(["a = 1"] * (MAX_TERMS - 2) + ["ever(x where a = 1)"])
    assert len(parse_rule(most).conditions) == MAX_TERMS - 1
    error = refused(f"{most} and a = 2")
    assert f"more than {MAX_TERMS} conditions and values" in error.message
    assert error.detail["position"] == len(f"{most} and ") + 1
    assert "more than 1000 conditions and values" in refused(" and ".join(["a=1"] * 6_000)).message
    assert "characters exceed the limit of 65536" in refused(" and ".join(["a = 1"] * 10_000)).message
    assert "a rule is flat" in refused("(" * MAX_CHARACTERS).message
    assert "not can be written only once" in refused("not " * (MAX_CHARACTERS // 4)).message
