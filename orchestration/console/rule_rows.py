"""Rules as rows of a form, and back: a row becomes the text of one condition, which the rules' own parser reads.

A value is written without quotes, and taken for a text unless it reads as a number, true, false, a date or a time;
such a text stands in double quotes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.errors import UserError
from segmentation.expressions.lexer import DATE, TIMESTAMP, string
from segmentation.expressions.literals import literal
from segmentation.expressions.nodes import OPERATORS, Comparison, Condition, OneOf, Presence, Value
from segmentation.rules.nodes import Count, Events, Ever, Form, Group, Member, Never, Rule, RuleCondition, Seen
from segmentation.rules.parser import parse_rule
from segmentation.rules.windows import UNITS

KINDS: Final = ("count", "ever", "never", "first", "last", "attribute", "audience", "segment")
OF_EVENTS: Final = frozenset({"count", "ever", "never", "first", "last"})
QUANTITIES: Final[Mapping[str, str]] = {"at_least": ">=", "at_most": "<=", "exactly": "="}
BOUNDS: Final[Mapping[str, str]] = {"before": "<", "from": ">="}
UNITS_SHOWN: Final = ("d", "h", "m", "s")
TESTS: Final = (*OPERATORS, "in", "set", "unset")
MAX_ROWS: Final = 40
"""Rows and tests of a rule that a form shows: more are edited as text, and a form has at most 1,000 fields."""
_PLAIN: Final = re.compile(
    rf"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|{TIMESTAMP.pattern}|{DATE.pattern}", re.IGNORECASE
)
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_ITEM: Final = re.compile(rf"\s*({_QUOTED.pattern}|[^,]*)\s*(?:,|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTest:
    """A test of a property or an attribute, as typed."""

    name: str = ""
    operator: str = "="
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One condition, as typed. `name`: of the event, audience or segment; tests of an attribute are one."""

    kind: str = "count"
    name: str = ""
    tests: tuple[RowTest, ...] = ()
    quantity: str = "at_least"
    times: str = "1"
    window: str = "30"
    unit: str = "d"
    bound: str = "from"
    moment: str = ""

    @property
    def blank(self) -> bool:
        """Whether nothing has been typed that says what the row is about."""
        return not (self.name or any(test.name for test in self.tests))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """Rows joined by or."""

    rows: tuple[Row, ...] = field(default=(Row(),))
    negated: bool = False


def groups_of(rule: Rule) -> tuple[RowGroup, ...] | None:
    """The rows of a rule; None if they are too many for a form."""
    groups = tuple(
        RowGroup(rows=tuple(_row(condition) for condition in group.conditions), negated=group.negated)
        for group in rule.groups
    )
    return groups if _size(groups) <= MAX_ROWS else None


def _size(groups: tuple[RowGroup, ...]) -> int:
    return sum(1 + len(row.tests) for group in groups for row in group.rows)


