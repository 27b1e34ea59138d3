"""Rules -> SQL (DuckDB's dialect) over relations, with every value and every name of a rule bound as a parameter.

Texts hold `?`, names of columns that are ours, and the quoted names of the relations. The events are read once:
first identities, since copies of an event count once, then users. The answer is the one at an instant T.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, assert_never

from schemas.columns import ColumnType
from schemas.sql_text import identifier
from segmentation.expressions.literals import EPOCH
from segmentation.expressions.sql import PARAMETERS, BoundSql, joined, parameter, to_sql
from segmentation.rules.nodes import Count, Events, Ever, Group, Member, Never, Rule, RuleCondition, Seen
from segmentation.rules.typed import MAPS, OF_EVENTS, OF_PROFILES, typed

TEXT: Final = PARAMETERS["string"]
NUMBER: Final = PARAMETERS["long"]
MOMENT: Final = PARAMETERS["timestamp"]
SIGNS: Final = {"at_least": ">=", "at_most": "<=", "exactly": "=", "before": "<", "from": ">="}
MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """What the relations are called. No column but those of maps is null; further columns do not matter.

    events: user_id VARCHAR, event VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR, and maps from property to value:
    numbers MAP(VARCHAR, DOUBLE), strings MAP(VARCHAR, VARCHAR), booleans MAP(VARCHAR, BOOLEAN).
    profiles: a row a user: user_id, maps as of events from attribute to value, and dates MAP(VARCHAR, DATE), timestamps
    MAP(VARCHAR, TIMESTAMPTZ). A name is in one of the maps.
    known_users: a row a user: user_id; nobody else is in an answer.
    members: kind VARCHAR (audience, segment), name VARCHAR, user_id VARCHAR; read where a rule names one.
    """

    events: str = "events"
    profiles: str = "profiles"
    known_users: str = "known_users"
    members: str = "members"


def members_sql(rule: Rule, relations: Relations, at: datetime) -> BoundSql:
    """`user_id` of each user who is in the segment at this instant (aware), in no order."""
    query = _Query(rule, relations, at)
    matched = query.rule()
    return _sql("SELECT k.user_id FROM ", query.relation(), " WHERE ", matched)


def count_sql(rule: Rule, relations: Relations, at: datetime) -> BoundSql:
    """How many they are: one row with one number."""
    query = _Query(rule, relations, at)
    matched = query.rule()
    return _sql("SELECT count(*) FROM ", query.relation(), " WHERE ", matched)


def explain_sql(rule: Rule, relations: Relations, at: datetime, user_id: str) -> BoundSql:
    """One row for a known user, else none: whether the rule is true, then each of `rule.conditions`."""
    query = _Query(rule, relations, at, user_id)
    answers = [query.rule(), *map(query.condition, rule.conditions)]
    columns = BoundSql(", ".join(answer.text for answer in answers), tuple(p for a in answers for p in a.parameters))
    return _sql("SELECT ", columns, " FROM ", query.relation(), " WHERE k.user_id = ", BoundSql(TEXT, (user_id,)))


def _sql(*parts: str | BoundSql) -> BoundSql:
    pieces = [BoundSql(part, ()) if isinstance(part, str) else part for part in parts]
    return BoundSql("".join(piece.text for piece in pieces), tuple(p for piece in pieces for p in piece.parameters))


def _moment(micros: int) -> BoundSql:
    return BoundSql(MOMENT, (micros,))


@dataclass(slots=True)
class _Values:
    """Columns for the values of names, made when they are asked for: `numbers['amount'] AS "v0"`."""

    names: dict[tuple[str, ColumnType], str] = field(default_factory=dict)

    def column(self, name: str, type_: ColumnType) -> str:
        return self.names.setdefault((name, type_), f"v{len(self.names)}")

    def selected(self) -> BoundSql:
        """As they follow other columns."""
        text = "".join(f", {MAPS[type_]}[{TEXT}] AS {column}" for (_, type_), column in self.names.items())
        return BoundSql(text, tuple(name for name, _ in self.names))


class _Query:
    """The conditions of a rule over one relation, in which each known user `k` has all that they ask for.

    `e` are the events of one identity, `c` the events of a user, `m` the memberships, `a` the attributes.
    """

    def __init__(self, rule: Rule, relations: Relations, at: datetime, user_id: str | None = None) -> None:
        if at.tzinfo is None:
            raise ValueError("an instant has a time zone")
        self._rule = rule
        self._relations = relations
        self._at = (at - EPOCH) // timedelta(microseconds=1)
        self._user = user_id
        self._properties = _Values()
        self._attributes = _Values()
        self._events: dict[Events, str] = {}
        self._of_user: dict[Count | Ever | Never | Seen, str] = {}
        self._members: dict[Member, str] = {}

    def rule(self) -> BoundSql:
        """Whether all groups are true."""
        return joined(" AND ", map(self._group, self._rule.groups))

    def condition(self, condition: RuleCondition) -> BoundSql:
        """Whether a condition is true: never null."""
        match condition:
            case Count():
                sign = SIGNS[condition.quantity]
                return BoundSql(f"(coalesce({self._number(condition)}, 0) {sign} {NUMBER})", (condition.times,))
            case Ever():
                return BoundSql(f"(coalesce({self._number(condition)}, 0) > 0)", ())
            case Never():
                return BoundSql(f"(coalesce({self._number(condition)}, 0) = 0)", ())
            case Seen():
                seen = self._number(condition)
                compared = f"({seen} IS NOT NULL AND {seen} {SIGNS[condition.bound]} {MOMENT})"
                return BoundSql(compared, (parameter(condition.moment),))
            case Member():
                column = self._members.setdefault(condition, f"m{len(self._members)}")
                return BoundSql(f"coalesce(m.{column}, false)", ())
            case _:
                return to_sql(typed(condition, OF_PROFILES, self._attributes.column, self._rule.timezone), "a")

    def relation(self) -> BoundSql:
        """What the conditions that were asked for so far are read from."""
        joins = [BoundSql(f"{identifier(self._relations.known_users)} AS k", ())]
        for name, asked, relation in (
            ("c", self._of_user, self._counted),
            ("m", self._members, self._memberships),
            ("a", self._attributes.names, self._profiles),
        ):
            if asked:
                joins.append(_sql(" LEFT JOIN (", relation(), f") AS {name} ON {name}.user_id = k.user_id"))
        return _sql(*joins)

    def _group(self, group: Group) -> BoundSql:
        one = joined(" OR ", map(self.condition, group.conditions))
        return _sql("(NOT ", one, ")") if group.negated else one

    def _number(self, condition: Count | Ever | Never | Seen) -> str:
        return f"c.{self._of_user.setdefault(condition, f'c{len(self._of_user)}')}"

    def _counted(self) -> BoundSql:
        """What is asked of the events of each user who has some."""
        numbers = [_sql(", ", self._aggregate(condition), f" AS {c}") for condition, c in self._of_user.items()]
        return _sql("SELECT e.user_id", *numbers, " FROM (", self._identities(), ") AS e GROUP BY e.user_id")

    def _aggregate(self, condition: Count | Ever | Never | Seen) -> BoundSql:
        # CASE, as the time that DuckDB takes to plan many FILTERs grows with their square
        matched = f"e.{self._events.setdefault(condition.events, f'e{len(self._events)}')}"
        match condition:
            case Count():
                since = _moment(self._at - condition.within_s * MICROS)
                return _sql(f"count(CASE WHEN {matched} AND e.occurred_at > ", since, " THEN true END)")
            case Ever() | Never():
                return BoundSql(f"count(CASE WHEN {matched} THEN true END)", ())
            case Seen(which=which):
                least = "min" if which == "first" else "max"
                return BoundSql(f"{least}(CASE WHEN {matched} THEN e.occurred_at END)", ())
            case _:
                assert_never(condition)

    def _identities(self) -> BoundSql:
        """Each event once, and which of the asked events it is: one of its copies is."""
        matched = [_sql(", bool_or(", self._matches(events), f") AS {e}") for events, e in self._events.items()]
        return _sql(
            "SELECT user_id, occurred_at",
            *matched,
            " FROM (",
            self._scanned(),
            ") AS s GROUP BY user_id, event, occurred_at, event_id",
        )

    def _matches(self, events: Events) -> BoundSql:
        tests = [to_sql(typed(test, OF_EVENTS, self._properties.column, None), "s") for test in events.where]
        return joined(" AND ", [BoundSql(f"s.event = {TEXT}", (events.event,)), *tests])

    def _scanned(self) -> BoundSql:
        names = sorted({events.event for events in self._events})
        conditions = [
            BoundSql(f"event IN ({', '.join([TEXT] * len(names))})", tuple(names)),
            _sql("occurred_at <= ", _moment(self._at)),
            *self._of_the_user(),
        ]
        windows = [condition.within_s for condition in self._of_user if isinstance(condition, Count)]
        if len(windows) == len(self._of_user):  # nothing is asked of all the past
            conditions.append(_sql("occurred_at > ", _moment(self._at - max(windows) * MICROS)))
        values = self._properties.selected()
        columns = "SELECT user_id, event, occurred_at, event_id"
        return _sql(columns, values, f" FROM {identifier(self._relations.events)} WHERE ", joined(" AND ", conditions))

    def _memberships(self) -> BoundSql:
        named = {m: BoundSql(f"(kind = {TEXT} AND name = {TEXT})", (m.kind, m.name)) for m in self._members}
        columns = [_sql(", bool_or(", named[member], f") AS {m}") for member, m in self._members.items()]
        of = joined(" AND ", [joined(" OR ", named.values()), *self._of_the_user()])
        source = f" FROM {identifier(self._relations.members)} WHERE "
        return _sql("SELECT user_id", *columns, source, of, " GROUP BY user_id")

    def _profiles(self) -> BoundSql:
        values, of = self._attributes.selected(), self._of_the_user()
        where = _sql(" WHERE ", *of) if of else ""
        return _sql("SELECT user_id", values, f" FROM {identifier(self._relations.profiles)}", where)

    def _of_the_user(self) -> list[BoundSql]:
        return [] if self._user is None else [BoundSql(f"user_id = {TEXT}", (self._user,))]
