"""Rules as JSON, the stored form: versioned, and published as schemas/rule.schema.json. `record_reader` reads it."""

from datetime import date, datetime

from segmentation.expressions.literals import literal, plain
from segmentation.expressions.nodes import Comparison, Condition, OneOf, Presence, Value
from segmentation.rules.aggregates import Extreme, Total
from segmentation.rules.events import Events, OnEvents
from segmentation.rules.nodes import (
    Count,
    Distinct,
    EventCondition,
    Ever,
    Member,
    Never,
    Rule,
    RuleCondition,
    Seen,
    SeenNear,
    Split,
)
from segmentation.rules.relative import (
    Anniversary,
    Between,
    Distance,
    Near,
    Today,
    TodayComparison,
)
from segmentation.rules.sequences import Sequence


def rule_record(rule: Rule) -> dict[str, object]:
    """A rule as plain JSON data."""
    return {
        "rule": rule.form,
        "timezone": rule.timezone,
        "all": [{"none" if g.negated else "any": [condition_record(c) for c in g.conditions]} for g in rule.groups],
    }


def condition_record(condition: RuleCondition) -> dict[str, object]:
    """One condition."""
    match condition:
        case OnEvents():
            return _on_events_record(condition)
        case Member(kind=kind, name=name):
            return {"type": "member", "kind": kind, "name": name}
        case Split(name=name, begin=begin, before=before):
            return {"type": "split", "name": name, "from": begin, "before": before}
        case Sequence():
            return _sequence_record(condition)
        case Near() | TodayComparison() | Between() | Anniversary():
            return _relative_record(condition)
        case _:
            return {"type": "attribute", **_test_record(condition)}


def _on_events_record(condition: EventCondition | Extreme) -> dict[str, object]:
    events = _events_record(condition.events)
    match condition:
        case Count() | Distinct() | Total() | Extreme():
            return _aggregate_record(condition, events)
        case Ever():
            return {"type": "ever", **events}
        case Never():
            return {"type": "never", **events}
        case Seen(which=which, bound=bound, moment=moment):
            return {"type": which, **events, "bound": bound, "moment": literal(moment)}
        case SeenNear(which=which, distance=distance):
            return {"type": which, **events, "near": _distance_record(distance)}


def _aggregate_record(condition: Count | Distinct | Total | Extreme, events: dict[str, object]) -> dict[str, object]:
    of = events if isinstance(condition, Count) else {"property": condition.of, **events}
    window = {} if condition.within_s is None else {"within_s": condition.within_s}
    match condition:
        case Count(quantity=quantity, times=times) | Distinct(quantity=quantity, times=times):
            type_ = "count" if isinstance(condition, Count) else "distinct"
            return {"type": type_, **of, "quantity": quantity, "times": times, **window}
        case Total(function=function, operator=operator, value=value, latest=latest):
            return {"type": function, **of, "operator": operator, "value": plain(value), **window, "latest": latest}
        case Extreme(function=function, operator=operator, value=value):
            return {"type": function, **of, "operator": operator, "value": plain(value), **window}


def _sequence_record(condition: Sequence) -> dict[str, object]:
    first, *later = condition.steps
    steps = [_events_record(first.events)]
    for step in later:
        negated: dict[str, object] = {"not": True} if step.negated else {}
        steps.append({**negated, **_events_record(step.events), "gap_s": step.gap_s, "within_s": step.within_s})
    same = {} if condition.same is None else {"same": condition.same}
    return {"type": "sequence", "steps": steps, **same, "window_s": condition.window_s, "latest": condition.latest}


def _relative_record(condition: Near | TodayComparison | Between | Anniversary) -> dict[str, object]:
    of_attribute = {"type": "attribute", "name": condition.column}
    match condition:
        case Near(distance=distance):
            return {**of_attribute, "near": _distance_record(distance)}
        case TodayComparison(operator=operator, value=today):
            return {**of_attribute, "operator": operator, "value": _value_record(today)}
        case Between(low=low, high=high):
            return {**of_attribute, "between": [_value_record(low), _value_record(high)]}
        case Anniversary(first_day=first, last_day=last):
            return {**of_attribute, "type": "anniversary", "first_day": first, "last_day": last}


def _distance_record(distance: Distance) -> dict[str, object]:
    return {"after_s": distance.after_s, "until_s": distance.until_s}


def _events_record(events: Events) -> dict[str, object]:
    record: dict[str, object] = {"event": events.event, "where": [_test_record(test) for test in events.where]}
    if events.since is not None and events.before is not None:
        record |= {"from": literal(events.since), "before": literal(events.before)}
    return record


def _test_record(test: Condition) -> dict[str, object]:
    match test:
        case Presence(column=name, present=present):
            return {"name": name, "set": present}
        case OneOf(column=name, values=values):
            return {"name": name, "in": [_value_record(value) for value in values]}
        case Comparison(column=name, operator=operator, value=value):
            return {"name": name, "operator": operator, "value": _value_record(value)}


def _value_record(value: Value | Today) -> object:
    match value:
        case Today(days=days):
            return {"today": days}
        case datetime():
            return {"timestamp": literal(value)}
        case date():
            return {"date": literal(value)}
        case float():
            return plain(value)
        case _:
            return value
