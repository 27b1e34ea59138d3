"""What `SegmentStore` reads without knowing rules, which load Arrow."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.listing import BY_NAME, Listing
from orchestration.catalog.segment_records import PartitionStatus, RuleVersion, Segment, SegmentOverview
from orchestration.catalog.segment_sizes import sizes_of
from orchestration.catalog.selected import answer_of, columns_of, time_of
from orchestration.catalog.tables import segment_partitions, segment_rules, segments
from orchestration.platform.clock import iso
from orchestration.records import segments as answers
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName

CURRENT_RULE: Final = (segment_rules.c.segment_id == segments.c.segment_id) & (
    segment_rules.c.version == segments.c.rule_version
)
_EXISTING: Final = segments.c.state != "deleted"
_ROW: Final = columns_of(Segment, segments)
_SEGMENT: Final = columns_of(
    answers.Segment,
    segments,
    segment_rules,
    segment_id=segments.c.segment_id,
    created_at=time_of(segments.c.created_at_ms),
    segment=segments.c.name,
    rule=segment_rules.c.text,
    rule_hash=segment_rules.c.hash,
    computed=("members", "as_of", "lag_s", "partitions", "reported", "complete"),
)
_RULE: Final = columns_of(
    answers.RuleVersion,
    segment_rules,
    rule_version=segment_rules.c.version,
    rule=segment_rules.c.text,
    rule_hash=segment_rules.c.hash,
)


class SegmentQueries:
    """Segments and the texts of their rules. A query is one transaction, and does not wait for writers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, tenant: TenantName, name: AudienceName) -> Segment:
        """The segment of that name. Raises `UserError` UNKNOWN_SEGMENT."""
        query = sa.select(*_ROW).where(_EXISTING, segments.c.tenant == tenant, segments.c.name == name)
        with self._database.read() as connection:
            for row in connection.execute(query).mappings():
                return Segment(**row)
        raise unknown_segment(tenant, name)

    def overviews(self, tenant: TenantName | None = None) -> list[SegmentOverview]:
        """All segments [of a tenant] that are not deleted, by tenant and name."""
        return self._overviews(*(() if tenant is None else (segments.c.tenant == tenant,)))

    def page(
        self,
        tenant: TenantName,
        *,
        listing: Listing = BY_NAME,
        after: str = "",
        limit: int,
        partitions: int,
        now_ms: int,
    ) -> list[answers.Segment]:
        """Segments of a tenant that come after one in a list. `partitions`: how many should report."""
        names = segments.c.name, segments.c.segment_id
        own = segments.c.tenant == tenant, listing.after(after, *names)
        found = self._answers(*own, order_by=listing.by(*names), limit=limit)
        return [answers.Segment(**row, **_sizes(row, of.values(), partitions, now_ms)) for row, of in found]

    def count(self, tenant: TenantName, listing: Listing = BY_NAME) -> int:
        """How many segments of a tenant a list has."""
        own = segments.c.tenant == tenant, _EXISTING, listing.fits(segments.c.name)
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).where(*own)).scalar_one())

    def one(self, tenant: TenantName, name: AudienceName, *, partitions: int, now_ms: int) -> answers.Segment:
        """The segment of that name. Raises `UserError` UNKNOWN_SEGMENT."""
        row, of = self._answer(tenant, name)
        return answers.Segment(**row, **_sizes(row, of.values(), partitions, now_ms))

    def detail(
        self,
        tenant: TenantName,
        name: AudienceName,
        *,
        unexcluded_lists: Sequence[str],
        partitions: int,
        now_ms: int,
    ) -> answers.SegmentDetail:
        """The same, with its partitions."""
        row, of = self._answer(tenant, name)
        sizes, reports = _sizes(row, of.values(), partitions, now_ms), [_partition(one) for one in of.values()]
        return answers.SegmentDetail(**row, **sizes, unexcluded_lists=unexcluded_lists, of_partitions=reports)

    def _answer(
        self, tenant: TenantName, name: AudienceName
    ) -> tuple[Mapping[Any, Any], Mapping[int, PartitionStatus]]:
        for found in self._answers(segments.c.tenant == tenant, segments.c.name == name):
            return found
        raise unknown_segment(tenant, name)

    def _answers(
        self,
        *where: sa.ColumnElement[bool],
        order_by: sa.ColumnElement[Any] = segments.c.name,
        limit: int | None = None,
    ) -> list[tuple[Mapping[Any, Any], Mapping[int, PartitionStatus]]]:
        with self._database.read() as connection:
            rows = _stored(connection, *where, order_by=order_by, limit=limit)
            of = _partitions(connection, segments.c.segment_id.in_([row["segment_id"] for row in rows]))
        return [(row, of.get(row["segment_id"], {})) for row in rows]

    def _overviews(self, *where: sa.ColumnElement[bool], limit: int | None = None) -> list[SegmentOverview]:
        query = sa.select(*_ROW).where(_EXISTING, *where).order_by(segments.c.tenant, segments.c.name).limit(limit)
        shown = segments.c.segment_id.in_(query.with_only_columns(segments.c.segment_id))
        with self._database.read() as connection:
            found = [Segment(**row) for row in connection.execute(query).mappings()]
            rules = {r.segment_id: r for r in _versions(connection, sa.and_(shown, CURRENT_RULE))}
            partitions = _partitions(connection, shown)
        return [
            SegmentOverview(segment=one, rule=rules[one.segment_id], partitions=partitions.get(one.segment_id, {}))
            for one in found
        ]

    def rule(self, segment: Segment) -> RuleVersion:
        """The rule of a segment as it was read."""
        one = (segment_rules.c.segment_id == segment.segment_id) & (segment_rules.c.version == segment.rule_version)
        with self._database.read() as connection:
            return _versions(connection, one)[0]

    def versions(self, segment_id: JobId) -> list[RuleVersion]:
        """All rules that a segment has had, oldest first."""
        with self._database.read() as connection:
            return _versions(connection, segment_rules.c.segment_id == segment_id)

    def rules_of(self, tenant: TenantName, name: AudienceName) -> list[answers.RuleVersion]:
        """All rules that the segment of that name has had, oldest first. Raises `UserError` UNKNOWN_SEGMENT."""
        query = (
            sa.select(*_RULE)
            .join(segments, segments.c.segment_id == segment_rules.c.segment_id)
            .where(_EXISTING, segments.c.tenant == tenant, segments.c.name == name)
            .order_by(segment_rules.c.version)
        )
        with self._database.read() as connection:
            if not (found := [answers.RuleVersion(**row) for row in connection.execute(query).mappings()]):
                raise unknown_segment(tenant, name)
            return found

    def sizes(self, tenant: TenantName, name: AudienceName, *, since_ms: int) -> list[answers.SegmentSize]:
        """How many members the segment of that name had, oldest first. Raises `UserError` UNKNOWN_SEGMENT."""
        with self._database.read() as connection:
            return sizes_of(connection, stored_segment(connection, tenant, name)["segment_id"], since_ms)

    def partitions(self, segment_id: JobId) -> Mapping[int, PartitionStatus]:
        """Latest status of a segment, by partition."""
        with self._database.read() as connection:
            return _partitions(connection, segments.c.segment_id == segment_id).get(segment_id, {})


