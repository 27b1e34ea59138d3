"""Names that rules refer to: events, properties, attributes, audiences and other segments."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from schemas.columns import ColumnType
from schemas.errors import UserError
from segmentation.expressions.lexer import tokens
from segmentation.expressions.nodes import Comparison, OneOf
from segmentation.expressions.source import Code, Source
from segmentation.rules.aggregates import Extreme, Total
from segmentation.rules.conditions import RULES
from segmentation.rules.events import OnEvents
from segmentation.rules.nodes import Distinct, Kind, Member, Rule, Split, events_of
from segmentation.rules.relative import Anniversary, Between, Near, TodayComparison, compares_days
from segmentation.rules.sequences import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names in a rule, each sorted and once. None of them needs to exist; unknown ones are shown to a user."""

    events: tuple[str, ...]
    properties: tuple[tuple[str, str], ...]
    """(event, property)"""
    attributes: tuple[str, ...]
    audiences: tuple[str, ...]
    segments: tuple[str, ...]


def names(rule: Rule) -> Names:
    """The names that a rule uses."""
    events, properties, attributes = set(), set(), set()
    members: dict[str, set[str]] = {"audience": set(), "segment": set()}
    for condition in rule.conditions:
        match condition:
            case OnEvents() | Sequence():
                for of in events_of(condition):
                    events.add(of.event)
                    properties |= {(of.event, test.column) for test in of.where}
                if isinstance(condition, Total | Extreme | Distinct):
                    properties.add((condition.events.event, condition.of))
                if isinstance(condition, Sequence) and condition.same is not None:
                    properties |= {(of.event, condition.same) for of in events_of(condition)}
            case Member(kind=kind, name=name):
                members[kind].add(name)
            case Split():
                pass
            case _:
                attributes.add(condition.column)
    return Names(
        events=tuple(sorted(events)),
        properties=tuple(sorted(properties)),
        attributes=tuple(sorted(attributes)),
        audiences=tuple(sorted(members["audience"])),
        segments=tuple(sorted(members["segment"])),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """What a rule compares with values of a type: a property of an event, or an attribute (`event` is None)."""

    event: str | None
    name: str
    type: ColumnType

    @property
    def fitting(self) -> tuple[ColumnType, ...]:
        """Types of values that can be compared at all: a timestamp lies on a day."""
        return ("date", "timestamp") if self.type == "date" and self.event is None else (self.type,)


def operands(rule: Rule) -> tuple[Operand, ...]:
    """The operands of a rule, each once, in the order of the rule; `is set` compares nothing."""
    found: dict[Operand, None] = {}
    for condition in rule.conditions:
        of_events = events_of(condition)
        tests: list[tuple[str | None, object]] = [(of.event, test) for of in of_events for test in of.where]
        for event, test in tests if of_events else [(None, condition)]:
            if isinstance(test, Near | TodayComparison | Anniversary):
                found[Operand(event=None, name=test.column, type="date" if compares_days(test) else "timestamp")] = None
            elif isinstance(test, Comparison | OneOf | Between):
                found[Operand(event=event, name=test.column, type=test.type)] = None
        if isinstance(condition, Total | Extreme):
            found[Operand(event=condition.events.event, name=condition.of, type="double")] = None
    return tuple(found)


def cycle(rules: Mapping[str, Rule]) -> tuple[str, ...] | None:
    """A cycle of segments: each one's rule refers to the next, the last one's to the first. None if there is none.

    `rules` by segment name. The cycle begins with its smallest name.
    """
    try:
        TopologicalSorter(_graph(rules)).prepare()
    except CycleError as exc:
        members = list(reversed(exc.args[1][1:]))  # CycleError lists them from the referenced to the referrer
        first = members.index(min(members))
        return (*members[first:], *members[:first])
    return None


def evaluation_order(rules: Mapping[str, Rule]) -> tuple[str, ...]:
    """The segments, each after those its rule refers to. Raises `UserError` SEGMENT_CYCLE, which names the cycle."""
    if members := cycle(rules):
        shown = " -> ".join((*members, members[0]))
        raise UserError("SEGMENT_CYCLE", f"segments are members of each other: {shown}", segments=list(members))
    return tuple(name for name in TopologicalSorter(_graph(rules)).static_order() if name in rules)


def check_members(name: str, rules: Mapping[str, Rule], audiences: Collection[str], written: str | None = None) -> None:
    """Check that a segment's rule refers only to existing audiences and segments, and is not part of a cycle.

    `rules` by segment name, including the new one; `written` is its text, None if it was given in JSON. Raises
    `UserError` UNKNOWN_AUDIENCE, UNKNOWN_SEGMENT, SEGMENT_CYCLE, which point at the character (`position`, `marked`) or
    name the path in the JSON (`path`).
    """
    rule = rules[name]
    referenced = names(rule)
    for audience in referenced.audiences:
        if audience not in audiences:
            hint = f"; {audience} is a segment: write `in segment {audience}`" if audience in rules else ""
            message = f"the rule says `in audience {audience}`, but this audience does not exist{hint}"
            error = _located(rule, written, Member(kind="audience", name=audience), "UNKNOWN_AUDIENCE", message)
            raise UserError("UNKNOWN_AUDIENCE", error.message, audience=audience, **error.detail)
    for segment in referenced.segments:
        if segment not in rules:
            hint = f"; {segment} is an audience: write `in audience {segment}`" if segment in audiences else ""
            message = f"the rule says `in segment {segment}`, but this segment does not exist{hint}"
            error = _located(rule, written, Member(kind="segment", name=segment), "UNKNOWN_SEGMENT", message)
            raise UserError("UNKNOWN_SEGMENT", error.message, segment=segment, **error.detail)
    if (members := cycle(rules)) and name in members:
        following = members[(members.index(name) + 1) % len(members)]
        message = f"segments are members of each other: {' -> '.join((*members, members[0]))}"
        error = _located(rule, written, Member(kind="segment", name=following), "SEGMENT_CYCLE", message)
        raise UserError("SEGMENT_CYCLE", error.message, segments=list(members), **error.detail)
    evaluation_order(rules)


def _located(rule: Rule, written: str | None, member: Member, code: Code, message: str) -> UserError:
    """The error of a membership, at its first occurrence in the rule."""
    if written is None:
        path = next(
            f"all[{n}].{'none' if group.negated else 'any'}[{k}].name"
            for n, group in enumerate(rule.groups)
            for k, condition in enumerate(group.conditions)
            if condition == member
        )
        return UserError(code, f"at {path}: {message}", path=path)
    source = Source(text=written, code=code)
    found = tokens(source, RULES)
    membership = ("in", member.kind, member.name)
    for words in zip(found, found[1:], found[2:], strict=False):
        kinds = tuple(word.kind for word in words[:2])
        if kinds == ("word", "word") and (words[0].text.lower(), words[1].text.lower(), words[2].text) == membership:
            return source.fault(words[2].at, message)
    return UserError(code, message)  # the text belongs to another rule


def referrers(kind: Kind, name: str, rules: Mapping[str, Rule]) -> tuple[str, ...]:
    """The segments whose rules refer to an audience or a segment."""
    member = Member(kind=kind, name=name)
    return tuple(segment for segment in sorted(rules) if member in rules[segment].conditions)


def dependents(name: str, rules: Mapping[str, Rule]) -> tuple[str, ...]:
    """The segment, then those whose rules refer to it, directly or through others; each after those it refers to."""
    found = [name]
    for segment in evaluation_order(rules):
        if not set(found).isdisjoint(names(rules[segment]).segments):
            found.append(segment)
    return tuple(found)


def excluded_audiences(rule: Rule) -> frozenset[str]:
    """Audiences none of whose members is in a segment of this rule, by its words alone."""
    return frozenset(
        condition.name
        for group in rule.groups
        if group.negated
        for condition in group.conditions
        if isinstance(condition, Member) and condition.kind == "audience"
    )


def _graph(rules: Mapping[str, Rule]) -> dict[str, tuple[str, ...]]:
    return {name: names(rules[name]).segments for name in sorted(rules)}
