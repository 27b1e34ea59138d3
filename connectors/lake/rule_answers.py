"""Answers about rules, by one SQL for every engine: counts by part, names that nobody has, values of other types."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from connectors.lake.activity_relations import ActivitySource
from schemas.activity import PROPERTIES
from schemas.activity_columns import ATTRIBUTE_TYPES, PROPERTY_TYPES
from schemas.columns import ColumnType
from schemas.records import as_record
from segmentation.expressions.sql import BoundSql
from segmentation.rules.nodes import Group, Rule
from segmentation.rules.references import Operand, names, operands
from segmentation.rules.sql import breakdown_sql
from segmentation.rules.suggestions import RuleSuggestion, suggestions
from segmentation.rules.truths import true_without_facts

AskedT_contra = TypeVar("AskedT_contra", contravariant=True)
Ask = Callable[[BoundSql], Sequence[tuple[Any, ...]]]
"""Runs a query; returns its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistyped:
    """An operand of a rule whose type no value has; `found` counts its values by their types."""

    operand: Operand
    found: Mapping[ColumnType, int]

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        o = self.operand
        return {"event": o.event, "name": o.name, "compared_as": o.type, "values": dict(self.found)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownNames:
    """Names in a rule that the archive has never had, and what to write instead of some of its conditions."""

    events: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    suggestions: tuple[RuleSuggestion, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data, as part of an answer."""
        return {
            "unseen_events": list(self.events),
            "unseen_attributes": list(self.attributes),
            "suggestions": [as_record(one) for one in self.suggestions],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """How many known users a rule matches, each of its groups, and each of its conditions, which never negate.

    `users`: the first of the members by id, as many as were asked for.
    """

    members: int
    groups: Sequence[int]
    conditions: Sequence[int]
    users: Sequence[str]


class RuleQueries(Protocol[AskedT_contra]):
    """What every engine answers. Methods raise as the engine's class says."""

    def breakdown(self, question: AskedT_contra, at: datetime, users: int) -> Breakdown:
        """The number of known users in the segment at an instant, in each group and each condition.

        `users`: how many to name.
        """
        ...

    def unknown_names(self, question: AskedT_contra) -> UnknownNames:
        """See `unknown_names_of`."""
        ...

    def mistyped(self, question: AskedT_contra) -> Sequence[Mistyped]:
        """See `mistyped_of`."""
        ...

    def unknown_members(self, question: AskedT_contra) -> dict[str, int]:
        """For each audience, the number of members who are not known, so that rules do not consider them."""
        ...

    def strangers(self, question: AskedT_contra) -> dict[str, int]:
        """For each audience, the number of its members whom the rule matches although they are not known.

        That depends on no instant: nothing but memberships is known of them.
        """
        ...


def strangers_of(ask: Ask, source: ActivitySource, matched: BoundSql, audiences: Iterable[str]) -> dict[str, int]:
    """For each audience, how many of the users of a query are its members, and not known. `source`: with members."""
    found = {}
    for name in audiences:
        users = source.unknown(f"{matched.text} INTERSECT {source.members['audience', name]}")
        [[found[name]]] = ask(BoundSql(f"SELECT count(*) FROM ({users})", matched.parameters))  # noqa: S608  # ours
    return found


def breakdown_of(ask: Ask, source: ActivitySource, rule: Rule, at: datetime, users: int) -> Breakdown:
    """The members, groups and conditions of a rule. `users`: how many to name, 0 where the engine is not DuckDB."""
    relations = source.relations(rule, include_all=any(map(true_without_facts, _parts(rule))))
    [found] = ask(breakdown_sql(rule, relations, at, users))
    ends = 1, 1 + len(rule.groups), 1 + len(rule.groups) + len(rule.conditions)
    return Breakdown(
        members=found[0],
        groups=found[ends[0] : ends[1]],
        conditions=found[ends[1] : ends[2]],
        users=found[ends[2]] or (),
    )


def unknown_names_of(
    ask: Ask, source: ActivitySource, rule: Rule, events_with: Callable[[Sequence[str]], Mapping[str, Sequence[str]]]
) -> UnknownNames:
    """Events and attributes that the rule names but the archive has never had, and what to write instead.

    `events_with`: by property, the events that have it.
    """
    named, text = names(rule), source.dialect.parameter("string")
    # A name is searched until it is found; most exist, and those are in the first rows.
    event = f"SELECT 1 FROM ({source.event_rows()}) WHERE event = {text} LIMIT 1"  # noqa: S608  # ours
    has_key = source.dialect.has_key("attributes", text)
    attribute = f"SELECT 1 FROM ({source.profile_rows()}) WHERE {has_key} LIMIT 1"  # noqa: S608  # ours
    events = [name for name in named.events if not ask(BoundSql(event, (name,)))]
    attributes = [name for name in named.attributes if not ask(BoundSql(attribute, (name,)))]
    properties = events_with(attributes) if attributes else {}
    instead = tuple(suggestions(rule, attributes, properties))
    return UnknownNames(events=tuple(events), attributes=tuple(attributes), suggestions=instead)


def mistyped_of(ask: Ask, source: ActivitySource, rule: Rule) -> Sequence[Mistyped]:
    """Operands that the rule compares with a type that no value has; for attributes, no current value of a user."""
    compared, found = operands(rule), list[Mistyped]()
    values = _types_of_attributes(ask, source, compared)
    for operand in compared:
        if operand.event is not None:
            values[operand] = _types_of_property(ask, source, operand)
        if values[operand] and not values[operand].keys() & set(operand.fitting):
            found.append(Mistyped(operand=operand, found=values[operand]))
    return found


def _parts(rule: Rule) -> Iterator[Rule]:
    """Each group and each condition as a rule of its own."""
    groups = [*rule.groups, *(Group(conditions=(condition,)) for condition in rule.conditions)]
    return (replace(rule, groups=(group,)) for group in groups)


def _types_of_attributes(
    ask: Ask, source: ActivitySource, compared: Sequence[Operand]
) -> dict[Operand, Mapping[ColumnType, int]]:
    """For each compared attribute, the number of users who have it in each type, in one pass over their profiles."""
    attributes = [operand for operand in compared if operand.event is None]
    if not attributes:
        return {}
    profiles = source.latest_profiles([operand.name for operand in attributes])
    counts = [
        f"count(a{n}.{source.dialect.identifier(type_)})" for n in range(len(attributes)) for type_ in ATTRIBUTE_TYPES
    ]
    sql = f"SELECT {', '.join(counts)} FROM ({profiles.text})"  # noqa: S608  # ours
    found = iter(ask(BoundSql(sql, profiles.parameters))[0])
    return {o: {type_: n for type_, n in zip(ATTRIBUTE_TYPES, found, strict=False) if n} for o in attributes}


def _types_of_property(ask: Ask, source: ActivitySource, operand: Operand) -> Mapping[ColumnType, int]:
    """The number of values of a property in each type; stops at the first value of a type that fits."""
    text = source.dialect.parameter("string")
    rows = f"FROM ({source.event_rows()}) WHERE event = {text}"
    value = f"{PROPERTIES}[{text}]"
    fits = " OR ".join(f"{value}.{source.dialect.identifier(type_)} IS NOT NULL" for type_ in operand.fitting)
    given = (operand.event, *(operand.name for _ in operand.fitting))
    if ask(BoundSql(f"SELECT 1 {rows} AND ({fits}) LIMIT 1", given)):
        return {operand.type: 1}
    counts = ", ".join(f"count({value}.{source.dialect.identifier(type_)})" for type_ in PROPERTY_TYPES)
    sql = f"SELECT {counts} {rows}"
    [found] = ask(BoundSql(sql, (*(operand.name for _ in PROPERTY_TYPES), operand.event)))
    return {type_: n for type_, n in zip(PROPERTY_TYPES, found, strict=True) if n}
