"""JSON of any origin -> rules, parsed strictly: the inverse of `records`.

Errors name the path in the document: `at all[0].any[1].times: ...`.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, cast, get_args

from schemas.columns import ColumnType
from schemas.errors import UserError
from segmentation.expressions.conditions import NO_ORDER
from segmentation.expressions.lexer import DATE, TIMESTAMP
from segmentation.expressions.nodes import OPERATORS, Comparison, Condition, OneOf, Operator, Presence, Value
from segmentation.expressions.source import MAX_CHARACTERS
from segmentation.rules.aggregates import (
    COMPARED,
    UNASKED,
    Bounded,
    Extreme,
    Function,
    Sign,
    Total,
    aggregate,
    no_aggregate,
)
from segmentation.rules.conditions import FUNCTIONS
from segmentation.rules.document_path import DocumentPath
from segmentation.rules.events import Events, unusable
from segmentation.rules.nodes import (
    Bound,
    Count,
    Distinct,
    EventCondition,
    Ever,
    Form,
    Group,
    Kind,
    Member,
    Never,
    Quantity,
    Rule,
    RuleCondition,
    Seen,
    SeenNear,
    Split,
    Which,
    check_attribute,
)
from segmentation.rules.printer import rule_text
from segmentation.rules.relative import (
    Anniversary,
    AttributeCondition,
    Between,
    Distance,
    Near,
    Today,
    TodayComparison,
)
from segmentation.rules.sequences import MAX_LATEST, Sequence, Step
from segmentation.timetable import time_zone

FORMS: Final = get_args(Form)
MAX_BYTES: Final = 1024 * 1024
BOTH_ENDS: Final = 2
TYPES: Final = (*FUNCTIONS, "member", "attribute")
"""Of conditions."""
TIMES: Final = ("from", "before")
"""Between which events are."""


def rule_from_json(data: bytes) -> Rule:
    """A rule from JSON of any origin. Raises `UserError` BAD_RULE and BAD_TIMEZONE."""
    if len(data) > MAX_BYTES:
        raise UserError("BAD_RULE", f"{len(data)} bytes exceed the limit of {MAX_BYTES}", bytes=len(data))
    try:
        record = json.loads(data, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as exc:
        raise UserError("BAD_RULE", "not a rule in JSON: lists or objects are nested too deep") from exc
    except ValueError as exc:
        raise UserError("BAD_RULE", f"not a rule in JSON: {exc}"[:300]) from exc
    return rule_from_record(record)


def rule_from_record(record: object) -> Rule:
    """Inverse of `rule_record`. Raises `UserError` BAD_RULE, with the `path` in its detail, and BAD_TIMEZONE."""
    top = DocumentPath("")
    fields = top.fields(record, {"rule", "all"}, {"timezone"})
    version = fields["rule"]
    if isinstance(version, bool) or version not in FORMS:
        raise top.at("rule").fault(f"this is a rule of version {version!r}, not 1 or 2"[:200])
    form: Form = 2 if version == 2 else 1  # 2.0 is 2 in JSON
    timezone = fields.get("timezone")
    if timezone is not None:
        time_zone(top.at("timezone").text(timezone))
    groups = tuple(_group(path, entry) for path, entry in top.at("all").entries(fields["all"]))
    with top.naming():
        rule = Rule(groups=groups, timezone=cast("str | None", timezone), form=form)
    if len(rule_text(rule)) > MAX_CHARACTERS:
        raise top.fault(f"written as text, the rule has more than {MAX_CHARACTERS:,} characters")
    return rule


def _group(path: DocumentPath, record: object) -> Group:
    negated = isinstance(record, Mapping) and "none" in record
    key = "none" if negated else "any"
    entries = path.at(key).entries(path.fields(record, {key})[key])
    with path.naming():
        return Group(conditions=tuple(_condition(inner, entry) for inner, entry in entries), negated=negated)


def _condition(path: DocumentPath, record: object) -> RuleCondition:
    type_ = record.get("type") if isinstance(record, Mapping) else None
    with path.naming():
        match type_:
            case "count" | "ever" | "never" | "first" | "last" | "distinct":
                return _on_events(path, type_, cast("Mapping[str, object]", record))
            case "sum" | "avg" | "min" | "max":
                return _aggregate(path, type_, record)
            case "sequence":
                return _sequence(path, record)
            case "member":
                fields = path.fields(record, {"type", "kind", "name"})
                kind = cast(Kind, path.at("kind").one_of(fields["kind"], get_args(Kind)))
                return Member(kind=kind, name=path.at("name").text(fields["name"]))
            case "split":
                fields = path.fields(record, {"type", "name", "from", "before"})
                begin, before = (path.at(end).integer(fields[end]) for end in TIMES)
                return Split(name=path.at("name").text(fields["name"]), begin=begin, before=before)
            case "attribute" | "anniversary":
                rest = {key: value for key, value in cast("Mapping[str, object]", record).items() if key != "type"}
                check_attribute(test := (_attribute_test if type_ == "attribute" else _anniversary)(path, rest))
                return test
            case str() if type_.lower() in UNASKED:
                raise path.fault(no_aggregate(type_))
            case _:
                raise path.fault(f"type is not one of {', '.join(TYPES)}")


def _on_events(path: DocumentPath, type_: str, record: Mapping[str, object]) -> EventCondition:
    own: dict[str, set[str]] = {
        "count": {"quantity", "times", *(() if "from" in record else ("within_s",))},
        "distinct": {"property", "quantity", "times", *(() if "from" in record else ("within_s",))},
        "first": {"near"} if "near" in record else {"bound", "moment"},
    }
    own["last"] = own["first"]
    fields = path.fields(record, {"type", "event", *own.get(type_, ())}, {"where", *TIMES})
    events = _events(path, fields)
    match type_:
        case "count" | "distinct":
            quantity = cast(Quantity, path.at("quantity").one_of(fields["quantity"], get_args(Quantity)))
            times, within_s = path.at("times").integer(fields["times"]), _within_s(path, fields)
            if type_ == "count":
                return Count(events=events, quantity=quantity, times=times, within_s=within_s)
            name = path.at("property").text(fields["property"])
            return Distinct(of=name, events=events, quantity=quantity, times=times, within_s=within_s)
        case "ever":
            return Ever(events=events)
        case "never":
            return Never(events=events)
    which = cast(Which, type_)
    if "near" in fields:
        return SeenNear(which=which, events=events, distance=_distance(path.at("near"), fields["near"]))
    bound = cast(Bound, path.at("bound").one_of(fields["bound"], get_args(Bound)))
    return Seen(which=which, events=events, bound=bound, moment=_moment(path.at("moment"), fields["moment"]))


def _aggregate(path: DocumentPath, function: Function, record: object) -> Total | Extreme:
    latest = {"latest"} if function in get_args(Bounded) else set[str]()
    given = {"type", "property", "event", "operator", "value", *latest}
    fields = path.fields(record, given, {"where", "within_s", *TIMES})
    type_, value = _value(path.at("value"), fields["value"])
    if type_ != "double":
        raise path.at("value").fault("not a number")
    return aggregate(
        function,
        of=path.at("property").text(fields["property"]),
        events=_events(path, fields),
        operator=cast(Sign, path.at("operator").one_of(fields["operator"], tuple(COMPARED))),
        value=cast(float, value),
        within_s=_within_s(path, fields),
        latest=path.at("latest").integer(fields["latest"]) if latest else MAX_LATEST,
    )


def _within_s(path: DocumentPath, fields: Mapping[str, object]) -> int | None:
    return path.at("within_s").integer(fields["within_s"]) if "within_s" in fields else None


def _events(path: DocumentPath, fields: Mapping[str, object]) -> Events:
    where = tuple(_test(inner, test) for inner, test in path.at("where").entries(fields.get("where", [])))
    since, before = (_moment(path.at(end), fields[end]) if end in fields else None for end in TIMES)
    return Events(event=path.at("event").text(fields["event"]), where=where, since=since, before=before)


def _sequence(path: DocumentPath, record: object) -> Sequence:
    fields = path.fields(record, {"type", "steps", "window_s", "latest"}, {"same"})
    steps: list[Step] = []
    for inner, given in path.at("steps").entries(fields["steps"]):
        with inner.naming():
            own = {"gap_s", "within_s"} if steps else set()
            step = inner.fields(given, {"event", *own}, {"where", *TIMES, *({"not"} if steps else ())})
            negated = step.get("not", False)
            if not isinstance(negated, bool):
                raise inner.at("not").fault("not true or false")
            times = {name: inner.at(name).integer(step[name]) for name in own}
            steps.append(Step(events=_events(inner, step), negated=negated, **times))
    return Sequence(
        steps=tuple(steps),
        same=path.at("same").text(fields["same"]) if "same" in fields else None,
        window_s=path.at("window_s").integer(fields["window_s"]),
        latest=path.at("latest").integer(fields["latest"]),
    )


def _anniversary(path: DocumentPath, record: Mapping[str, object]) -> Anniversary:
    fields = path.fields(record, {"name", "first_day", "last_day"})
    first, last = (path.at(end).integer(fields[end]) for end in ("first_day", "last_day"))
    return Anniversary(column=path.at("name").text(fields["name"]), first_day=first, last_day=last)


def _attribute_test(path: DocumentPath, record: Mapping[str, object]) -> AttributeCondition:
    if "near" in record:
        fields = path.fields(record, {"name", "near"})
        return Near(column=path.at("name").text(fields["name"]), distance=_distance(path.at("near"), fields["near"]))
    if "between" in record:
        fields = path.fields(record, {"name", "between"})
        typed = [_end(inner, end) for inner, end in path.at("between").entries(fields["between"])]
        if len(typed) != BOTH_ENDS or typed[0][0] != typed[1][0]:
            raise path.at("between").fault("not two ends of one type")
        (type_, low), (_, high) = typed
        return Between(column=path.at("name").text(fields["name"]), type=type_, low=low, high=high)
    if isinstance(record.get("value"), Mapping) and "today" in cast("Mapping[str, object]", record["value"]):
        fields = path.fields(record, {"name", "operator", "value"})
        operator = cast(Operator, path.at("operator").one_of(fields["operator"], OPERATORS))
        today = _today(path.at("value"), fields["value"])
        return TodayComparison(column=path.at("name").text(fields["name"]), operator=operator, value=today)
    return _test(path, record)


def _distance(path: DocumentPath, given: object) -> Distance:
    fields = path.fields(given, {"after_s", "until_s"})
    after_s, until_s = (
        None if fields[end] is None else path.at(end).integer(fields[end]) for end in ("after_s", "until_s")
    )
    return Distance(after_s=after_s, until_s=until_s)


def _end(path: DocumentPath, given: object) -> tuple[ColumnType, Value | Today]:
    if isinstance(given, Mapping) and "today" in given:
        return "date", _today(path, given)
    return _value(path, given)


def _today(path: DocumentPath, given: object) -> Today:
    return Today(days=path.at("today").integer(path.fields(given, {"today"})["today"]))


def _test(path: DocumentPath, record: object) -> Condition:
    given = record.keys() if isinstance(record, Mapping) else ()
    if "set" in given:
        fields = path.fields(record, {"name", "set"})
        if not isinstance(fields["set"], bool):
            raise path.at("set").fault("neither true nor false")
        return Presence(column=path.at("name").text(fields["name"]), present=fields["set"])
    if "in" in given:
        fields = path.fields(record, {"name", "in"})
        typed = [_value(inner, value) for inner, value in path.at("in").entries(fields["in"])]
        if len({type_ for type_, _ in typed}) != 1:
            raise path.at("in").fault("a list must have at least one value, and all of one type")
        values = tuple(value for _, value in typed)
        return OneOf(column=path.at("name").text(fields["name"]), type=typed[0][0], values=values)
    fields = path.fields(record, {"name", "operator", "value"})
    operator = cast(Operator, path.at("operator").one_of(fields["operator"], OPERATORS))
    type_, value = _value(path.at("value"), fields["value"])
    if type_ == "boolean" and operator not in NO_ORDER:
        raise path.at("operator").fault("true and false have no order: use = or !=")
    return Comparison(column=path.at("name").text(fields["name"]), type=type_, operator=operator, value=value)


def _value(path: DocumentPath, given: object) -> tuple[ColumnType, Value]:
    match given:
        case bool():
            return "boolean", given
        case str():
            if fault := unusable(given):
                raise path.fault(f"this text has {fault}")
            return "string", given
        case int() | float():
            return "double", _double(path, given)
        case {"date": str(text), **rest} if not rest and DATE.fullmatch(text):
            try:
                return "date", date.fromisoformat(text)
            except ValueError as exc:
                raise path.fault(f"this date does not exist: {text}") from exc
        case {"timestamp": text, **rest} if not rest:
            return "timestamp", _moment(path, text)
    raise path.fault(
        'not a string, number, true or false, {"date": "2026-11-01"}, or {"timestamp": "2026-11-01T09:00:00Z"}'
    )


def _double(path: DocumentPath, given: float) -> float:
    try:
        number = float(given)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise path.fault("this number is larger than any double")
    if number != given:
        raise path.fault(f"no double represents this whole number exactly; the nearest one is {int(number)}")
    return number


def _moment(path: DocumentPath, given: object) -> datetime:
    if isinstance(given, str) and TIMESTAMP.fullmatch(given):
        try:
            found = datetime.fromisoformat(given)
            if found.tzinfo is not None:
                return found.astimezone(UTC)
        except (ValueError, OverflowError) as exc:
            raise path.fault(f"this time does not exist: {given}") from exc
    raise path.fault("not a timestamp with an offset, as in 2026-11-01T09:00:00Z")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("an object has a key twice")
    return record


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
