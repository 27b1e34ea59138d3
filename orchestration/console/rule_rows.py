"""Rules as rows of a form; `row_rules` reads them back.

A value is written without quotes, and taken for a text unless it reads as a number, true, false, a date or a time, or
of an attribute as now or today; such a text stands in double quotes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

from segmentation.expressions.lexer import DATE, TIMESTAMP, string
from segmentation.expressions.literals import literal
from segmentation.expressions.nodes import OPERATORS, Comparison, Condition, OneOf, Presence, Value
from segmentation.rules.aggregates import COMPARED, Extreme, Total
from segmentation.rules.events import Events, OnEvents
from segmentation.rules.nodes import (
    Count,
    Distinct,
    Ever,
    Member,
    Never,
    Rule,
    RuleCondition,
    Seen,
    SeenNear,
    Split,
)
from segmentation.rules.printer import during
from segmentation.rules.relative import Anniversary, AttributeCondition, Between, Near, Today, TodayComparison
from segmentation.rules.relative_text import distance_text, end_text
from segmentation.rules.sequences import MAX_LATEST, Sequence
from segmentation.rules.windows import UNITS, window_text

AGGREGATES: Final = ("sum", "avg", "min", "max", "distinct")
KINDS: Final = (
    *("count", "ever", "never", "first", "last", "sequence", *AGGREGATES),
    *("attribute", "audience", "segment", "split"),
)
OF_EVENTS: Final = frozenset({"count", "ever", "never", "first", "last", "sequence", *AGGREGATES})
OPERATORS_OF_NUMBERS: Final = tuple(COMPARED)
QUANTITIES: Final[Mapping[str, str]] = {"at_least": ">=", "at_most": "<=", "exactly": "="}
NEAR: Final = {"in_last": ("in last ", ""), "over": ("over ", " ago"), "ago": ("", " ago")}
"""How far in the past a time is: what stands before and after the lengths."""
NEAR_OF_ATTRIBUTES: Final = {**NEAR, "in_next": ("in next ", ""), ">": ("> ", ""), "<=": ("<= ", "")}
ANNIVERSARIES: Final = {"anniversary": "= today", "anniversary_in_next": "in next ", "anniversary_in_last": "in last "}
BOUNDS: Final[Mapping[str, str]] = {"before": "<", "from": ">="}
UNITS_SHOWN: Final = ("d", "h", "m", "s")
TESTS: Final = (*OPERATORS, "in", "set", "unset")
TESTS_OF_ATTRIBUTES: Final = (*TESTS, "between", "in_last", "in_next", "over", "ago", *ANNIVERSARIES)
WITHOUT_VALUE: Final = frozenset({"set", "unset", "anniversary"})
MAX_ROWS: Final = 40
"""Rows and tests of a rule that a form shows: more are edited as text, and a form has at most 1,000 fields."""
NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
PLAIN: Final = re.compile(rf"{NUMBER.pattern}|true|false|{TIMESTAMP.pattern}|{DATE.pattern}", re.IGNORECASE)
MOVING: Final = re.compile(r"(?:now|today)(?:\s*[+-]\s*[0-9][0-9a-z]*)?", re.IGNORECASE)
QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTest:
    """A test of a property or an attribute, as typed."""

    name: str = ""
    operator: str = "="
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStep:
    """A later step of a sequence, as typed. `negated`: `not` or empty; `within`: a time, or two (`1h..1d`)."""

    name: str = ""
    tests: tuple[RowTest, ...] = ()
    negated: str = ""
    within: str = "1d"
    during: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One condition, as typed. `name`: of the event, audience, segment or split; tests of an attribute are one.

    `moment`: of `first` and `last`, a time, or how far in the past it is. `during`: two times between which events are;
    then a count has no window. `times`: of a split, percent. `steps`, `same`: of a sequence, whose first step has the
    `name`, `tests` and `during` of the row. `of`: of an aggregate, the property; `operator` and `times` are what it is
    compared with, and an empty `window` is all time.
    """

    kind: str = "count"
    name: str = ""
    tests: tuple[RowTest, ...] = ()
    quantity: str = "at_least"
    times: str = "1"
    window: str = "30"
    unit: str = "d"
    bound: str = "from"
    moment: str = ""
    during: str = ""
    steps: tuple[RowStep, ...] = ()
    same: str = ""
    of: str = ""
    operator: str = ">="

    @property
    def blank(self) -> bool:
        """Whether nothing has been typed that says what the row is about."""
        return not (self.name or self.of or any(test.name for test in self.tests))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """Rows joined by or."""

    rows: tuple[Row, ...] = field(default=(Row(),))
    negated: bool = False


class _Happened(TypedDict):
    """The fields of a row or a step that are about its events."""

    name: str
    tests: tuple[RowTest, ...]
    during: str


def groups_of(rule: Rule) -> tuple[RowGroup, ...] | None:
    """The rows of a rule; None if they are too many for a form, or a condition has what no row shows."""
    if any(isinstance(one, Total | Sequence) and one.latest != MAX_LATEST for one in rule.conditions):
        return None
    groups = tuple(
        RowGroup(rows=tuple(_row(condition) for condition in group.conditions), negated=group.negated)
        for group in rule.groups
    )
    return groups if size_of(groups) <= MAX_ROWS else None


