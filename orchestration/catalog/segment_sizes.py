"""How many members a segment had, hour by hour."""

from collections.abc import Collection
from typing import Final

import sqlalchemy as sa

from orchestration.catalog.selected import columns_of, time_of
from orchestration.catalog.tables import segment_partitions, segment_sizes, segments
from orchestration.catalog.upsert import upsert
from orchestration.records.segments import SegmentSize
from schemas.ids import JobId

KEPT_DAYS: Final = 90
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_SIZE: Final = columns_of(SegmentSize, segment_sizes, hour=time_of(segment_sizes.c.hour_ms))


def record_sizes(connection: sa.Connection, reported: Collection[JobId]) -> None:
    """Store the size of each of these segments for the hour of its report, if all partitions report the current rule.

    An edited segment has no size until all of it is evaluated again: a partial sum would look like a loss of members.
    """
    of = segment_partitions.c
    complete = (
        sa.select(
            of.segment_id,
            of.rule_version,
            sa.func.sum(of.members).label("members"),
            sa.func.min(of.at_us).label("at_us"),
        )
        .join(segments, (segments.c.segment_id == of.segment_id) & (segments.c.rule_version == of.rule_version))
        .where(of.segment_id.in_(reported))
        .group_by(of.segment_id, of.rule_version)
        .having(sa.func.count() == sa.func.max(of.partitions))
    )
    hours = {}
    for row in connection.execute(complete).all():
        hours[row.segment_id] = hour = int(row.at_us) // 1000 // HOUR_MS * HOUR_MS
        key = {"segment_id": row.segment_id, "hour_ms": hour}
        upsert(connection, segment_sizes, key, {"members": int(row.members), "rule_version": row.rule_version})
    if hours:
        outdated = segment_sizes.c.hour_ms < min(hours.values()) - KEPT_DAYS * DAY_MS
        connection.execute(segment_sizes.delete().where(segment_sizes.c.segment_id.in_(hours), outdated))


def sizes_of(connection: sa.Connection, segment_id: JobId, since_ms: int) -> list[SegmentSize]:
    """The sizes of a segment, oldest first."""
    query = (
        sa.select(*_SIZE)
        .where(segment_sizes.c.segment_id == segment_id, segment_sizes.c.hour_ms >= since_ms)
        .order_by(segment_sizes.c.hour_ms)
    )
    return [SegmentSize(**row) for row in connection.execute(query).mappings()]
