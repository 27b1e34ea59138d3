"""Evaluates rules on the archive: who is in a segment, how many users are, and why a user is."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

import duckdb
import pyarrow as pa

from connectors.lake.activity_names import events_with
from connectors.lake.activity_relations import Activity
from connectors.lake.explained import Explained, explained
from connectors.lake.faults import lake_faults
from connectors.lake.rule_answers import (
    Ask,
    Breakdown,
    Mistyped,
    UnknownNames,
    breakdown_of,
    mistyped_of,
    strangers_of,
    unknown_names_of,
)
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from schemas.columns import USER_ID
from schemas.errors import UserError
from schemas.partitioning import partitions_of
from schemas.sql_text import identifier, literal
from segmentation.expressions.literals import EPOCH
from segmentation.expressions.sql import BoundSql
from segmentation.rules.aggregates import Total
from segmentation.rules.nodes import Group, Kind, Rule
from segmentation.rules.references import dependents, evaluation_order
from segmentation.rules.sql import count_sql, explain_sql, left_out_sql, members_sql
from segmentation.rules.truths import true_of_strangers

Connected = AbstractContextManager[duckdb.DuckDBPyConnection]
TOGETHER_ROWS: Final = 1_000_000
"""Events and profile changes that are counted in one query: several would take longer, and memory is no concern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A rule of a tenant, and what evaluating it needs.

    `segments`: by name, the rules of the segments that it names, directly or through other segments. `audiences`: by
    name, the files of the audience versions to use.
    """

    rule: Rule
    activity: Activity
    segments: Mapping[str, Rule]
    audiences: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersChange:
    """How many users enter a segment, leave it, or stay in it; and the first by id of those who enter and leave."""

    entering: int
    leaving: int
    staying: int
    entering_users: Sequence[str]
    leaving_users: Sequence[str]


class SegmentQueries:
    """Every query opens its own connection, or one from `connections`.

    Methods raise `RetriableError` LAKE_UNAVAILABLE, and `UserError` RULE_TOO_BIG if a rule needs too much memory.
    """

    def __init__(
        self, s3: S3Access | None, limits: DuckLimits, connections: Callable[[], Connected] | None = None
    ) -> None:
        self._limits = limits
        self._connections = connections or (lambda: connect(limits, s3))

    def count(self, question: Question, at: datetime) -> int:
        """The number of known users in the segment at an instant."""
        with self._prepared_connection(question, at) as (connection, activity):
            sql = count_sql(question.rule, activity.relations(question.rule), at)
            return _number(connection.execute(sql.text, sql.parameters))

    def counts(self, question: Question, instants: Sequence[datetime]) -> list[int]:
        """As `count`, at each instant, over the same rows. In parts, as `breakdown`."""
        parts = [[self.count(part, at) for at in instants] for part in _parts_of(question)]
        return [sum(numbers) for numbers in zip(*parts, strict=True)]

    def breakdown(self, question: Question, at: datetime, users: int) -> Breakdown:
        """The number of known users in the segment at an instant, in each group and each condition.

        A large archive is counted a partition at a time, which takes the memory of one. Rules about audiences are not:
        each partition would read all members of an audience.
        """
        found = [self._breakdown(part, at, users) for part in _parts_of(question)]
        return Breakdown(
            members=sum(one.members for one in found),
            groups=[sum(counts) for counts in zip(*(one.groups for one in found), strict=True)],
            conditions=[sum(counts) for counts in zip(*(one.conditions for one in found), strict=True)],
            users=sorted(user for one in found for user in one.users)[:users],
        )

    def _breakdown(self, question: Question, at: datetime, users: int) -> Breakdown:
        with self._prepared_connection(question, at) as (connection, activity):
            return breakdown_of(_asking(connection), activity, question.rule, at, users)

    def edit(self, question: Question, segment: str, at: datetime, users: int) -> dict[str, MembersChange]:
        """What changes if a segment of `question.segments` gets the rule of the question.

        Of the segment, then of each whose rule depends on it. `users`: how many to name. In parts, as `breakdown`.
        """
        affected = dependents(segment, question.segments)
        found = [self._edit(part, affected, at, users) for part in _parts_of(question)]
        return {name: _together([part[name] for part in found], users) for name in affected}

    def _edit(self, question: Question, affected: Sequence[str], at: datetime, users: int) -> dict[str, MembersChange]:
        edited, *_ = affected
        with self._prepared_connection(question, at) as (connection, before):
            members = dict(before.members)
            after = replace(before, members=members)
            for name in affected:
                rule = question.rule if name == edited else question.segments[name]
                table = f"edited {name}"
                _fill(connection, table, members_sql(rule, after.relations(rule), at))
                members["segment", name] = _members_of(table)
            return {
                name: _change(connection, before.members["segment", name], members["segment", name], users)
                for name in affected
            }

    def unknown_names(self, question: Question) -> UnknownNames:
        """See `unknown_names_of`."""
        with self._prepared_connection(replace(question, segments={}, audiences={}), None) as (connection, activity):
            with_ = partial(events_with, connection, activity)
            return unknown_names_of(_asking(connection), activity, question.rule, with_)

    def mistyped(self, question: Question) -> Sequence[Mistyped]:
        """See `mistyped_of`."""
        with self._prepared_connection(replace(question, segments={}, audiences={}), None) as (connection, activity):
            return mistyped_of(_asking(connection), activity, question.rule)

    def unknown_members(self, question: Question) -> dict[str, int]:
        """For each audience, the number of members who are not known, so that rules do not consider them."""
        with self._connected() as connection:
            return {
                name: _number(
                    connection.execute(f"SELECT count(*) FROM ({question.activity.unknown(_users_of(uris))})")  # noqa: S608  # ours
                )
                for name, uris in question.audiences.items()
            }

    def strangers(self, question: Question) -> dict[str, int]:
        """See `RuleQueries`. The rule is evaluated as if there was no activity at all."""
        if not true_of_strangers(question.rule):
            return dict.fromkeys(question.audiences, 0)
        nothing = replace(question.activity, events=(), profiles=())
        with self._prepared_connection(replace(question, activity=nothing), EPOCH) as (connection, activity):
            matched = members_sql(question.rule, activity.relations(question.rule), EPOCH)
            everything = replace(question.activity, members=activity.members)
            return strangers_of(_asking(connection), everything, matched, question.audiences)

    def left_out(self, total: Total, activity: Activity, at: datetime) -> tuple[int, int]:
        """The users with more events than count for a sum or an average, and the numbers too large to be summed."""
        rule = Rule(groups=(Group(conditions=(total,)),))
        with self._connected() as connection:
            sql = left_out_sql(total, activity.relations(rule), at)
            [(users, numbers)] = connection.execute(sql.text, sql.parameters).fetchall()
        return users, numbers

    def audiences_containing(self, audiences: Mapping[str, Sequence[str]], user_id: str) -> list[str]:
        """The audiences that contain a user. `audiences`: by name, their files."""
        with self._connected() as connection:
            return [
                name
                for name, uris in audiences.items()
                if connection.execute(f"FROM ({_users_of(uris)}) WHERE user_id = ?", (user_id,)).fetchone()
            ]

    def is_known(self, activity: Activity, user_id: str) -> bool:
        """Whether a user has an event or a profile change."""
        with self._connected() as connection:
            rows = f"FROM ({activity.known_users()}) WHERE user_id = ? LIMIT 1"
            return connection.execute(rows, (user_id,)).fetchone() is not None

    def segments_containing(self, question: Question, at: datetime, user_id: str) -> list[str]:
        """The segments of `question.segments` that a user is in at an instant, in the order of their names."""
        named = "SELECT " + literal(user_id) + f" AS {USER_ID}"
        found: dict[str, bool] = {}
        with self._connected() as connection:
            members: dict[tuple[Kind, str], str] = {
                ("audience", name): _users_of(uris) for name, uris in question.audiences.items()
            }
            for name in evaluation_order(question.segments):
                rule, activity = question.segments[name], replace(question.activity, members=members)
                sql = explain_sql(rule, activity.relations(rule, include_all=True), at, user_id)
                row = connection.execute(sql.text, sql.parameters).fetchone()
                found[name] = row is not None and bool(row[0])
                # What the rules of others ask of this segment is only whether the user is in it.
                members["segment", name] = named if found[name] else f"{named} WHERE false"
        return sorted(name for name, inside in found.items() if inside)

    def explain(self, question: Question, at: datetime, user_id: str) -> Explained | None:
        """Why a user is in the segment at an instant or not. None if the user is not known."""
        with self._prepared_connection(question, at) as (connection, activity):
            return explained(connection, activity, question.rule, at, user_id)

    def compare(
        self,
        questions: Sequence[tuple[Question, datetime]],
        parts: Sequence[str],
        sample: int,
        partitions: int | None = None,
    ) -> "Comparison":
        """Compare members by the rule, over all questions together, with those in Parquet files of user_id.

        `partitions`: of all users, if each question is about users of the partitions whose ends its activity has.
        """

        def fill(connection: duckdb.DuckDBPyConnection) -> None:
            for question, at in questions:
                activity = self._prepared(connection, question, at)
                sql = members_sql(question.rule, activity.relations(question.rule), at)
                rows, below = sql.text, activity.events_below
                if partitions is not None and below is not None and true_of_strangers(question.rule):
                    # Of users without activity, only their partition says which question they belong to.
                    _define_partition_of(connection, partitions)
                    asked = ", ".join(map(str, sorted(below.ends)))
                    rows = f"SELECT user_id FROM ({rows}) WHERE partition_of_user(user_id) IN ({asked})"  # noqa: S608  # ours
                connection.execute(f"INSERT INTO expected {rows}", sql.parameters)

        return self._compare(fill, parts, sample)

    def compare_members(self, members: Iterable["pa.Table"], parts: Sequence[str], sample: int) -> "Comparison":
        """As `compare`, with members by the rule from another engine: tables of user_id, read one by one."""

        def fill(connection: duckdb.DuckDBPyConnection) -> None:
            for table in members:
                connection.register("arrived", table)
                connection.execute("INSERT INTO expected SELECT user_id FROM arrived")
                connection.unregister("arrived")

        return self._compare(fill, parts, sample)

    def _compare(
        self, fill: Callable[[duckdb.DuckDBPyConnection], None], parts: Sequence[str], sample: int
    ) -> "Comparison":
        with self._connected() as connection:
            connection.execute("CREATE TEMP TABLE expected (user_id VARCHAR)")
            fill(connection)
            connection.execute(f"CREATE TEMP TABLE given AS {_users_of(parts)}")
            sides = []
            for left, right in (("expected", "given"), ("given", "expected")):
                missing = f"FROM {left} WHERE user_id NOT IN (SELECT user_id FROM {right})"  # noqa: S608  # ours
                count = _number(connection.execute(f"SELECT count(*) {missing}"))
                rows = connection.execute(f"SELECT user_id {missing} ORDER BY user_id LIMIT {sample}").fetchall()
                sides.append((count, tuple(row[0] for row in rows)))
            sizes = [_number(connection.execute(f"SELECT count(*) FROM {side}")) for side in ("expected", "given")]  # noqa: S608  # ours
        (missing_count, missing_users), (extra_count, extra_users) = sides
        return Comparison(
            by_rule=sizes[0],
            by_stream=sizes[1],
            missing=missing_count,
            extra=extra_count,
            missing_users=missing_users,
            extra_users=extra_users,
        )

    @contextmanager
    def _prepared_connection(
        self, question: Question, at: datetime | None
    ) -> Iterator[tuple[duckdb.DuckDBPyConnection, Activity]]:
        with self._connected() as connection:
            yield connection, question.activity if at is None else self._prepared(connection, question, at)

    @contextmanager
    def _connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with lake_faults("querying the archive"), self._connections() as connection:
            try:
                yield connection
            except duckdb.OutOfMemoryException as exc:  # retries do not help: this fault, unlike others, is the rule's
                memory = self._limits.memory_bytes
                raise UserError(
                    "RULE_TOO_BIG",
                    f"the archive cannot be queried with {memory / 2**20:,.0f} MiB of memory: every condition needs "
                    "memory, conditions on attributes most of all. Split the rule into segments that a smaller rule "
                    "refers to, or raise duckdb_memory_bytes (for the service: api_reader_memory_bytes)",
                    memory_bytes=memory,
                ) from exc

    def _prepared(self, connection: duckdb.DuckDBPyConnection, question: Question, at: datetime) -> Activity:
        tables, activity = segment_tables(question, at)
        for table, sql in tables.items():
            _fill(connection, table, sql)
        return activity


def segment_tables(question: Question, at: datetime, prefix: str = "segment ") -> tuple[dict[str, BoundSql], Activity]:
    """The activity with the members of everything that a rule names: each segment once, in a table.

    The tables, by their names (`prefix` and the segment's), are to be filled in this order.
    """
    members: dict[tuple[Kind, str], str] = {}
    for name, uris in question.audiences.items():
        members["audience", name] = _users_of(uris)
    activity = replace(question.activity, members=members)
    tables: dict[str, BoundSql] = {}
    for name in evaluation_order(question.segments):
        rule, table = question.segments[name], f"{prefix}{name}"
        tables[table] = members_sql(rule, activity.relations(rule), at)
        members["segment", name] = _members_of(table)
    return tables, activity


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sets of members: their sizes, how many are only in one of them, and a sample of those."""

    by_rule: int
    by_stream: int
    missing: int  # by the rule but not by the stream
    extra: int
    missing_users: Sequence[str]
    extra_users: Sequence[str]

    @property
    def equal(self) -> bool:
        """Whether both have the same users."""
        return self.missing == self.extra == 0 and self.by_rule == self.by_stream


def _parts_of(question: Question) -> Iterator[Question]:
    """The question about all users, or about those of one partition after the other."""
    activity = question.activity
    together = activity.rows <= TOGETHER_ROWS or question.audiences
    for part in [activity] if together else activity.by_partition():
        yield replace(question, activity=part)


def _fill(connection: duckdb.DuckDBPyConnection, table: str, sql: BoundSql) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {identifier(table)} AS {sql.text}", sql.parameters)


def _members_of(table: str) -> str:
    return f"SELECT {USER_ID} FROM {identifier(table)}"  # noqa: S608  # quoted


def _change(connection: duckdb.DuckDBPyConnection, before: str, after: str, users: int) -> MembersChange:
    # By one aggregation, which can spill: a full join of DuckDB fails where rows exceed memory.
    sides = f"SELECT user_id, 1 AS side FROM ({before}) UNION ALL SELECT user_id, 2 FROM ({after})"  # noqa: S608  # ours
    parts = {"entering": "sides = 2", "leaving": "sides = 1", "staying": "sides = 3"}
    counts = ", ".join(f"count(*) FILTER (WHERE {part})" for part in parts.values())
    first = [
        f"min(user_id, {users}) FILTER (WHERE {parts[name]})" if users else "NULL" for name in ("entering", "leaving")
    ]
    found = connection.execute(
        f"SELECT {counts}, {', '.join(first)} "  # noqa: S608  # ours
        f"FROM (SELECT user_id, sum(side) AS sides FROM ({sides}) GROUP BY user_id)"
    ).fetchone()
    assert found is not None  # noqa: S101  # an aggregate has a row
    entering, leaving, staying, entering_users, leaving_users = found
    return MembersChange(
        entering=entering,
        leaving=leaving,
        staying=staying,
        entering_users=entering_users or (),
        leaving_users=leaving_users or (),
    )


def _together(parts: Sequence[MembersChange], users: int) -> MembersChange:
    return MembersChange(
        entering=sum(one.entering for one in parts),
        leaving=sum(one.leaving for one in parts),
        staying=sum(one.staying for one in parts),
        entering_users=sorted(user for one in parts for user in one.entering_users)[:users],
        leaving_users=sorted(user for one in parts for user in one.leaving_users)[:users],
    )


def _define_partition_of(connection: duckdb.DuckDBPyConnection, partitions: int) -> None:
    """Define `partition_of_user` for a connection of one comparison, unless it has it."""
    if connection.execute("FROM duckdb_functions() WHERE function_name = 'partition_of_user'").fetchone():
        return
    connection.create_function(  # type: ignore[call-overload]  # the stubs have no texts for `type`
        "partition_of_user",
        lambda users: pa.array(partitions_of(users.combine_chunks(), partitions)[0]),
        ["VARCHAR"],
        "INTEGER",
        type="arrow",
    )


def _asking(connection: duckdb.DuckDBPyConnection) -> Ask:
    return lambda sql: connection.execute(sql.text, sql.parameters).fetchall()


def _users_of(uris: Sequence[str]) -> str:
    if not uris:
        return "SELECT NULL::VARCHAR AS user_id WHERE false"
    return f"SELECT user_id FROM read_parquet([{', '.join(map(literal, uris))}])"  # noqa: S608  # quoted


def _number(result: duckdb.DuckDBPyConnection) -> int:
    row = result.fetchone()
    assert row is not None  # noqa: S101  # an aggregate has a row
    return int(row[0])
