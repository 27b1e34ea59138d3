"""Lag and members of the groups of workers: samples over time, and the newest state of each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.tables import samples, worker_groups
from orchestration.catalog.upsert import upsert

KEPT_MS: Final = 24 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSample:
    """A group's position in a topic at one moment: sums over the partitions, and the members of the group.

    `acknowledged` and `sent` count messages since the topic was made: rates are their differences.
    """

    at_ms: int
    group: str
    topic: str
    members: int
    lag: int
    acknowledged: int
    sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """A group at the time of its newest samples. `workers`: JSON records; `lag`: by topic, by partition."""

    group: str
    at_ms: int
    workers: Sequence[Mapping[str, Any]]
    lag: Mapping[str, Sequence[int]]


class SampleStore:
    """Samples. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, new: Sequence[TopicSample], groups: Sequence[GroupState], *, now_ms: int) -> None:
        """Write what was measured at one moment, and forget what is older than a day. May be repeated."""
        with self._database.write() as connection:
            for one in new:
                key = {"at_ms": one.at_ms, "group_name": one.group, "topic": one.topic}
                values = {name: getattr(one, name) for name in ("members", "lag", "acknowledged", "sent")}
                upsert(connection, samples, key, values)
            for group in groups:
                values = {"at_ms": group.at_ms, "workers": list(group.workers), "lag": dict(group.lag)}
                upsert(connection, worker_groups, {"group_name": group.group}, values)
            connection.execute(samples.delete().where(samples.c.at_ms < now_ms - KEPT_MS))

    def since(self, at_ms: int, *, step_ms: int) -> list[TopicSample]:
        """Samples from a time on, one for each topic and step that has any, oldest first.

        `at_ms` of one is the time of the newest in its step; members are the fewest, and the lag is the greatest, so
        that no short outage disappears between two points.
        """
        s = samples.c
        latest = sa.func.max(s.at_ms).label("at_ms")
        values = (sa.func.min(s.members).label("members"), sa.func.max(s.lag).label("lag"))
        counters = (sa.func.max(s.acknowledged).label("acknowledged"), sa.func.max(s.sent).label("sent"))
        step = s.at_ms - s.at_ms % step_ms
        query = (
            sa.select(s.group_name, s.topic, latest, *values, *counters)
            .where(s.at_ms >= at_ms)
            .group_by(s.group_name, s.topic, step)
            .order_by(latest, s.group_name, s.topic)
        )
        with self._database.read() as connection:
            return [
                TopicSample(group=row.pop("group_name"), **row)
                for row in map(dict, connection.execute(query).mappings())
            ]

    def groups(self) -> list[GroupState]:
        """The newest state of every group."""
        query = sa.select(worker_groups).order_by(worker_groups.c.group_name)
        with self._database.read() as connection:
            return [
                GroupState(group=row.pop("group_name"), **row)
                for row in map(dict, connection.execute(query).mappings())
            ]