def size_of(groups: tuple[RowGroup, ...]) -> int:
    """Rows, steps and tests, which MAX_ROWS limits."""
    rows = [row for group in groups for row in group.rows]
    return sum(1 + len(row.tests) + sum(1 + len(step.tests) for step in row.steps) for row in rows)


def _row(condition: RuleCondition) -> Row:
    match condition:
        case OnEvents(events=events):
            return _with(Row(**_happened(events)), **_of_events(condition))
        case Member(kind=kind, name=name):
            return Row(kind=kind, name=name)
        case Split(name=name, begin=begin, before=before):
            bound, end = ("from", begin) if begin else ("before", before)
            return Row(kind="split", name=name, bound=bound, times=f"{end / 100:g}")
        case Sequence():
            return _of_sequence(condition)
        case _:
            return Row(kind="attribute", tests=(_attribute_test(condition),))


def _of_events(condition: OnEvents) -> dict[str, str]:
    """The fields of a row that its kind has, apart from the events."""
    match condition:
        case Count(quantity=quantity, times=times, within_s=within_s):
            return {"kind": "count", "quantity": quantity, "times": str(times), **_window(within_s)}
        case Distinct(of=of, quantity=quantity, times=times, within_s=within_s):
            counted = {"kind": "distinct", "of": of, "quantity": quantity, "times": str(times)}
            return {**counted, **_window(within_s)}
        case Total() | Extreme():
            compared = {"operator": condition.operator, "times": literal(condition.value)}
            return {"kind": condition.function, "of": condition.of, **compared, **_window(condition.within_s, "")}
        case _:
            return _of_occurrence(condition)


def _of_occurrence(condition: OnEvents) -> dict[str, str]:
    match condition:
        case Ever():
            return {"kind": "ever"}
        case Never():
            return {"kind": "never"}
        case Seen(which=which, bound=bound, moment=moment):
            return {"kind": which, "bound": bound, "moment": literal(moment)}
        case SeenNear(which=which, distance=distance):
            how, lengths = _parted(distance_text(distance), NEAR)
            return {"kind": which, "bound": how, "moment": lengths}
        case _:
            raise TypeError(f"no row for {condition}")


def _of_sequence(sequence: Sequence) -> Row:
    first, *later = sequence.steps
    steps = tuple(
        RowStep(
            **_happened(step.events),
            negated="not" if step.negated else "",
            within=f"{window_text(step.gap_s)}.." * (step.gap_s > 0) + window_text(step.within_s),
        )
        for step in later
    )
    row = Row(kind="sequence", **_happened(first.events), steps=steps, same=sequence.same or "")
    return _with(row, **_window(sequence.window_s))


def _happened(events: Events) -> _Happened:
    return {"name": events.event, "tests": tuple(_test(test) for test in events.where), "during": during(events)}


def _window(seconds: int | None, otherwise: str | None = None) -> dict[str, str]:
    """The fields of a window; `otherwise`: what stands for none."""
    if seconds is None:
        return {} if otherwise is None else {"window": otherwise}
    unit = next(unit for unit in UNITS_SHOWN if seconds % UNITS[unit] == 0)
    return {"window": str(seconds // UNITS[unit]), "unit": unit}


def _parted(text: str, forms: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """Which of the forms a text has, and what stands between its words."""
    return next(
        (name, text.removeprefix(before).removesuffix(after))
        for name, (before, after) in forms.items()
        if text.startswith(before) and text.endswith(after)
    )


def _attribute_test(test: AttributeCondition) -> RowTest:
    match test:
        case Near(column=name, distance=distance):
            operator, value = _parted(distance_text(distance), NEAR_OF_ATTRIBUTES)
            return RowTest(name=name, operator=operator, value=value)
        case TodayComparison(column=name, operator=operator, value=today):
            return RowTest(name=name, operator=operator, value=end_text(today))
        case Between(column=name, low=low, high=high):
            ends = (end_text(end) if isinstance(end, Today) else _shown(end, word="and") for end in (low, high))
            return RowTest(name=name, operator="between", value=" and ".join(ends))
        case Anniversary(column=name, first_day=first, last_day=last):
            if first == last:
                return RowTest(name=name, operator="anniversary")
            operator = "anniversary_in_next" if last else "anniversary_in_last"
            return RowTest(name=name, operator=operator, value=f"{last - first + 1}d")
        case _:
            return _test(test)


def _with(row: Row, **given: str) -> Row:
    values = {name: getattr(row, name) for name in Row.__slots__}
    return Row(**{**values, **given})


def _test(test: Condition) -> RowTest:
    match test:
        case Presence(column=name, present=present):
            return RowTest(name=name, operator="set" if present else "unset")
        case OneOf(column=name, values=values):
            return RowTest(name=name, operator="in", value=", ".join(_shown(value, word=",") for value in values))
        case Comparison(column=name, operator=operator, value=value):
            return RowTest(name=name, operator=operator, value=_shown(value))


def _shown(value: Value, *, word: str = "") -> str:
    """A value as typed: a text without quotes, if it is read back as the same text, and has no `word` that parts it."""
    if not isinstance(value, str):
        return literal(value)
    reads = PLAIN.fullmatch(value) or MOVING.fullmatch(value) or value.startswith('"') or (word and word in value)
    return value if value and value == value.strip() and value.isprintable() and not reads else string(value)
