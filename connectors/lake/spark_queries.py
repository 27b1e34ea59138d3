"""Evaluates rules on a Spark cluster, over pinned snapshots of the tables that DuckDB reads as files.

Counts and members alone: what concerns one user is DuckDB's. What a query needs from the archive, from audiences and
from other segments are views of one session.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from connectors.lake.activity_relations import PinnedActivity
from connectors.lake.archive_tables import NAMESPACE
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
from connectors.lake.spark_session import spark_session
from schemas.activity import PROPERTIES
from schemas.columns import USER_ID
from schemas.partitioning import partitions_of
from schemas.topics import ACTIVITY_TOPICS, OWN_PREFIX
from segmentation.expressions.dialects import SPARK
from segmentation.expressions.literals import EPOCH
from segmentation.expressions.sql import BoundSql
from segmentation.rules.nodes import Kind, Rule
from segmentation.rules.references import evaluation_order
from segmentation.rules.sql import members_sql
from segmentation.rules.truths import true_of_strangers

if TYPE_CHECKING:
    from connectors.lake.spark_session import SparkSession

Members: TypeAlias = pa.Table
"""A column user_id."""
MEMBERS_AT_ONCE: Final = 100_000
Stopping = Callable[[Callable[[], None]], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedTable:
    """A version of an audience: the table (`tenant.audience`), and the snapshot that is the version."""

    name: str
    snapshot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedQuestion:
    """As `segment_queries.Question`, over tables. `audiences`: None for one without a version."""

    rule: Rule
    activity: PinnedActivity
    segments: Mapping[str, Rule]
    audiences: Mapping[str, PinnedTable | None]


class SparkQueries:
    """Every method opens a session. `catalog`: as the cluster calls the catalog with Muster's tables.

    `stopping`: while its context lasts, calls a function to interrupt. Methods raise as `spark_session`.
    """

    def __init__(self, remote: str, catalog: str, stopping: Stopping = lambda _: nullcontext()) -> None:
        self._remote = remote
        self._catalog = catalog
        self._stopping = stopping

    def breakdown(self, question: PinnedQuestion, at: datetime, users: int) -> Breakdown:
        """As `SegmentQueries.breakdown`."""
        with self._prepared(question, at) as (session, activity):
            found = breakdown_of(_asking(session), activity, question.rule, at, 0)
            if not users:
                return found
            sql = members_sql(question.rule, activity.relations(question.rule), at)
            first = BoundSql(f"SELECT {USER_ID} FROM ({sql.text}) ORDER BY {USER_ID} LIMIT {users}", sql.parameters)  # noqa: S608  # ours
            return replace(found, users=[row[0] for row in _asking(session)(first)])

    def members(self, question: PinnedQuestion, at: datetime, partitions: int | None = None) -> Iterator[Members]:
        """The members at an instant in tables of user_id, as they arrive.

        `partitions`: as for `SegmentQueries.compare`.
        """
        below = question.activity.events_below
        only = None if partitions is None or below is None else pa.array(sorted(map(int, below.ends)), pa.int32())
        with self._prepared(question, at) as (session, activity):
            sql = members_sql(question.rule, activity.relations(question.rule), at)
            rows = session.sql(sql.text, args=list(sql.parameters)).toLocalIterator()
            while some := [row[0] for row in islice(rows, MEMBERS_AT_ONCE)]:
                users = pa.array(some, pa.string())
                if only is not None and partitions is not None:
                    users = users.filter(pc.is_in(pa.array(partitions_of(users, partitions)[0]), only))
                yield pa.table({USER_ID: users})

    def unknown_names(self, question: PinnedQuestion) -> UnknownNames:
        """As `SegmentQueries.unknown_names`."""
        with self._prepared(replace(question, segments={}, audiences={}), None) as (session, activity):

            def events_with(properties: Sequence[str]) -> dict[str, list[str]]:
                wanted = ", ".join(SPARK.parameter("string") for _ in properties)
                sql = (
                    f"SELECT name, event FROM (SELECT event, explode(map_keys({PROPERTIES})) AS name "  # noqa: S608  # ours
                    f"FROM ({activity.event_rows()})) WHERE name IN ({wanted}) GROUP BY name, event "
                    "ORDER BY count(*) DESC, event"
                )
                found: dict[str, list[str]] = {}
                for name, event in _asking(session)(BoundSql(sql, tuple(properties))):
                    found.setdefault(name, []).append(event)
                return found

            return unknown_names_of(_asking(session), activity, question.rule, events_with)

    def mistyped(self, question: PinnedQuestion) -> Sequence[Mistyped]:
        """As `SegmentQueries.mistyped`."""
        with self._prepared(replace(question, segments={}, audiences={}), None) as (session, activity):
            return mistyped_of(_asking(session), activity, question.rule)

    def unknown_members(self, question: PinnedQuestion) -> dict[str, int]:
        """As `SegmentQueries.unknown_members`."""
        with self._prepared(replace(question, segments={}), None) as (session, activity):
            counts = {
                name: BoundSql(f"SELECT count(*) FROM ({activity.unknown(activity.members['audience', name])})", ())  # noqa: S608  # ours
                for name in question.audiences
            }
            return {name: int(_asking(session)(sql)[0][0]) for name, sql in counts.items()}

    def strangers(self, question: PinnedQuestion) -> dict[str, int]:
        """See `RuleQueries`. At an instant before all events, few are read."""
        if not true_of_strangers(question.rule):
            return dict.fromkeys(question.audiences, 0)
        with self._prepared(question, EPOCH) as (session, activity):
            matched = members_sql(question.rule, activity.relations(question.rule), EPOCH)
            return strangers_of(_asking(session), activity, matched, question.audiences)

    @contextmanager
    def _prepared(
        self, question: PinnedQuestion, at: datetime | None
    ) -> Iterator[tuple["SparkSession", PinnedActivity]]:
        """A session with the views, and the activity with the members of everything that the rule names."""
        with spark_session(self._remote) as session, self._stopping(session.interruptAll):
            tables = {topic: self._table(NAMESPACE, topic.removeprefix(OWN_PREFIX)) for topic in ACTIVITY_TOPICS}
            for view, sql in question.activity.views(tables).items():
                session.sql(sql.text, args=list(sql.parameters)).createOrReplaceTempView(view)
            members: dict[tuple[Kind, str], str] = {
                ("audience", name): self._users_of(table) for name, table in question.audiences.items()
            }
            activity = replace(question.activity, members=members)
            for number, name in enumerate(evaluation_order(question.segments)):
                assert at is not None  # noqa: S101  # names and types are asked without segments
                rule, view = question.segments[name], f"muster_segment_{number}"
                sql = members_sql(rule, activity.relations(rule), at)
                session.sql(sql.text, args=list(sql.parameters)).createOrReplaceTempView(view)
                members["segment", name] = f"SELECT {USER_ID} FROM {view}"  # noqa: S608  # ours
            yield session, activity

    def _users_of(self, table: PinnedTable | None) -> str:
        if table is None:
            return f"SELECT CAST(NULL AS STRING) AS {USER_ID} WHERE false"
        return f"SELECT {USER_ID} FROM {self._table(*table.name.split('.'))} VERSION AS OF {table.snapshot}"  # noqa: S608  # quoted

    def _table(self, *name: str) -> str:
        return ".".join(map(SPARK.identifier, (self._catalog, *name)))


def _asking(session: "SparkSession") -> Ask:
    return lambda sql: [tuple(row) for row in session.sql(sql.text, args=list(sql.parameters)).collect()]
