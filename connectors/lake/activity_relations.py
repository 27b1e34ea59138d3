"""The relations that rules query (`segmentation.rules.sql`), as SQL over files or over pinned snapshots of the archive.

No relation is sorted or deduplicated as a whole: copies of events are recognised among those that a rule asks for, and
profiles are folded only for the attributes that it names. Only the columns that a rule needs are read.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from connectors.lake.archive_tables import ArchivedFile
from schemas.activity import ATTRIBUTES, IDENTITY, OFFSET, PROPERTIES, SOURCE_ORDINAL
from schemas.activity_columns import DELETED, EVENT_ID
from schemas.columns import USER_ID, ColumnType
from schemas.ids import Partition, TenantName
from schemas.sql_text import identifier, literal
from schemas.topics import EVENTS, PROFILES
from segmentation.expressions.dialects import DUCKDB, SPARK, Dialect
from segmentation.expressions.literals import EPOCH
from segmentation.expressions.sql import BoundSql, joined
from segmentation.rules.nodes import Kind, Rule
from segmentation.rules.references import Names, names
from segmentation.rules.relative import AttributeCondition
from segmentation.rules.sql import Relations
from segmentation.rules.truths import true_without_facts
from segmentation.rules.typed import typed_at

_OFFSET: Final = identifier(OFFSET)
_NO_ROWS: Final[Mapping[str, str]] = {
    EVENTS: (
        "SELECT NULL::VARCHAR AS user_id, NULL::VARCHAR AS event, NULL::TIMESTAMPTZ AS occurred_at, "
        "NULL::VARCHAR AS event_id, NULL::BIGINT AS identity, "
        "NULL::MAP(VARCHAR, STRUCT(double DOUBLE, string VARCHAR, boolean BOOLEAN)) AS properties, "
        'NULL::BIGINT AS "offset", NULL::INTEGER AS "partition" WHERE false'
    ),
    PROFILES: (
        "SELECT NULL::VARCHAR AS user_id, NULL::BOOLEAN AS deleted, "
        "NULL::MAP(VARCHAR, STRUCT(double DOUBLE, string VARCHAR, boolean BOOLEAN, date DATE, timestamp TIMESTAMPTZ)) "
        'AS attributes, NULL::BIGINT AS "offset", NULL::INTEGER AS "partition", NULL::BIGINT AS ordinal WHERE false'
    ),
}

_VIEWS: Final[Mapping[str, str]] = {EVENTS: "muster_events", PROFILES: "muster_profiles"}
_NO_ROWS_OF_SPARK: Final[Mapping[str, str]] = {
    EVENTS: (
        "SELECT CAST(NULL AS STRING) AS user_id, CAST(NULL AS STRING) AS event, "
        "CAST(NULL AS TIMESTAMP) AS occurred_at, CAST(NULL AS BIGINT) AS identity, "
        "CAST(NULL AS MAP<STRING, STRUCT<double: DOUBLE, string: STRING, boolean: BOOLEAN>>) AS properties, "
        "CAST(NULL AS BIGINT) AS `offset`, CAST(NULL AS INT) AS `partition` WHERE false"
    ),
    PROFILES: (
        "SELECT CAST(NULL AS STRING) AS user_id, CAST(NULL AS BOOLEAN) AS deleted, "
        "CAST(NULL AS MAP<STRING, STRUCT<double: DOUBLE, string: STRING, boolean: BOOLEAN, date: DATE, "
        "timestamp: TIMESTAMP>>) AS attributes, "
        "CAST(NULL AS BIGINT) AS `offset`, CAST(NULL AS INT) AS `partition`, CAST(NULL AS BIGINT) AS ordinal "
        "WHERE false"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOffsets:
    """Exclusive end offset by partition: only rows below it are read, and none of partitions without an entry."""

    ends: Mapping[Partition, int]


class ActivitySource(ABC):
    """Events and profiles of a tenant, in the dialect of the engine that reads them.

    `members`: of audiences and segments, as queries of one column, user_id.
    """

    __slots__ = ()
    members: Mapping[tuple[Kind, str], str]

    @property
    @abstractmethod
    def dialect(self) -> Dialect:
        """Of the engine."""

    @abstractmethod
    def event_rows(self) -> str:
        """All events: the relation `events`, plus partition, offset and given_id (the producer's own id)."""

    @abstractmethod
    def profile_rows(self) -> str:
        """All profile changes."""

    @abstractmethod
    def known_users(self) -> str:
        """Known users, with repetitions."""

    def relations(self, rule: Rule, *, include_all: bool = False) -> Relations:
        """The relations for a rule. `include_all`: include known users for whom the rule is certainly false."""
        named, types, dialect = names(rule), _attribute_types(rule), self.dialect
        columns = {name: f"a{number}" for number, name in enumerate(types)}

        def profile_value(name: str, type_: ColumnType) -> BoundSql:
            return BoundSql(columns[name] if types[name] else f"{columns[name]}.{dialect.identifier(type_)}", ())

        def event_value(name: str, type_: ColumnType) -> BoundSql:
            return BoundSql(f"{PROPERTIES}[{dialect.parameter('string')}].{dialect.identifier(type_)}", (name,))

        def profiles_of_users(users: str) -> BoundSql:
            rows = f"SELECT * FROM ({self.profile_rows()}) WHERE user_id IN ({users})"  # noqa: S608  # ours
            return _latest_profiles(rows, list(types.items()), dialect)

        needs_all = include_all or true_without_facts(rule)
        return Relations(
            events=BoundSql(self.event_rows(), ()),
            profiles=_latest_profiles(self.profile_rows(), list(types.items()), dialect),
            profiles_of_users=profiles_of_users,
            known_users=BoundSql(f"SELECT DISTINCT user_id FROM ({self.known_users()})", ()) if needs_all else None,  # noqa: S608  # ours
            members=self._members(named, only_known=not rule.admits),
            event_value=event_value,
            profile_value=profile_value,
            dialect=dialect,
        )

    def latest_profiles(self, attributes: Sequence[str]) -> BoundSql:
        """One row per user: user_id, and for each attribute a0, a1, ... a struct with one field for each type."""
        return _latest_profiles(self.profile_rows(), [(name, None) for name in attributes], self.dialect)

    def unknown(self, users: str) -> str:
        """The users in a query who are not known, that is, without an event or a profile change."""
        return f"SELECT user_id FROM ({users}) ANTI JOIN ({self.known_users()}) USING (user_id)"  # noqa: S608  # ours

    def _members(self, named: Names, *, only_known: bool) -> BoundSql:
        """Members of the audiences and segments that the rule names.

        A rule that admits members needs no others removed: who is only in what it names negatively makes no part of it
        true, except where `known_users` is given, which leaves them out.
        """
        wanted: list[tuple[Kind, str]] = [("audience", name) for name in named.audiences]
        wanted += [("segment", name) for name in named.segments]
        text = self.dialect.parameter("string")
        found = [f"SELECT {text} AS kind, {text} AS name, user_id FROM ({self.members[one]})" for one in wanted]  # noqa: S608  # ours
        if not found:
            nothing = ", ".join(
                f"CAST(NULL AS {self.dialect.types['string']}) AS {column}" for column in ("kind", "name", USER_ID)
            )
            return BoundSql(f"SELECT {nothing} WHERE false", ())
        rows, parameters = " UNION ALL ".join(found), tuple(word for one in wanted for word in one)
        if only_known:
            rows = f"SELECT * FROM ({rows}) WHERE user_id IN ({self.known_users()})"  # noqa: S608  # ours
        return BoundSql(rows, parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity(ActivitySource):
    """As DuckDB reads it: from the files of the archive."""

    events: Sequence[ArchivedFile]
    profiles: Sequence[ArchivedFile]
    events_below: EndOffsets | None = None
    profiles_below: EndOffsets | None = None
    members: Mapping[tuple[Kind, str], str] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect:
        """DuckDB's."""
        return DUCKDB

    def by_partition(self) -> Iterator["Activity"]:
        """The activity of each partition: all that is known of a user is in one of them."""
        return map(self.of_partition, sorted({file.key.partition for file in (*self.events, *self.profiles)}))

    def of_partition(self, partition: Partition) -> "Activity":
        """The activity of one partition."""
        return replace(
            self,
            events=[file for file in self.events if file.key.partition == partition],
            profiles=[file for file in self.profiles if file.key.partition == partition],
        )

    @property
    def rows(self) -> int:
        """Events and profile changes, of which some may be beyond the end offsets."""
        return sum(file.rows for file in (*self.events, *self.profiles))

    def event_rows(self) -> str:
        """See `ActivitySource`."""
        rows = _rows(EVENTS, self.events, self.events_below)
        return (
            f"SELECT user_id, event, occurred_at, {IDENTITY} AS event_id, {EVENT_ID} AS given_id, {PROPERTIES}, "  # noqa: S608  # ours
            f'"partition", {_OFFSET} FROM ({rows})'
        )

    def profile_rows(self) -> str:
        """See `ActivitySource`."""
        return _rows(PROFILES, self.profiles, self.profiles_below)

    def known_users(self) -> str:
        """See `ActivitySource`."""
        events = _users(EVENTS, self.events, self.events_below)
        return f"{events} UNION ALL {_users(PROFILES, self.profiles, self.profiles_below)}"

    @property
    def uris(self) -> list[str]:
        """All files that its queries may read."""
        files = [*self.events, *self.profiles]
        return [*(file.uri for file in files), *(file.users for file in files if file.users is not None)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedActivity(ActivitySource):
    """As Spark reads it: from views of a session, each over a snapshot of a table of the archive.

    `snapshots`: by topic, None before the first commit. `*_below`: only rows below these positions.
    """

    tenant: TenantName
    snapshots: Mapping[str, int | None]
    events_below: EndOffsets | None = None
    profiles_below: EndOffsets | None = None
    members: Mapping[tuple[Kind, str], str] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect:
        """Spark's."""
        return SPARK

    def views(self, tables: Mapping[str, str]) -> Mapping[str, BoundSql]:
        """The views, by name. `tables`: by topic, the table's name, quoted."""
        return {
            _VIEWS[EVENTS]: self._view(EVENTS, tables[EVENTS], self.events_below),
            _VIEWS[PROFILES]: self._view(PROFILES, tables[PROFILES], self.profiles_below),
        }

    def _view(self, topic: str, table: str, below: EndOffsets | None) -> BoundSql:
        snapshot = self.snapshots[topic]
        if snapshot is None:
            return BoundSql(_NO_ROWS_OF_SPARK[topic], ())
        conditions = [BoundSql(f"tenant = {SPARK.parameter('string')}", (self.tenant,))]
        if below is not None:
            number = SPARK.parameter("long")
            ends = [
                BoundSql(f"(`partition` = {number} AND `offset` < {number})", (partition, end))
                for partition, end in sorted(below.ends.items())
            ]
            conditions.append(joined(" OR ", ends) if ends else BoundSql("false", ()))
        where = joined(" AND ", conditions)
        return BoundSql(f"SELECT * FROM {table} VERSION AS OF {snapshot} WHERE {where.text}", where.parameters)  # noqa: S608  # quoted

    def event_rows(self) -> str:
        """See `ActivitySource`."""
        return (
            f"SELECT user_id, event, occurred_at, {IDENTITY} AS event_id, {PROPERTIES}, "  # noqa: S608  # ours
            f"`partition`, `offset` FROM {_VIEWS[EVENTS]}"
        )

    def profile_rows(self) -> str:
        """See `ActivitySource`."""
        return f"SELECT * FROM {_VIEWS[PROFILES]}"  # noqa: S608  # ours

    def known_users(self) -> str:
        """See `ActivitySource`."""
        return " UNION ALL ".join(f"SELECT {USER_ID} FROM {view}" for view in _VIEWS.values())  # noqa: S608  # ours


def _attribute_types(rule: Rule) -> dict[str, ColumnType | None]:
    """The attributes that the rule names, and the type in which each is read; None if in several."""
    used: dict[str, set[ColumnType]] = {name: set() for name in names(rule).attributes}

    def column(name: str, type_: ColumnType) -> str:
        used[name].add(type_)
        return name

    for condition in rule.conditions:
        if isinstance(condition, AttributeCondition):
            typed_at(condition, column, rule.timezone, EPOCH)  # the instant changes values, not types
    return {name: next(iter(types)) if len(types) == 1 else None for name, types in used.items()}


def _latest_profiles(rows: str, attributes: Sequence[tuple[str, ColumnType | None]], dialect: Dialect) -> BoundSql:
    """One row per user, with the latest value of each attribute: a0, a1, ...

    An attribute's value in one type, or if that is None a struct of all: maxima of structs take twice as long.
    """
    text = dialect.parameter("string")
    fields = [f".{dialect.identifier(type_)}" if type_ else "" for _, type_ in attributes]
    changes = [
        f", {DELETED} OR {dialect.has_key(ATTRIBUTES, text)} AS m{number}, "
        f"CASE WHEN NOT {DELETED} THEN {ATTRIBUTES}[{text}]{of_type} END AS v{number}"
        for number, of_type in enumerate(fields)
    ]
    # CASE instead of FILTER: memory and planning time grow with the square of the number of FILTERs; a null place is no
    # change
    latest = [f", {dialect.latest(f'v{n}', f'CASE WHEN m{n} THEN place END')} AS a{n}" for n in range(len(attributes))]
    place = f"{dialect.place(dialect.identifier(OFFSET), f'coalesce({SOURCE_ORDINAL}, 0)')} AS place"
    return BoundSql(
        f"SELECT {USER_ID}{''.join(latest)} FROM (SELECT {USER_ID}, {place}{''.join(changes)} FROM ({rows})) "  # noqa: S608  # ours
        f"GROUP BY {USER_ID}",
        tuple(name for name, _ in attributes for _ in range(2)),
    )


def _rows(topic: str, files: Sequence[ArchivedFile], below: EndOffsets | None) -> str:
    """Rows of the files, each up to the end of its partition."""
    complete = [file for file in files if _is_complete(file, below)]
    parts = [_read([file.uri for file in complete])] if complete else []
    for file in files:
        end = file.key.end_offset if below is None else below.ends.get(file.key.partition, 0)
        if file.key.first_offset < end < file.key.end_offset:
            parts.append(f"{_read([file.uri])} WHERE {_OFFSET} < {end}")
    return " UNION ALL ".join(parts) or _NO_ROWS[topic]


def _users(topic: str, files: Sequence[ArchivedFile], below: EndOffsets | None) -> str:
    """The users of these rows. Lists of users, if they exist, stand in for files that are read completely."""
    listed = {file.uri: file.users for file in files if file.users is not None and _is_complete(file, below)}
    rows = _rows(topic, [file for file in files if file.uri not in listed], below)
    parts = [_read(list(listed.values())), rows] if listed else [rows]
    return " UNION ALL ".join(f"SELECT {USER_ID} FROM ({part})" for part in parts)  # noqa: S608  # ours


def _is_complete(file: ArchivedFile, below: EndOffsets | None) -> bool:
    return below is None or file.key.end_offset <= below.ends.get(file.key.partition, 0)


def _read(uris: Sequence[str]) -> str:
    return f"SELECT * FROM read_parquet([{', '.join(map(literal, uris))}], hive_partitioning = false)"  # noqa: S608  # quoted