def _row(condition: RuleCondition) -> Row:
    match condition:
        case Count(events=events, quantity=quantity, times=times, within_s=within_s):
            unit = next(unit for unit in UNITS_SHOWN if within_s % UNITS[unit] == 0)
            row = _of_events("count", events, quantity=quantity, times=str(times), unit=unit)
            return _with(row, window=str(within_s // UNITS[unit]))
        case Ever(events=events):
            return _of_events("ever", events)
        case Never(events=events):
            return _of_events("never", events)
        case Seen(which=which, events=events, bound=bound, moment=moment):
            return _of_events(which, events, bound=bound, moment=literal(moment))
        case Member(kind=kind, name=name):
            return Row(kind=kind, name=name)
        case _:
            return Row(kind="attribute", tests=(_test(condition),))


def _of_events(kind: str, events: Events, **given: str) -> Row:
    return _with(Row(kind=kind, name=events.event, tests=tuple(_test(test) for test in events.where)), **given)


def _with(row: Row, **given: str) -> Row:
    values = {name: getattr(row, name) for name in Row.__slots__}
    return Row(**{**values, **given})


def _test(test: Condition) -> RowTest:
    match test:
        case Presence(column=name, present=present):
            return RowTest(name=name, operator="set" if present else "unset")
        case OneOf(column=name, values=values):
            return RowTest(name=name, operator="in", value=", ".join(_shown(value, listed=True) for value in values))
        case Comparison(column=name, operator=operator, value=value):
            return RowTest(name=name, operator=operator, value=_shown(value))


def _shown(value: Value, *, listed: bool = False) -> str:
    """A value as typed: a text without quotes, if it is read back as the same text."""
    if not isinstance(value, str):
        return literal(value)
    plain = value == value.strip() and value and not _PLAIN.fullmatch(value) and not value.startswith('"')
    return value if plain and value.isprintable() and not (listed and "," in value) else string(value)


def rule_of(
    groups: tuple[RowGroup, ...], timezone: str | None, form: Form = 1
) -> tuple[Rule | None, dict[tuple[int, int], UserError]]:
    """The rule of rows; None if one is at fault, with the error of each such row by group and row.

    Raises `UserError` BAD_RULE, BAD_TIMEZONE for what belongs to no row.
    """
    faults: dict[tuple[int, int], UserError] = {}
    found: list[Group] = []
    for number, group in enumerate(groups):
        conditions: list[RuleCondition] = []
        for at, row in enumerate(group.rows):
            try:
                conditions += parse_rule(condition_text(row), timezone=timezone).conditions
            except UserError as exc:
                if exc.code != "BAD_RULE":
                    raise
                faults[number, at] = exc
        if conditions:
            found.append(Group(conditions=tuple(conditions), negated=group.negated))
    if faults or not found:
        return None, faults
    rule = Rule(groups=tuple(found), timezone=timezone, form=form)
    return (rule if rule.has_dates else replace(rule, timezone=None)), faults


def condition_text(row: Row) -> str:
    """A row in the language of rules, whether or not that is a condition."""
    if row.kind in OF_EVENTS:
        tests = " and ".join(_test_text(test) for test in row.tests)
        events = f"{string(row.name.strip())}{f' where {tests}' if tests else ''}"
        if row.kind == "count":
            window = f"{_digits(row.window)}{row.unit if row.unit in UNITS else ''}"
            return f"count({events}, {window}) {QUANTITIES.get(row.quantity, '>=')} {_digits(row.times)}"
        if row.kind in {"first", "last"}:
            moment = row.moment.strip()
            known = moment if TIMESTAMP.fullmatch(moment) or DATE.fullmatch(moment) else string(moment)
            return f"{row.kind}({events}) {BOUNDS.get(row.bound, '>=')} {known}"
        return f"{row.kind}({events})"
    if row.kind in {"audience", "segment"}:
        return f"in {row.kind} {string(row.name.strip())}"
    return _test_text(row.tests[0] if row.tests else RowTest())


def _digits(text: str) -> str:
    return text.strip() if text.strip().isdecimal() else string(text)


def _test_text(test: RowTest) -> str:
    name = string(test.name.strip())
    match test.operator:
        case "set":
            return f"{name} is set"
        case "unset":
            return f"{name} is not set"
        case "in":
            return f"{name} in ({', '.join(_items(test.value))})"
        case _:
            return f"{name} {test.operator if test.operator in OPERATORS else '='} {_literal(test.value)}"


def _items(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _ITEM.match(text, at)
        if found is None:
            yield string(text[at:])
            return
        yield _literal(found[1])
        at = found.end()


def _literal(text: str) -> str:
    """A typed value, as a token of the language."""
    text = text.strip()
    if not text or _PLAIN.fullmatch(text):
        return text
    if _QUOTED.fullmatch(text):
        try:
            return string(json.loads(text))
        except ValueError:
            return string(text)
    return string(text)
