"""Rules -> text that parses to the same rule."""

import re
from typing import Final

from schemas.columns import USER_ID
from segmentation.expressions.lexer import string
from segmentation.expressions.literals import literal
from segmentation.expressions.printer import condition_text
from segmentation.rules.aggregates import Extreme, Total
from segmentation.rules.conditions import MICROSECOND, RULES, WORD
from segmentation.rules.events import Events, OnEvents
from segmentation.rules.nodes import (
    Count,
    Distinct,
    EventCondition,
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
from segmentation.rules.relative import Anniversary, Between, Near, TodayComparison
from segmentation.rules.relative_text import distance_text, relative_text
from segmentation.rules.sequences import MAX_LATEST, Sequence, Step
from segmentation.rules.windows import window_text

PLAIN: Final = re.compile(WORD)
SIGNS: Final = {"at_least": ">=", "at_most": "<=", "exactly": "=", "before": "<", "from": ">="}


def rule_text(rule: Rule) -> str:
    """A rule as text for `parse_rule`, in the rule's time zone."""
    form = f"rule {rule.form}: " if rule.form > 1 else ""
    if len(rule.groups) == 1 and not rule.groups[0].negated:
        return form + _alternatives(rule.groups[0])
    return form + " and ".join(_group(group) for group in rule.groups)


def rule_condition_text(condition: RuleCondition) -> str:
    """One condition."""
    match condition:
        case OnEvents():
            return _on_events_text(condition)
        case Member():
            return f"in {condition.kind} {_name(condition.name)}"
        case Split(name=name, begin=begin, before=before):
            return f"split({_name(name)}) {f'>= {begin / 100:g}' if begin else f'< {before / 100:g}'}"
        case Sequence():
            return _sequence_text(condition)
        case Near() | TodayComparison() | Between() | Anniversary():
            return relative_text(condition, _attribute(condition.column))
        case _:
            return condition_text(condition, _attribute)


def _on_events_text(condition: EventCondition | Extreme) -> str:
    match condition:
        case Count() | Distinct() | Total() | Extreme():
            return _aggregate_text(condition)
        case Ever(events=events):
            return f"ever({_events(events)})"
        case Never(events=events):
            return f"never({_events(events)})"
        case Seen(events=events):
            return f"{condition.which}({_events(events)}) {SIGNS[condition.bound]} {literal(condition.moment)}"
        case SeenNear(events=events):
            return f"{condition.which}({_events(events)}) {distance_text(condition.distance)}"


def _aggregate_text(condition: Count | Distinct | Total | Extreme) -> str:
    of = "" if isinstance(condition, Count) else f"{_name(condition.of)} of "
    of += _events(condition.events) + ("" if condition.within_s is None else f", {window_text(condition.within_s)}")
    of += _latest(condition.latest) if isinstance(condition, Total) else ""
    match condition:
        case Total(function=function) | Extreme(function=function):
            return f"{function}({of}) {condition.operator} {literal(condition.value)}"
        case Count() | Distinct():
            counted = "count" if isinstance(condition, Count) else "distinct"
            return f"{counted}({of}) {SIGNS[condition.quantity]} {condition.times}"


def _sequence_text(condition: Sequence) -> str:
    same = "" if condition.same is None else f" same {_name(condition.same)}"
    steps, latest = " then ".join(map(step_text, condition.steps)), _latest(condition.latest)
    return f"sequence({steps}{same}, {window_text(condition.window_s)}{latest})"


def _latest(latest: int) -> str:
    """How many of the latest count, if that is not the limit of today."""
    return "" if latest == MAX_LATEST else f", latest {latest}"


def step_text(step: Step) -> str:
    """A step of a sequence as text."""
    if not step.within_s:
        return _events(step.events)
    gap = f"{window_text(step.gap_s)}.." if step.gap_s else ""
    return f"{'not ' if step.negated else ''}{_events(step.events)} within {gap}{window_text(step.within_s)}"


def _group(group: Group) -> str:
    text = _alternatives(group)
    inside = f"({text})" if len(group.conditions) > 1 else text
    return f"not {inside}" if group.negated else inside


def _alternatives(group: Group) -> str:
    return " or ".join(rule_condition_text(condition) for condition in group.conditions)


def _events(events: Events) -> str:
    text, tests = _name(events.event), " and ".join(condition_text(test, _name) for test in events.where)
    if tests:
        text += f" where {tests}"
    return f"{text} between {during(events)}" if events.since else text


def during(events: Events) -> str:
    """The first and the last time of events between two times, else nothing."""
    if events.since is None or events.before is None:
        return ""
    return f"{literal(events.since)} and {literal(events.before - MICROSECOND)}"


def _attribute(name: str) -> str:
    """A name; `user_id` without quotes would be taken for an attempt to list users."""
    return string(name) if name.lower() == USER_ID else _name(name)


def _name(name: str) -> str:
    """A name, in double quotes unless it is a word and not reserved."""
    return name if PLAIN.fullmatch(name) and name.lower() not in RULES.reserved else string(name)
