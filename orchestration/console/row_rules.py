"""Rows of the builder -> a rule: each row becomes the text of one condition, which the parser of rules reads."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from orchestration.console.rule_rows import (
    ANNIVERSARIES,
    BOUNDS,
    MOVING,
    NEAR,
    NEAR_OF_ATTRIBUTES,
    NUMBER,
    OF_EVENTS,
    OPERATORS_OF_NUMBERS,
    PLAIN,
    QUANTITIES,
    QUOTED,
    WITHOUT_VALUE,
    Row,
    RowGroup,
    RowStep,
    RowTest,
)
from schemas.errors import UserError
from segmentation.expressions.lexer import DATE, TIMESTAMP, string
from segmentation.expressions.nodes import OPERATORS
from segmentation.rules.nodes import (
    Form,
    Group,
    Rule,
    RuleCondition,
    Split,
)
from segmentation.rules.parser import parse_rule
from segmentation.rules.windows import UNITS

_LENGTHS: Final = re.compile(r"[0-9][0-9A-Za-z]*(?:\.\.[0-9][0-9A-Za-z]*)?")
_TWO: Final = re.compile(rf"({QUOTED.pattern}|.*?)\s+and\s+(.*)", re.DOTALL | re.IGNORECASE)
PERCENT: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,4})?")
_ITEM: Final = re.compile(rf"\s*({QUOTED.pattern}|[^,]*)\s*(?:,|$)")


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
                text = condition_text(row)
                if row.kind == "split":
                    text = f"rule 2: {text}"
                conditions += parse_rule(text, timezone=timezone).conditions
            except UserError as exc:
                if exc.code != "BAD_RULE":
                    raise
                faults[number, at] = exc
        if conditions:
            found.append(Group(conditions=tuple(conditions), negated=group.negated))
    if faults or not found:
        return None, faults
    if any(isinstance(condition, Split) for group in found for condition in group.conditions):
        form = 2
    rule = Rule(groups=tuple(found), timezone=timezone, form=form)
    return (rule if rule.has_dates else replace(rule, timezone=None)), faults


def condition_text(row: Row) -> str:
    """A row in the language of rules, whether or not that is a condition."""
    if row.kind in OF_EVENTS:
        return _on_events_text(row)
    if row.kind in {"audience", "segment"}:
        return f"in {row.kind} {string(row.name.strip())}"
    return _split_text(row) if row.kind == "split" else _attribute_text(row.tests[0] if row.tests else RowTest())


def _on_events_text(row: Row) -> str:
    events, window = _events_text(row), f"{_digits(row.window)}{row.unit if row.unit in UNITS else ''}"
    match row.kind:
        case "count":
            within = "" if row.during.strip() else f", {window}"
            return f"count({events}{within}) {QUANTITIES.get(row.quantity, '>=')} {_digits(row.times)}"
        case "sum" | "avg" | "min" | "max" | "distinct":
            within = "" if row.during.strip() or (row.kind != "distinct" and not row.window.strip()) else f", {window}"
            return f"{row.kind}({string(row.of.strip())} of {events}{within}) {_compared(row)}"
        case "first" | "last" if row.bound in NEAR:
            before, after = NEAR[row.bound]
            return f"{row.kind}({events}) {before}{_lengths(row.moment)}{after}"
        case "first" | "last":
            return f"{row.kind}({events}) {BOUNDS.get(row.bound, '>=')} {_moment(row.moment)}"
        case "sequence":
            steps = "".join(f" then {_step_text(step)}" for step in row.steps)
            same = f" same {string(row.same.strip())}" if row.same.strip() else ""
            return f"sequence({events}{steps}{same}, {window})"
        case _:
            return f"{row.kind}({events})"


def _compared(row: Row) -> str:
    if row.kind == "distinct":
        return f"{QUANTITIES.get(row.quantity, '>=')} {_digits(row.times)}"
    sign, number = row.operator if row.operator in OPERATORS_OF_NUMBERS else ">=", row.times.strip()
    return f"{sign} {number if NUMBER.fullmatch(number) else string(number)}"


def _events_text(row: Row | RowStep) -> str:
    tests = " and ".join(_test_text(test) for test in row.tests)
    events = f"{string(row.name.strip())}{f' where {tests}' if tests else ''}"
    return f"{events} between {' and '.join(map(_moment, _ends(row.during)))}" if row.during.strip() else events


def _step_text(step: RowStep) -> str:
    return f"{'not ' if step.negated else ''}{_events_text(step)} within {_lengths(step.within)}"


def _split_text(row: Row) -> str:
    share = row.times.strip()
    return f"split({string(row.name.strip())}) {BOUNDS.get(row.bound, '<')} " + (
        share if PERCENT.fullmatch(share) else string(share)
    )


def _attribute_text(test: RowTest) -> str:
    name, operator, value = string(test.name.strip()), test.operator, test.value.strip()
    if operator in ANNIVERSARIES:
        return f"anniversary({name}) {ANNIVERSARIES[operator]}{'' if operator in WITHOUT_VALUE else _lengths(value)}"
    if operator == "between":
        return f"{name} between {' and '.join(_end(end) for end in _ends(value))}"
    if operator in OPERATORS and MOVING.fullmatch(value):
        return f"{name} {operator} {_end(value)}"
    if operator in NEAR_OF_ATTRIBUTES and operator not in OPERATORS:
        before, after = NEAR_OF_ATTRIBUTES[operator]
        return f"{name} {before}{_lengths(value)}{after}"
    return _test_text(test)


def _ends(text: str) -> list[str]:
    """The two ends that `and` joins; a text in double quotes may have the word."""
    found = _TWO.fullmatch(text.strip())
    return [found[1], found[2]] if found else [text]


def _end(text: str) -> str:
    """An end of between: now or today, with blanks around a sign, or a value."""
    text = text.strip()
    return re.sub(r"\s*([+-])\s*", r" \1 ", text) if MOVING.fullmatch(text) else _literal(text)


def _moment(text: str) -> str:
    text = text.strip()
    return text if TIMESTAMP.fullmatch(text) or DATE.fullmatch(text) else string(text)


def _lengths(text: str) -> str:
    text = text.strip()
    return text if _LENGTHS.fullmatch(text) else string(text)


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
    if not text or PLAIN.fullmatch(text):
        return text
    if QUOTED.fullmatch(text):
        try:
            return string(json.loads(text))
        except ValueError:
            return string(text)
    return string(text)
