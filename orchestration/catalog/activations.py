"""Activations: messages about segments and audiences that workers need, pending and sent."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.names import lock_tenant
from orchestration.catalog.segment_records import KIND_OF, ActivatedAudience, Activation, ActivationKind, Segment
from orchestration.catalog.segments import queue
from orchestration.catalog.selected import from_row
from orchestration.catalog.tables import (
    activated_audiences,
    activations,
    audiences,
    segment_partitions,
    segment_rules,
    segments,
)
from orchestration.catalog.upsert import upsert
from schemas.ids import AudienceName, JobId, TenantName, Version


class ActivationStore:
    """Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unsent(self) -> list[Activation]:
        """Activations that are not in every partition yet, ordered by sequence within each tenant."""
        rule = (segment_rules.c.segment_id == activations.c.segment_id) & (
            segment_rules.c.version == activations.c.rule_version
        )
        query = (
            sa.select(
                activations.c.tenant,
                activations.c.sequence,
                segments.c.name.label("segment"),
                activations.c.kind,
                activations.c.rule_version,
                segment_rules.c.rule,
            )
            .join(segments, segments.c.segment_id == activations.c.segment_id)
            .join(segment_rules, rule)
            .where(activations.c.sent_at_ms.is_(None))
            .order_by(activations.c.tenant, activations.c.sequence)
        )
        with self._database.read() as connection:
            return [Activation(**row) for row in connection.execute(query).mappings()]

    def mark_sent(self, activation: Activation, offsets: Sequence[int], now_ms: int) -> None:
        """Store its offset in each partition; the first copy wins."""
        key = (activations.c.tenant == activation.tenant) & (activations.c.sequence == activation.sequence)
        with self._database.write() as connection:
            connection.execute(
                activations.update()
                .where(key, activations.c.sent_at_ms.is_(None))
                .values(sent_at_ms=now_ms, offsets=list(offsets))
            )

    def contradicted(self) -> list[Segment]:
        """Segments whose status in a worker contradicts the last activation, although the worker has read past it.

        Two control planes that send at once, one of them late, leave an older message behind a newer one.
        """
        later = activations.alias()
        last = sa.select(sa.func.max(later.c.sequence)).where(later.c.segment_id == segments.c.segment_id)
        other = segment_partitions.c.paused | (segments.c.rule_version != segment_partitions.c.rule_version)
        query = (
            sa.select(
                segments,
                activations.c.offsets,
                segment_partitions.c.partition,
                segment_partitions.c.activations.label("read_to"),
            )
            .join(segment_partitions, segment_partitions.c.segment_id == segments.c.segment_id)
            .join(
                activations,
                (activations.c.tenant == segments.c.tenant) & (activations.c.sequence == last.scalar_subquery()),
            )
            .where(
                activations.c.sent_at_ms.is_not(None),
                sa.or_(
                    segments.c.state == "deleted",
                    sa.and_(segments.c.state == "paused", segment_partitions.c.paused.is_(False)),
                    sa.and_(segments.c.state == "active", other),
                ),
            )
        )
        found: dict[JobId, Segment] = {}
        with self._database.read() as connection:
            for row in connection.execute(query).mappings():
                offsets = row["offsets"]
                if row["partition"] < len(offsets) and row["read_to"] > offsets[row["partition"]]:
                    found[row["segment_id"]] = from_row(Segment, row)
        return list(found.values())

    def resend(self, segment: Segment, now_ms: int) -> None:
        """Queue the current state of a segment once more, unless the segment has changed meanwhile."""
        unchanged = (segments.c.segment_id == segment.segment_id) & (segments.c.updated_at_ms == segment.updated_at_ms)
        with self._database.write() as connection:
            lock_tenant(connection, segment.tenant)
            if connection.execute(sa.select(segments.c.segment_id).where(unchanged)).first() is not None:
                kind = KIND_OF[segment.state]
                queue(connection, segment.tenant, segment.segment_id, kind, segment.rule_version, now_ms)

    def resend_all(self, now_ms: int) -> int:
        """Queue the state of every segment again, in the order of the changes, and mark every audience as pending.

        Used when the log with the activations is lost. Returns the number of segments.
        """
        kinds: dict[str, tuple[ActivationKind, ...]] = {
            "active": ("activate",),
            "paused": ("activate", "pause"),
            "deleted": ("delete",),
        }
        last = sa.func.max(activations.c.sequence)
        changes = sa.select(activations.c.segment_id, last.label("last")).group_by(activations.c.segment_id).subquery()
        query = (
            sa.select(segments).join(changes, changes.c.segment_id == segments.c.segment_id).order_by(changes.c.last)
        )
        with self._database.write() as connection:
            for tenant in connection.scalars(sa.select(segments.c.tenant).distinct().order_by(segments.c.tenant)).all():
                lock_tenant(connection, tenant)
            found = connection.execute(query).mappings().all()
            for row in found:
                for kind in kinds[row["state"]]:
                    queue(connection, row["tenant"], row["segment_id"], kind, row["rule_version"], now_ms)
            connection.execute(activated_audiences.update().values(told=False))
        return len(found)

    def all_sent(self, tenant: TenantName) -> bool:
        """Whether workers have every activation of a tenant's segments, and of the audiences that these name."""
        a, chosen = activations.c, activated_audiences.c
        unsent = sa.select(a.sequence).where(a.tenant == tenant, a.sent_at_ms.is_(None)).limit(1)
        same_audience = audiences.c.audience_id == chosen.audience_id
        unsent_audiences = (
            sa.select(chosen.audience_id)
            .join(audiences, same_audience)
            .where(audiences.c.tenant == tenant, chosen.told.is_(False))
        )
        with self._database.read() as connection:
            return all(connection.execute(query.limit(1)).first() is None for query in (unsent, unsent_audiences))

    def audience(self, audience_id: JobId) -> ActivatedAudience | None:
        """The version that workers use for an audience. None if no rule has named the audience."""
        query = sa.select(activated_audiences).where(activated_audiences.c.audience_id == audience_id)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else ActivatedAudience(**row)

    def choose(self, audience_id: JobId, version: Version, earlier: Version | None) -> None:
        """Make a version the next one that workers get; retention keeps it from here on."""
        values = {"version": version, "earlier": earlier, "told": False}
        with self._database.write() as connection:
            upsert(connection, activated_audiences, {"audience_id": audience_id}, values)

    def mark_audience_sent(self, audience_id: JobId, version: Version) -> None:
        """Record that every partition has it."""
        a = activated_audiences.c
        with self._database.write() as connection:
            connection.execute(
                activated_audiences.update().where(a.audience_id == audience_id, a.version == version).values(told=True)
            )

    def forget_all_but(self, tenant: TenantName, names: Collection[AudienceName]) -> None:
        """Release the tenant's audiences that no rule names any more to retention."""
        unnamed = sa.select(audiences.c.audience_id).where(audiences.c.tenant == tenant, audiences.c.name.not_in(names))
        query = activated_audiences.delete().where(activated_audiences.c.audience_id.in_(unnamed))
        with self._database.read() as connection:
            known = sa.select(activated_audiences.c.audience_id).where(activated_audiences.c.audience_id.in_(unnamed))
            if connection.execute(known).first() is None:
                return
        with self._database.write() as connection:
            connection.execute(query)
