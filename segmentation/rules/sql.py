"""Rules -> SQL over relations, in an engine's dialect, with every value and every name of a rule bound as a parameter.

Texts hold `?`, our own column names, and the quoted names of the relations. The events are read once: grouped first by
identity, since copies of an event count once, then by user. The answer is the one at an instant T.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple, assert_never, cast

from schemas.activity_columns import PROPERTY_TYPES
from schemas.columns import ColumnType
from segmentation.expressions.dialects import DUCKDB, Dialect
from segmentation.expressions.literals import EPOCH, SECOND_US, micros
from segmentation.expressions.sql import BoundSql, joined, parameter, to_sql
from segmentation.rules.aggregate_sql import amounts_sql, numbers_sql, too_large_sql, values_sql
from segmentation.rules.aggregates import Extreme, Total
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
    parts_of,
)
from segmentation.rules.sequence_sql import key_columns, sequence_sql, sequence_steps_sql
from segmentation.rules.sequences import Sequence
from segmentation.rules.splits import BUCKETS, DIGITS
from segmentation.rules.state import need
from segmentation.rules.truths import false_without
from segmentation.rules.typed import MAPS, typed, typed_at

SIGNS: Final = {"at_least": ">=", "at_most": "<=", "exactly": "=", "before": "<", "from": ">="}
COUNTED: Final = "SELECT user_id FROM c"
USER: Final = "{user}"
"""Stands in conditions for the user until the relation that they are read from is known."""

Aggregate = Total | Extreme | Distinct
OfEvents = Count | Ever | Never | Seen | SeenNear
"""Conditions that are answered by one pass over all events."""
ValueOf = Callable[[str, ColumnType], BoundSql]
"""An expression over a row of a relation: the value of a name if it has one of that type, else null."""


def map_value(name: str, type_: ColumnType) -> BoundSql:
    """The value in the map of its type, for DuckDB."""
    return BoundSql(f"{MAPS[type_]}[{DUCKDB.parameter('string')}]", (name,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """The relations, by name or as queries. No column except those of maps is null; further columns are ignored.

    events: user_id VARCHAR, event VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR, and maps from property to value:
    numbers MAP(VARCHAR, DOUBLE), strings MAP(VARCHAR, VARCHAR), booleans MAP(VARCHAR, BOOLEAN).
    profiles: a row per user: user_id, maps as for events from attribute to value, and dates MAP(VARCHAR, DATE),
    timestamps MAP(VARCHAR, TIMESTAMPTZ). A name is in one of the maps.
    known_users: a row per user: user_id; an answer has no others but members whom the rule admits. None if the rule is
    false for users without any facts (`truths.true_without_facts`): then it asks about all users of other relations.
    members: kind VARCHAR (audience, segment), name VARCHAR, user_id VARCHAR; read if a rule refers to one.
    `profiles_of_users`: the profiles of only the users of a query (one column), if that is less work than reading all.
    `event_value` and `profile_value`: expressions for the value of a name that is stored elsewhere than in those maps.
    event_id may be of any type: rows equal in it, and in user, event and time, are one event.
    `dialect`: of the engine that has the relations.
    """

    events: str | BoundSql = "events"
    profiles: str | BoundSql = "profiles"
    known_users: str | BoundSql | None = "known_users"
    members: str | BoundSql = "members"
    profiles_of_users: Callable[[str], BoundSql] | None = None
    event_value: ValueOf = map_value
    profile_value: ValueOf = map_value
    dialect: Dialect = DUCKDB


def members_sql(rule: Rule, relations: Relations, at: datetime) -> BoundSql:
    """`user_id` of each member of the segment at this instant (aware), in no order."""
    query = _Query(rule, relations, at)
    matched = query.rule()
    source = query.source()
    return source.query("SELECT ", source.user, " AS user_id FROM ", source.joins, " WHERE ", matched)


def count_sql(rule: Rule, relations: Relations, at: datetime) -> BoundSql:
    """The number of members: one row with one number."""
    query = _Query(rule, relations, at)
    matched = query.rule()
    source = query.source()
    return source.query("SELECT count(*) FROM ", source.joins, " WHERE ", matched)


def breakdown_sql(rule: Rule, relations: Relations, at: datetime, users: int) -> BoundSql:
    """One row: the number of members, of users in each group, and of those for whom each condition is true.

    Last, the first `users` members by id, as a list. The relations must have all users for whom any part is true.
    """
    query = _Query(rule, relations, at)
    parts = [query.rule(), *map(query.group, rule.groups), *map(query.condition, rule.conditions)]
    source = query.source(of_parts=True)
    # Named columns of a subquery, so that each condition is evaluated once for each user.
    columns = [_sql(", ", part, f" AS b{number}") for number, part in enumerate(parts)]
    counts = ", ".join(f"count(CASE WHEN b{number} THEN true END)" for number in range(len(parts)))
    first = f"min(user_id, {users}) FILTER (b0)" if users else "NULL"
    rows = _sql("(SELECT ", source.user, " AS user_id", *columns, " FROM ", source.joins, ")")
    return source.query(f"SELECT {counts}, {first} FROM ", rows)  # noqa: S608  # ours


def explain_sql(rule: Rule, relations: Relations, at: datetime, user_id: str) -> BoundSql:
    """For a user whom the rule asks about, one row: whether it is true, then each of `rule.conditions`. Else none."""
    query = _Query(rule, relations, at, user_id)
    answers = [query.rule(), *map(query.condition, rule.conditions)]
    columns = BoundSql(", ".join(answer.text for answer in answers), tuple(p for a in answers for p in a.parameters))
    source = query.source()
    user = _sql(" WHERE ", source.user, " = ", query.text(user_id))
    return source.query("SELECT ", columns, " FROM ", source.joins, user)


def events_sql(condition: OfEvents, relations: Relations, at: datetime, user_id: str, columns: str) -> BoundSql:
    """Columns of the relation (a list, as SQL, with occurred_at) for the events of a user that a condition refers to.

    For a count, those in the window. All copies are included, the latest first.
    """
    return _Query(Rule(groups=(Group(conditions=(condition,)),)), relations, at, user_id).events(condition, columns)


def steps_sql(sequence: Sequence, relations: Relations, at: datetime, user_id: str) -> BoundSql:
    """Of a user, each moment at which a step of a sequence was reached, or will be unless more events come.

    Columns: the moment in microseconds, a flag for each step, and of `same`, if there is one, the value by type.
    """
    return _Query(Rule(groups=(Group(conditions=(sequence,)),)), relations, at, user_id).steps(sequence)


def counted_sql(condition: Aggregate, relations: Relations, at: datetime, user_id: str) -> BoundSql:
    """Of a user, a row for each number or each different value that counts: its moment, in microseconds, and number.

    Numbers of sums and averages are in steps, those of values are null.
    """
    return _Query(Rule(groups=(Group(conditions=(condition,)),)), relations, at, user_id).counted_rows(condition)


def left_out_sql(total: Total, relations: Relations, at: datetime) -> BoundSql:
    """One row: the users with more events than count, and the values that are too large to be summed."""
    return _Query(Rule(groups=(Group(conditions=(total,)),)), relations, at).left_out(total)


def _sql(*parts: str | BoundSql) -> BoundSql:
    pieces = [BoundSql(part, ()) if isinstance(part, str) else part for part in parts]
    return BoundSql("".join(piece.text for piece in pieces), tuple(p for piece in pieces for p in piece.parameters))


def _counts_copies(condition: OfEvents) -> bool:
    """True if counting the copies of an event would change the answer."""
    if not isinstance(condition, Count):
        return False
    return condition.times > 1 or (condition.times == 1 and condition.quantity != "at_least")


@dataclass(slots=True)
class _Values:
    """Columns for the values of names, created on first use: `numbers['amount'] AS "v0"`."""

    value_of: ValueOf
    names: dict[tuple[str, ColumnType], str] = field(default_factory=dict)

    def column(self, name: str, type_: ColumnType) -> str:
        return self.names.setdefault((name, type_), f"v{len(self.names)}")

    def selected(self) -> BoundSql:
        """The columns, to follow other columns."""
        return _sql(*(_sql(", ", self.value_of(*named), f" AS {column}") for named, column in self.names.items()))


class _Source(NamedTuple):
    """SQL before SELECT, SQL after FROM, and the expression for the user."""

    before: BoundSql
    joins: BoundSql
    user: str

    def query(self, *parts: str | BoundSql) -> BoundSql:
        """A query with what stands before it, about this user."""
        found = _sql(self.before, *parts)
        return BoundSql(found.text.replace(USER, self.user), found.parameters)


class _Query:
    """The conditions of a rule over one relation, with a row per user it asks about (`k`) that has all they refer to.

    `e` are the events of one identity, `c` the events of a user, `m` the memberships, `a` the attributes.
    """

    def __init__(self, rule: Rule, relations: Relations, at: datetime, user_id: str | None = None) -> None:
        if at.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        self._rule = rule
        self._relations = relations
        self._at = micros(at)
        self._user = user_id
        self._properties = _Values(relations.event_value)
        self._attributes = _Values(relations.profile_value)
        self._events: dict[Events, str] = {}
        self._sequences: dict[Sequence, str] = {}
        self._of_user: dict[OfEvents, str] = {}
        self._aggregates: dict[Total | Distinct, str] = {}
        self._members: dict[Member, str] = {}
        self._only_counted = False

    def text(self, value: str) -> BoundSql:
        """A text, bound."""
        return BoundSql(self._parameter("string"), (value,))

    def _moment(self, at_us: int) -> BoundSql:
        return BoundSql(self._parameter("timestamp"), (at_us,))

    def _parameter(self, type_: ColumnType) -> str:
        return self._relations.dialect.parameter(type_)

    def _from(self, relation: str | BoundSql) -> BoundSql:
        if isinstance(relation, str):
            return BoundSql(self._relations.dialect.identifier(relation), ())
        return _sql("(", relation, ")")

    def rule(self) -> BoundSql:
        """SQL that is true if all groups are."""
        return joined(" AND ", map(self.group, self._rule.groups))

    def condition(self, condition: RuleCondition) -> BoundSql:
        """SQL that is true if a condition is; never null."""
        match condition:
            case OnEvents():
                return self._on_events(condition)
            case Sequence():
                name = self._sequences.setdefault(condition, f"q{len(self._sequences)}")
                return BoundSql(f"({name}.user_id IS NOT NULL)", ())
            case Member():
                column = self._members.setdefault(condition, f"m{len(self._members)}")
                return BoundSql(f"coalesce(m.{column}, false)", ())
            case Split(name=name, begin=begin, before=before):
                text = _sql(self.text(f"{name}:"), f" || {USER}")
                bucket = self._relations.dialect.bucket(text.text, DIGITS, BUCKETS)
                sign, end = (">=", begin) if begin else ("<", before)
                compared = f"({bucket} {sign} {self._parameter('long')})"
                return BoundSql(compared, (*text.parameters, end))
            case _:
                at = EPOCH + timedelta(microseconds=self._at)
                tree = typed_at(condition, self._attributes.column, self._rule.timezone, at)
                return to_sql(tree, "a", self._relations.dialect)

    def _on_events(self, condition: OnEvents) -> BoundSql:
        match condition:
            case Extreme():
                return joined(" AND ", map(self.condition, parts_of(condition)))
            case Total() | Distinct():
                return self._aggregated(condition)
            case Count():
                sign = SIGNS[condition.quantity]
                return BoundSql(
                    f"(coalesce({self._number(condition)}, 0) {sign} {self._parameter('long')})", (condition.times,)
                )
            case Ever() | Never():
                sign = ">" if isinstance(condition, Ever) else "="
                return BoundSql(f"(coalesce({self._number(condition)}, 0) {sign} 0)", ())
            case Seen():
                seen = self._number(condition)
                compared = f"({seen} IS NOT NULL AND {seen} {SIGNS[condition.bound]} {self._parameter('timestamp')})"
                return BoundSql(compared, (parameter(condition.moment),))
            case SeenNear(distance=distance):
                seen = self._number(condition)
                ends = ((">", distance.after_s), ("<=", distance.until_s))
                moments = [(sign, self._moment(self._at + s * SECOND_US)) for sign, s in ends if s is not None]
                within = [_sql(f" AND {seen} {sign} ", moment) for sign, moment in moments]
                return _sql(f"({seen} IS NOT NULL", *within, ")")
            case _:
                raise TypeError(f"unknown condition {condition}")

    def _aggregated(self, condition: Total | Distinct) -> BoundSql:
        name, long = self._aggregates.setdefault(condition, f"g{len(self._aggregates)}"), self._parameter("long")
        match condition:
            case Distinct(quantity=quantity, times=times):
                return BoundSql(f"(coalesce({name}.number, 0) {SIGNS[quantity]} {long})", (times,))
            case Total(function="sum", operator=sign, steps=steps):
                return BoundSql(f"(coalesce({name}.total, 0) {sign} {long})", (steps,))
            case Total(operator=sign, steps=steps):
                compared = f"{name}.total {sign} {long} * {name}.number"
                return BoundSql(f"({name}.number IS NOT NULL AND {compared})", (steps,))

    def source(self, *, of_parts: bool = False) -> _Source:
        """The relation that the conditions so far are read from.

        If a rule is false for users without any of its events, the events come first: profiles and memberships of other
        users are not read. `of_parts`: they are, since a part of the rule may be true for them.
        """
        needed: list[tuple[str, Callable[[], BoundSql]]] = [
            *([("c", self._counted)] if self._of_user else []),
            *((name, partial(self._followed, sequence)) for sequence, name in self._sequences.items()),
            *((name, partial(self._of_aggregate, condition)) for condition, name in self._aggregates.items()),
            *([("m", self._memberships)] if self._members else []),
            *([("a", self._profiles)] if self._attributes.names else []),
        ]
        before = BoundSql("", ())
        if self._relations.known_users is not None:
            user_column, joins = "k.user_id", _sql(self._asked(self._relations.known_users), " AS k")
        elif (
            not of_parts
            and len(needed) > 1
            and self._of_user
            and false_without(self._rule, lambda condition: isinstance(condition, OfEvents | Extreme))
        ):
            counted, self._only_counted, dialect = self._counted(), True, self._relations.dialect
            before = _sql(
                dialect.computed_once("c"), "(SELECT * FROM (", counted, ") AS c WHERE ", self._required(), ") "
            )
            user_column, joins = "c.user_id", BoundSql("c", ())
            needed = needed[1:]
        else:
            return self._outer_join(needed)
        others = [
            _sql(" LEFT JOIN (", relation(), f") AS {name} ON {name}.user_id = {user_column}")
            for name, relation in needed
        ]
        return _Source(before=before, joins=_sql(joins, *others), user=user_column)

    def _asked(self, known_users: str | BoundSql) -> BoundSql:
        """The users whom the rule asks about, each once."""
        known, members = self._from(known_users), self._from(self._relations.members)
        if not self._rule.admits:
            return known
        admitted = joined(" OR ", map(self._of_member, self._rule.admits))
        return _sql("(SELECT user_id FROM ", known, " UNION SELECT user_id FROM ", members, " WHERE ", admitted, ")")

    def _of_member(self, member: Member) -> BoundSql:
        text = self._parameter("string")
        return BoundSql(f"(kind = {text} AND name = {text})", (member.kind, member.name))

    def _outer_join(self, needed: list[tuple[str, Callable[[], BoundSql]]]) -> _Source:
        (user_column, joins), *others = [
            (f"{name}.user_id", _sql("(", relation(), f") AS {name}")) for name, relation in needed
        ]
        for user, relation in others:
            joins = _sql(joins, " FULL JOIN ", relation, f" ON {user} = {user_column}")
            user_column = f"coalesce({user_column}, {user})"
        return _Source(before=BoundSql("", ()), joins=joins, user=user_column)

    def _required(self) -> BoundSql:
        """Conditions on events alone that must be true."""
        conditions: list[BoundSql] = []
        for group in self._rule.groups:
            on_events = [condition for condition in group.conditions if isinstance(condition, OfEvents | Extreme)]
            if group.negated:
                conditions += [_sql("(NOT ", self.condition(condition), ")") for condition in on_events]
            elif len(on_events) == len(group.conditions):
                conditions.append(self.group(group))
        return joined(" AND ", conditions)

    def group(self, group: Group) -> BoundSql:
        """SQL that is true if a group is."""
        one = joined(" OR ", map(self.condition, group.conditions))
        return _sql("(NOT ", one, ")") if group.negated else one

    def _number(self, condition: OfEvents) -> str:
        return f"c.{self._of_user.setdefault(condition, f'c{len(self._of_user)}')}"

    def _counted(self) -> BoundSql:
        """The aggregates over the events of each user who has any."""
        numbers = [_sql(", ", self._aggregate(condition), f" AS {c}") for condition, c in self._of_user.items()]
        return _sql("SELECT e.user_id", *numbers, " FROM (", self._identities(), ") AS e GROUP BY e.user_id")

    def _aggregate(self, condition: OfEvents) -> BoundSql:
        # CASE, since DuckDB's planning time grows with the square of the number of FILTERs
        matched = f"e.{self._events.setdefault(condition.events, f'e{len(self._events)}')}"
        match condition:
            case Count(within_s=int(within_s)):
                since = self._moment(self._at - within_s * SECOND_US)
                return _sql(f"count(CASE WHEN {matched} AND e.occurred_at > ", since, " THEN true END)")
            case Count() | Ever() | Never():
                return BoundSql(f"count(CASE WHEN {matched} THEN true END)", ())
            case Seen(which=which) | SeenNear(which=which):
                least = "min" if which == "first" else "max"
                return BoundSql(f"{least}(CASE WHEN {matched} THEN e.occurred_at END)", ())
            case _:
                assert_never(condition)

    def _identities(self) -> BoundSql:
        """Each event once, and the conditions it matches: those that one of its copies matches.

        Rows that match none are left out. Copies stay if no condition counts them.
        """
        matches = {e: self._matches(events, self._properties) for events, e in self._events.items()}
        scanned = self._scanned("user_id, event, occurred_at, event_id", self._properties.selected())
        any_match = joined(" OR ", matches.values()) if self._properties.names else BoundSql("true", ())
        if not any(map(_counts_copies, self._of_user)):
            columns = [_sql(", ", match, f" AS {e}") for e, match in matches.items()]
            return _sql("SELECT user_id, occurred_at", *columns, " FROM (", scanned, ") AS s WHERE ", any_match)
        columns = [_sql(", bool_or(", match, f") AS {e}") for e, match in matches.items()]
        where = _sql(" WHERE ", any_match, " GROUP BY user_id, event, occurred_at, event_id")
        return _sql("SELECT user_id, occurred_at", *columns, " FROM (", scanned, ") AS s", where)

    def _matches(self, events: Events, values: _Values) -> BoundSql:
        trees = (typed(test, PROPERTY_TYPES, values.column, None) for test in events.where)
        tests = [to_sql(tree, "s", self._relations.dialect) for tree in trees]
        for sign, end in ((">=", events.since), ("<", events.before)):
            if end is not None:
                tests.append(_sql(f"s.occurred_at {sign} ", self._moment(micros(end))))
        return joined(" AND ", [_sql("s.event = ", self.text(events.event)), *tests])

    def events(self, condition: OfEvents, columns: str) -> BoundSql:
        """See `events_sql`."""
        self._number(condition)
        self._events[condition.events] = "e0"
        matched = self._matches(condition.events, self._properties)
        scanned = self._scanned(f"event, {columns}", self._properties.selected())
        return _sql("SELECT ", columns, " FROM (", scanned, ") AS s WHERE ", matched, " ORDER BY occurred_at DESC")

    def _scanned(self, columns: str, values: BoundSql) -> BoundSql:
        since = [self._since(condition) for condition in self._of_user]
        latest = None if None in since else min(cast("list[int]", since))  # None: a condition needs the whole past
        return self._scan({events.event for events in self._events}, columns, values, latest)

    def _scan(self, events: Set[str], columns: str, values: BoundSql, since: int | None) -> BoundSql:
        """Events of these names up to T, later than `since`."""
        names, text = sorted(events), self._parameter("string")
        conditions = [
            BoundSql(f"event IN ({', '.join([text] * len(names))})", tuple(names)),
            _sql("occurred_at <= ", self._moment(self._at)),
            *self._only_the_user(),
        ]
        if since is not None:
            conditions.append(_sql("occurred_at > ", self._moment(since)))
        where = joined(" AND ", conditions)
        return _sql(f"SELECT {columns}", values, " FROM ", self._from(self._relations.events), " WHERE ", where)

    def _since(self, condition: EventCondition | Extreme) -> int | None:
        """A condition asks about later events only; None: about all."""
        within_s = condition.within_s if isinstance(condition, Extreme) else need(condition).within_s
        if within_s is not None:
            return self._at - within_s * SECOND_US
        return None if condition.events.since is None else micros(condition.events.since) - 1

    def _followed(self, sequence: Sequence) -> BoundSql:
        """The users for whom a sequence is true."""
        matches, keys, scanned = self._of_steps(sequence)
        return sequence_sql(sequence, self._at, matches, keys, scanned, self._relations.dialect)

    def steps(self, sequence: Sequence) -> BoundSql:
        """See `steps_sql`."""
        matches, keys, scanned = self._of_steps(sequence)
        steps = sequence_steps_sql(sequence, self._at, matches, keys, scanned, self._relations.dialect)
        columns = ", ".join(["us", *(f"v{number}" for number in range(len(matches))), *key_columns(keys)])
        return _sql(f"SELECT {columns} FROM (", steps, ") AS z")  # noqa: S608  # ours

    def _of_steps(self, sequence: Sequence) -> tuple[list[BoundSql], list[str], BoundSql]:
        """The tests of the steps, the columns of `same` by type, and the rows that have them."""
        values = _Values(self._relations.event_value)
        matches = [self._matches(step.events, values) for step in sequence.steps]
        keys = [values.column(sequence.same, type_) for type_ in PROPERTY_TYPES] if sequence.same is not None else []
        since = self._at - max(map(sequence.horizon_s, range(len(sequence.steps)))) * SECOND_US
        names = {step.events.event for step in sequence.steps}
        return matches, keys, self._scan(names, "user_id, event, occurred_at", values.selected(), since)

    def _of_aggregate(self, condition: Total | Distinct) -> BoundSql:
        """The number of numbers or values of each user who has any; of numbers, also their sum, in steps."""
        found, selected = self.counted(condition), "user_id, count(*) AS number"
        if isinstance(condition, Total):
            selected += ", CAST(sum(amount) AS BIGINT) AS total"
        return _sql(f"SELECT {selected} FROM (", found, ") AS g GROUP BY user_id")  # noqa: S608  # ours

    def counted(self, condition: Aggregate) -> BoundSql:
        """What counts: users and moments; numbers if it is not about values."""
        match, named, scanned = self._of_property(condition)
        match condition:
            case Distinct():
                return values_sql(match, named, scanned)
            case Extreme():
                return numbers_sql(match, named[0], scanned)
            case Total():
                return amounts_sql(condition, match, named[0], scanned)

    def _of_property(self, condition: Aggregate) -> tuple[BoundSql, list[str], BoundSql]:
        """What rows match, the columns of the property by type, and the events of the window with them."""
        values = _Values(self._relations.event_value)
        match, since = self._matches(condition.events, values), self._since(condition)
        types = PROPERTY_TYPES if isinstance(condition, Distinct) else ("double",)
        named = [values.column(condition.of, type_) for type_ in types]
        columns = "user_id, event, occurred_at, event_id"
        return match, named, self._scan({condition.events.event}, columns, values.selected(), since)

    def counted_rows(self, condition: Aggregate) -> BoundSql:
        """See `counted_sql`."""
        us = self._relations.dialect.micros("occurred_at")
        number = {Total: "amount", Extreme: "number", Distinct: "NULL"}[type(condition)]
        return _sql(f"SELECT {us}, {number} FROM (", self.counted(condition), ") AS g")  # noqa: S608  # ours

    def left_out(self, total: Total) -> BoundSql:
        """See `left_out_sql`."""
        match, [number], scanned = self._of_property(total)
        every = amounts_sql(total, match, number, scanned, counted=False)
        users = _sql("(SELECT user_id FROM (", every, f") AS g GROUP BY user_id HAVING count(*) > {total.latest}) AS u")
        large = too_large_sql(match, number, scanned)
        return _sql("SELECT (SELECT count(*) FROM ", users, "), (", large, ")")

    def _memberships(self) -> BoundSql:
        named = {member: self._of_member(member) for member in self._members}
        columns = [_sql(", bool_or(", named[member], f") AS {m}") for member, m in self._members.items()]
        conditions = joined(
            " AND ", [joined(" OR ", named.values()), *self._only_the_user(), *self._only_counted_users()]
        )
        source = self._from(self._relations.members)
        return _sql("SELECT user_id", *columns, " FROM ", source, " WHERE ", conditions, " GROUP BY user_id")

    def _profiles(self) -> BoundSql:
        values, conditions = self._attributes.selected(), [*self._only_the_user(), *self._only_counted_users()]
        where = _sql(" WHERE ", joined(" AND ", conditions)) if conditions else ""
        relation = self._relations.profiles
        if self._only_counted and self._relations.profiles_of_users is not None:
            relation = self._relations.profiles_of_users(COUNTED)
        return _sql("SELECT user_id", values, " FROM ", self._from(relation), where)

    def _only_counted_users(self) -> list[BoundSql]:
        return [BoundSql(f"user_id IN ({COUNTED})", ())] if self._only_counted else []

    def _only_the_user(self) -> list[BoundSql]:
        return [] if self._user is None else [_sql("user_id = ", self.text(self._user))]
