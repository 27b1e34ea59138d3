"""One form for rules that differ only in wording, and the hash that identifies a rule.

Canonical form: groups and conditions in the order of their JSON, each once; `not (a or b)` as `not a and not b`; tests
of a `where` and values of a list in order, each once; a list of one as `=`; `= 0` times as `<= 0`; -0 as 0; no time
zone unless a date needs one; form 2 only where the rule may have members without an event or a profile, or has a split.
Rules that are equal for deeper reasons (`never(x)` and `not ever(x)`) stay different.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import TypeVar

from segmentation.expressions.nodes import Comparison, Condition, OneOf, Presence, Value
from segmentation.rules.aggregates import Extreme, Total
from segmentation.rules.events import Events, OnEvents
from segmentation.rules.nodes import Count, Distinct, Group, Rule, RuleCondition, Split
from segmentation.rules.records import condition_record, rule_record
from segmentation.rules.relative import Between, Today
from segmentation.rules.sequences import Sequence
from segmentation.rules.truths import true_of_strangers

C = TypeVar("C", bound=RuleCondition)
EndT = TypeVar("EndT", Value, Value | Today)


def canonical(rule: Rule) -> Rule:
    """The rule in canonical form; its answers are unchanged."""
    groups: list[Group] = []
    for group in rule.groups:
        conditions = _ordered(_condition(c) for c in group.conditions)
        if group.negated:
            groups += [Group(conditions=(condition,), negated=True) for condition in conditions]
        else:
            groups.append(Group(conditions=conditions))
    by_text = {_text(rule_record(replace(rule, groups=(g,)))): g for g in groups}
    return Rule(
        groups=tuple(by_text[t] for t in sorted(by_text)),
        timezone=rule.timezone if rule.has_dates else None,
        form=2 if true_of_strangers(rule) or any(isinstance(c, Split) for c in rule.conditions) else 1,
    )


def canonical_json(rule: Rule) -> bytes:
    """The JSON of the canonical form: keys in order, no blanks, UTF-8, whole numbers up to 2^53 without a fraction."""
    return _text(rule_record(canonical(rule))).encode()


def rule_hash(rule: Rule) -> str:
    """SHA-256 of the canonical JSON, 64 hex digits."""
    return sha256(canonical_json(rule)).hexdigest()


def _condition(condition: RuleCondition) -> RuleCondition:
    match condition:
        case Count(quantity="exactly", times=0) | Distinct(quantity="exactly", times=0):
            return _condition(replace(condition, quantity="at_most"))
        case OnEvents():
            plain = replace(condition, events=_events(condition.events))
            return replace(plain, value=plain.value + 0.0) if isinstance(plain, Total | Extreme) else plain
        case Sequence(steps=steps):
            return replace(condition, steps=tuple(replace(step, events=_events(step.events)) for step in steps))
        case Between(low=low, high=high):
            return replace(condition, low=_value(low), high=_value(high))
        case Comparison() | OneOf() | Presence():
            return _test(condition)
        case _:
            return condition


def _events(events: Events) -> Events:
    return replace(events, where=_ordered(_test(test) for test in events.where))


def _test(test: Condition) -> Condition:
    match test:
        case Comparison(value=value):
            return replace(test, value=_value(value))
        case OneOf(column=name, type=type_, values=values):
            ordered = _ordered(OneOf(column=name, type=type_, values=(_value(value),)) for value in values)
            if len(ordered) == 1:
                return Comparison(column=name, type=type_, operator="=", value=ordered[0].values[0])
            return replace(test, values=tuple(one.values[0] for one in ordered))
        case Presence():
            return test


def _value(value: EndT) -> EndT:
    return value + 0.0 if isinstance(value, float) else value  # -0.0 + 0.0 is 0.0


def _ordered(conditions: Iterable[C]) -> tuple[C, ...]:
    by_text = {_text(condition_record(condition)): condition for condition in conditions}
    return tuple(by_text[text] for text in sorted(by_text))


def _text(record: object) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
