"""Why a user is in a segment or not: what each condition of its rule found in the archive."""

from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import duckdb

from connectors.lake.activity_relations import Activity
from schemas.activity_columns import PROPERTY_TYPES
from segmentation.expressions.dialects import DUCKDB
from segmentation.expressions.literals import micros
from segmentation.expressions.nodes import Presence
from segmentation.rules.aggregate_value import Aggregate, Aggregated, Counted, aggregated
from segmentation.rules.events import Events, OnEvents
from segmentation.rules.nodes import Count, Ever, Rule
from segmentation.rules.references import names
from segmentation.rules.sequence_progress import Progress, Reached, progress
from segmentation.rules.sequences import Sequence
from segmentation.rules.sql import OfEvents, Relations, counted_sql, events_sql, explain_sql, steps_sql

EVIDENCE: Final = 'occurred_at, event_id, given_id, "partition", "offset"'


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedEvent:
    """One event: when it occurred, its position in the log, and its id if its producer gave one."""

    occurred_at: datetime
    event_id: str | None
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """How far the user has come in a sequence. `events`: of each step, those it looks back to, latest first."""

    progress: Progress
    events: Several[Several[CountedEvent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Why a `user` is in a segment or not.

    `conditions`: the result of each, in the order of the rule. `events`: for each condition on events, the events that
    it asks for, latest first. `aggregated`: the value of each aggregate. `values`: the value of each attribute that the
    rule names; None if it has none.
    """

    user: str
    member: bool
    conditions: Several[bool]
    events: Mapping[OnEvents, Several[CountedEvent]]
    aggregated: Mapping[Aggregate, Aggregated]
    followed: Mapping[Sequence, Followed]
    values: Mapping[str, object]


def explained(
    connection: duckdb.DuckDBPyConnection, activity: Activity, rule: Rule, at: datetime, user_id: str
) -> Explained | None:
    """Why a user is in the segment of a rule at an instant or not. None if the rule does not ask about the user."""
    relations = activity.relations(rule, include_all=True)
    sql = explain_sql(rule, relations, at, user_id)
    found = connection.execute(sql.text, sql.parameters).fetchone()
    if found is None:
        return None

    def events(condition: OfEvents) -> list[CountedEvent]:
        sql = events_sql(condition, relations, at, user_id, EVIDENCE)
        return _deduplicated(connection.execute(sql.text, sql.parameters))

    def followed(sequence: Sequence) -> Followed:
        numbers = range(len(sequence.steps))
        since = [at - timedelta(seconds=sequence.horizon_s(n)) for n in numbers]
        of_steps = [[one for one in events(_of_step(sequence, n)) if one.occurred_at > since[n]] for n in numbers]
        return Followed(progress=_progress(connection, relations, sequence, at, user_id), events=of_steps)

    def value(condition: Aggregate) -> Aggregated:
        sql = counted_sql(condition, relations, at, user_id)
        rows = connection.execute(sql.text, sql.parameters).fetchall()
        return aggregated(condition, [Counted(us, number or 0) for us, number in rows])

    return Explained(
        user=user_id,
        member=bool(found[0]),
        conditions=tuple(map(bool, found[1:])),
        events={one: events(_asked(one)) for one in rule.conditions if isinstance(one, OnEvents)},
        aggregated={one: value(one) for one in rule.conditions if isinstance(one, Aggregate)},
        followed={one: followed(one) for one in rule.conditions if isinstance(one, Sequence)},
        values=_values(connection, activity, rule, user_id),
    )


def _asked(condition: OnEvents) -> OfEvents:
    """A condition that asks for the same events: those of an aggregate have the property."""
    if isinstance(condition, Aggregate):
        return _having(condition.of, condition.events, condition.within_s)
    assert isinstance(condition, OfEvents)  # noqa: S101  # no others
    return condition


def _of_step(sequence: Sequence, number: int) -> OfEvents:
    """A condition that asks for the events of a step as far back as the sequence does; further, if they have times."""
    return _having(sequence.same, sequence.steps[number].events, sequence.horizon_s(number))


def _having(name: str | None, events: Events, within_s: int | None) -> OfEvents:
    """A condition that asks for events that have a property, in a window unless they have times."""
    if name is not None:
        events = replace(events, where=(*events.where, Presence(column=name, present=True)))
    if events.since is not None or within_s is None:
        return Ever(events=events)
    return Count(events=events, quantity="at_least", times=1, within_s=within_s)


def _progress(
    connection: duckdb.DuckDBPyConnection, relations: Relations, sequence: Sequence, at: datetime, user_id: str
) -> Progress:
    sql = steps_sql(sequence, relations, at, user_id)
    rows = connection.execute(sql.text, sql.parameters).fetchall()
    end = 1 + len(sequence.steps)
    found = [Reached(row[0], row[1:end], _value(row[end:])) for row in rows]
    return progress(sequence, found, micros(at))


def _value(typed: Several[object]) -> object:
    """The value in the columns of `same`; a number that is NaN is none."""
    by_type = dict(zip(PROPERTY_TYPES, typed, strict=False))
    return next((one for one in by_type.values() if one is not None and one == one), None)  # noqa: PLR0124  # NaN


def _deduplicated(result: duckdb.DuckDBPyConnection) -> list[CountedEvent]:
    """Events without their copies: of each, the one with the lowest offset."""
    found: dict[tuple[Any, ...], CountedEvent] = {}
    for occurred_at, identity, given_id, partition, offset in result.fetchall():
        event = CountedEvent(occurred_at=occurred_at, event_id=given_id, partition=partition, offset=offset)
        earliest = found.setdefault((occurred_at, identity), event)
        if offset < earliest.offset:
            found[occurred_at, identity] = event
    return list(found.values())


def _values(connection: duckdb.DuckDBPyConnection, activity: Activity, rule: Rule, user_id: str) -> dict[str, object]:
    attributes = names(rule).attributes
    if not attributes:
        return {}
    profiles = activity.latest_profiles(attributes)
    columns = ", ".join(f"a{number}" for number in range(len(attributes)))
    sql = f"SELECT {columns} FROM ({profiles.text}) WHERE user_id = {DUCKDB.parameter('string')}"  # noqa: S608  # ours
    found = connection.execute(sql, (*profiles.parameters, user_id)).fetchone() or (None,) * len(attributes)
    return {name: _set_value(value) for name, value in zip(attributes, found, strict=True)}


def _set_value(value: Mapping[str, object] | None) -> object:
    """The value that is set, from a struct with one field for each type."""
    return next((one for one in (value or {}).values() if one is not None), None)