def _sizes(
    segment: Mapping[Any, Any], reports: Collection[PartitionStatus], partitions: int, now_ms: int
) -> dict[str, Any]:
    """`members` is the sum over the partitions that have reported, `as_of` the instant up to which all of them hold."""
    oldest = min((report.at_us // 1000 for report in reports), default=None)
    current = sum(report.rule_version == segment["rule_version"] for report in reports)
    return {
        "members": sum(report.members for report in reports) if reports else None,
        "as_of": None if oldest is None else iso(oldest),
        "lag_s": None if oldest is None else max(0, now_ms - oldest) / 1000,
        "partitions": partitions,
        "reported": current,
        "complete": current == partitions,
    }


def _partition(one: PartitionStatus) -> answers.SegmentPartition:
    return answer_of(answers.SegmentPartition, one, as_of=iso(one.at_us // 1000))


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


def stored_segment(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> Mapping[Any, Any]:
    """The members of a segment's record that are stored. Raises `UserError` UNKNOWN_SEGMENT."""
    for row in _stored(connection, segments.c.tenant == tenant, segments.c.name == name):
        return row
    raise unknown_segment(tenant, name)


def _stored(
    connection: sa.Connection,
    *where: sa.ColumnElement[bool],
    order_by: sa.ColumnElement[Any] = segments.c.name,
    limit: int | None = None,
) -> Sequence[Mapping[Any, Any]]:
    query = (
        sa.select(*_SEGMENT)
        .join_from(segments, segment_rules, CURRENT_RULE)
        .where(_EXISTING, *where)
        .order_by(order_by)
        .limit(limit)
    )
    return connection.execute(query).mappings().all()


def unknown_segment(tenant: TenantName, name: AudienceName) -> UserError:
    """The error for an unknown or deleted segment."""
    return UserError(
        "UNKNOWN_SEGMENT",
        f"tenant {tenant} has no segment {name!r}; `muster segments list` shows those that exist",
        tenant=tenant,
        segment=name,
    )
