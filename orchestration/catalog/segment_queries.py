"""What `SegmentStore` reads without knowing rules, which load Arrow."""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.segment_records import PartitionStatus, RuleVersion, Segment, SegmentOverview
from orchestration.catalog.tables import segment_partitions, segment_rules, segments
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName

CURRENT_RULE: Final = (segment_rules.c.segment_id == segments.c.segment_id) & (
    segment_rules.c.version == segments.c.rule_version
)
_EXISTING: Final = segments.c.state != "deleted"


class SegmentQueries:
    """Segments and the texts of their rules. A query is one transaction, and does not wait for writers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, tenant: TenantName, name: AudienceName) -> Segment:
        """The segment of that name. Raises `UserError` UNKNOWN_SEGMENT."""
        with self._database.read() as connection:
            return get_segment(connection, tenant, name)

    def overviews(self, tenant: TenantName | None = None) -> list[SegmentOverview]:
        """All segments [of a tenant] that are not deleted, by tenant and name."""
        return self._overviews(*(() if tenant is None else (segments.c.tenant == tenant,)))

    def page(self, tenant: TenantName, *, after: str = "", limit: int) -> list[SegmentOverview]:
        """Segments of a tenant that are not deleted and whose names come after one, by name."""
        return self._overviews(segments.c.tenant == tenant, segments.c.name > after, limit=limit)

    def overview(self, tenant: TenantName, name: AudienceName) -> SegmentOverview:
        """The segment of that name. Raises `UserError` UNKNOWN_SEGMENT."""
        if not (found := self._overviews(segments.c.tenant == tenant, segments.c.name == name)):
            raise unknown_segment(tenant, name)
        return found[0]

    def _overviews(self, *where: sa.ColumnElement[bool], limit: int | None = None) -> list[SegmentOverview]:
        query = sa.select(segments).where(_EXISTING, *where).order_by(segments.c.tenant, segments.c.name).limit(limit)
        shown = segments.c.segment_id.in_(query.with_only_columns(segments.c.segment_id))
        with self._database.read() as connection:
            found = [segment_from_row(row) for row in connection.execute(query).mappings()]
            rules = {r.segment_id: r for r in _versions(connection, sa.and_(shown, CURRENT_RULE))}
            partitions = _partitions(connection, shown)
        return [
            SegmentOverview(segment=one, rule=rules[one.segment_id], partitions=partitions.get(one.segment_id, {}))
            for one in found
        ]

    def versions(self, segment_id: JobId) -> list[RuleVersion]:
        """All rules that a segment has had, oldest first."""
        with self._database.read() as connection:
            return _versions(connection, segment_rules.c.segment_id == segment_id)

    def versions_of(self, tenant: TenantName, name: AudienceName) -> list[RuleVersion]:
        """All rules that the segment of that name has had, oldest first. Raises `UserError` UNKNOWN_SEGMENT."""
        with self._database.read() as connection:
            named = (segments.c.tenant == tenant) & (segments.c.name == name)
            if not (found := _versions(connection, named & _EXISTING)):
                raise unknown_segment(tenant, name)
            return found

    def partitions(self, segment_id: JobId) -> Mapping[int, PartitionStatus]:
        """Latest status of a segment, by partition."""
        with self._database.read() as connection:
            return _partitions(connection, segments.c.segment_id == segment_id).get(segment_id, {})


def _versions(connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[RuleVersion]:
    query = (
        sa.select(segment_rules)
        .join(segments, segments.c.segment_id == segment_rules.c.segment_id)
        .where(where)
        .order_by(segment_rules.c.segment_id, segment_rules.c.version)
    )
    return [RuleVersion(**row) for row in connection.execute(query).mappings()]


def _partitions(connection: sa.Connection, where: sa.ColumnElement[bool]) -> dict[JobId, dict[int, PartitionStatus]]:
    query = (
        sa.select(segment_partitions)
        .join(segments, segments.c.segment_id == segment_partitions.c.segment_id)
        .where(where)
        .order_by(segment_partitions.c.partition)
    )
    out: dict[JobId, dict[int, PartitionStatus]] = {}
    for row in connection.execute(query).mappings():
        out.setdefault(JobId(row["segment_id"]), {})[row["partition"]] = PartitionStatus(**row)
    return out


def find_segment(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> Segment | None:
    """The segment of that name, deleted ones included. None if there was never one."""
    query = sa.select(segments).where(segments.c.tenant == tenant, segments.c.name == name)
    row = connection.execute(query).mappings().first()
    return None if row is None else segment_from_row(row)


def get_segment(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> Segment:
    """The segment of that name. Raises `UserError` UNKNOWN_SEGMENT."""
    found = find_segment(connection, tenant, name)
    if found is None or found.state == "deleted":
        raise unknown_segment(tenant, name)
    return found


def unknown_segment(tenant: TenantName, name: AudienceName) -> UserError:
    """The error for an unknown or deleted segment."""
    return UserError(
        "UNKNOWN_SEGMENT",
        f"tenant {tenant} has no segment {name!r}; `muster segments list` shows those that exist",
        tenant=tenant,
        segment=name,
    )


def segment_from_row(row: Mapping[Any, Any]) -> Segment:
    """A row of `segments`."""
    return Segment(**row)
