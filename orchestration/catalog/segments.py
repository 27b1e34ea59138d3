"""Segments and their rules in the catalog. Each change is written together with its activation for the workers.

Changes of one tenant are serialized, so that activations have the order of the changes, and rules are checked against
the rules of that moment.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.names import VISIBLE, lock_tenant, refuse_audience
from orchestration.catalog.segment_records import (
    ActivationKind,
    NewRule,
    PartitionStatus,
    RuleVersion,
    Segment,
    SegmentOverview,
    SegmentState,
)
from orchestration.catalog.tables import activations, audiences, segment_partitions, segment_rules, segments
from orchestration.catalog.upsert import upsert
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName
from schemas.segment_messages import SegmentStatus
from segmentation.rules.canonical import rule_hash
from segmentation.rules.nodes import Rule
from segmentation.rules.records import rule_from_json, rule_record
from segmentation.rules.references import check_members, referrers

MAX_SEGMENTS: Final = 500
"""Per tenant: a worker keeps the state of all of them, for every user of its partitions, in memory."""
_CURRENT: Final = (segment_rules.c.segment_id == segments.c.segment_id) & (
    segment_rules.c.version == segments.c.rule_version
)


class SegmentStore:
    """Segments. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, tenant: TenantName, name: AudienceName, new: NewRule, *, new_id: JobId, author: str, now_ms: int
    ) -> Segment:
        """Create a segment, or re-create a deleted one with another rule version.

        Raises `UserError` UNKNOWN_TENANT, NAME_TAKEN, SEGMENT_EXISTS, TOO_MANY_SEGMENTS, UNKNOWN_AUDIENCE,
        UNKNOWN_SEGMENT, SEGMENT_CYCLE.
        """
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            refuse_audience(connection, tenant, name)
            found = _find(connection, tenant, name)
            if found is not None and found.state != "deleted":
                raise UserError(
                    "SEGMENT_EXISTS",
                    f"tenant {tenant} already has a segment {name!r}; `muster segments edit` changes its rule",
                    tenant=tenant,
                    segment=name,
                )
            rules = _rules(connection, tenant)
            if len(rules) >= MAX_SEGMENTS:
                raise UserError(
                    "TOO_MANY_SEGMENTS",
                    f"tenant {tenant} has {len(rules)} segments; at most {MAX_SEGMENTS} are allowed",
                    tenant=tenant,
                    segments=len(rules),
                )
            _check(connection, tenant, name, rules, new)
            if found is None:
                found = Segment(
                    segment_id=new_id,
                    tenant=tenant,
                    name=name,
                    state="active",
                    rule_version=0,
                    created_at_ms=now_ms,
                    updated_at_ms=now_ms,
                )
                connection.execute(segments.insert().values(**_values(found)))
            return _add_rule(connection, found, new, author, now_ms)

    def edit(
        self, tenant: TenantName, name: AudienceName, new: NewRule, *, author: str, now_ms: int
    ) -> tuple[Segment, bool]:
        """Change the rule; returns whether it changed. The same rule in other words makes no version.

        Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED, UNKNOWN_AUDIENCE, SEGMENT_CYCLE.
        """
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            found = _get(connection, tenant, name)
            rules = _rules(connection, tenant)
            _check(connection, tenant, name, rules, new)
            if rule_hash(new.rule) == rule_hash(rules[name]):
                return found, False
            if found.state == "paused":  # a paused segment keeps its members
                raise UserError(
                    "SEGMENT_PAUSED",
                    f"segment {name} is paused; run `muster segments resume {name}` first, then edit it",
                    tenant=tenant,
                    segment=name,
                )
            return _add_rule(connection, found, new, author, now_ms), True

    def pause(self, tenant: TenantName, name: AudienceName, *, now_ms: int) -> Segment:
        """Stop evaluating a segment. No effect on a paused one. Raises `UserError` UNKNOWN_SEGMENT."""
        return self._change_state(tenant, name, "paused", "pause", now_ms)

    def resume(self, tenant: TenantName, name: AudienceName, *, now_ms: int) -> Segment:
        """Evaluate a paused segment again. Raises `UserError` UNKNOWN_SEGMENT."""
        return self._change_state(tenant, name, "active", "activate", now_ms)

    def delete(self, tenant: TenantName, name: AudienceName, *, now_ms: int) -> Segment:
        """Delete a segment; all its members leave. Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_IN_USE."""
        return self._change_state(tenant, name, "deleted", "delete", now_ms)

    def get(self, tenant: TenantName, name: AudienceName) -> Segment:
        """The segment of that name. Raises `UserError` UNKNOWN_SEGMENT."""
        with self._database.read() as connection:
            return _get(connection, tenant, name)

    def overviews(self, tenant: TenantName | None = None) -> list[SegmentOverview]:
        """All segments [of a tenant] that are not deleted, by tenant and name."""
        existing = segments.c.state != "deleted"
        if tenant is not None:
            existing &= segments.c.tenant == tenant
        query = sa.select(segments).where(existing).order_by(segments.c.tenant, segments.c.name)
        with self._database.read() as connection:
            found = [_segment(row) for row in connection.execute(query).mappings()]
            rules = {r.segment_id: r for r in _versions(connection, sa.and_(existing, _CURRENT))}
            partitions = _partitions(connection, existing)
        return [
            SegmentOverview(segment=one, rule=rules[one.segment_id], partitions=partitions.get(one.segment_id, {}))
            for one in found
        ]

    def rules(self, tenant: TenantName) -> dict[str, Rule]:
        """The current rules of a tenant's segments, by segment name."""
        with self._database.read() as connection:
            return _rules(connection, tenant)

    def versions(self, segment_id: JobId) -> list[RuleVersion]:
        """All rules that a segment has had, oldest first."""
        with self._database.read() as connection:
            return _versions(connection, segment_rules.c.segment_id == segment_id)

    def partitions(self, segment_id: JobId) -> Mapping[int, PartitionStatus]:
        """Latest status of a segment, by partition."""
        with self._database.read() as connection:
            return _partitions(connection, segments.c.segment_id == segment_id).get(segment_id, {})

    def put_statuses(self, statuses: Iterable[SegmentStatus]) -> None:
        """Store the workers' statuses of known segments; per partition the latest instant wins."""
        last = {(one.tenant, one.segment, one.partition): one for one in sorted(statuses, key=lambda one: one.at_us)}
        if not last:
            return
        tenants = {tenant for tenant, _, _ in last}
        query = sa.select(segments.c.tenant, segments.c.name, segments.c.segment_id).where(
            segments.c.tenant.in_(tenants)
        )
        with self._database.write() as connection:
            ids = {(row.tenant, row.name): row.segment_id for row in connection.execute(query)}
            for (tenant, name, partition), one in sorted(last.items(), key=lambda item: item[0]):
                if (segment_id := ids.get((tenant, name))) is None:
                    continue
                columns = [c for c in segment_partitions.c.keys() if c not in {"segment_id", "partition"}]  # noqa: SIM118
                upsert(
                    connection,
                    segment_partitions,
                    {"segment_id": segment_id, "partition": partition},
                    {column: getattr(one, column) for column in columns},
                    where=segment_partitions.c.at_us <= one.at_us,
                )

    def _change_state(
        self, tenant: TenantName, name: AudienceName, state: SegmentState, kind: ActivationKind, now_ms: int
    ) -> Segment:
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            found = _get(connection, tenant, name)
            if found.state == state:
                return found
            if state == "deleted" and (users := referrers("segment", name, _rules(connection, tenant))):
                raise UserError(
                    "SEGMENT_IN_USE",
                    f"the rules of these segments refer to {name}: {', '.join(users)}; edit or delete them first",
                    tenant=tenant,
                    segment=name,
                    segments=list(users),
                )
            return _change(connection, found, state, found.rule_version, kind, now_ms)


def _add_rule(connection: sa.Connection, segment: Segment, new: NewRule, author: str, now_ms: int) -> Segment:
    version = segment.rule_version + 1
    connection.execute(
        segment_rules.insert().values(
            segment_id=segment.segment_id,
            version=version,
            text=new.text,
            timezone=new.timezone,
            rule=json.dumps(rule_record(new.rule), separators=(",", ":"), ensure_ascii=False),
            hash=rule_hash(new.rule),
            author=author[:255],
            created_at_ms=now_ms,
        )
    )
    return _change(connection, segment, "active", version, "activate", now_ms)


def _change(
    connection: sa.Connection, segment: Segment, state: SegmentState, version: int, kind: ActivationKind, now_ms: int
) -> Segment:
    changed = {"state": state, "rule_version": version, "updated_at_ms": now_ms}
    connection.execute(segments.update().where(segments.c.segment_id == segment.segment_id).values(**changed))
    queue(connection, segment.tenant, segment.segment_id, kind, version, now_ms)
    return _segment({**_values(segment), **changed})


def queue(
    connection: sa.Connection, tenant: TenantName, segment_id: JobId, kind: ActivationKind, version: int, now_ms: int
) -> None:
    """Queue an activation after all earlier ones of the tenant, which is locked."""
    last = connection.scalar(sa.select(sa.func.max(activations.c.sequence)).where(activations.c.tenant == tenant))
    connection.execute(
        activations.insert().values(
            tenant=tenant,
            sequence=(last or 0) + 1,
            segment_id=segment_id,
            kind=kind,
            rule_version=version,
            created_at_ms=now_ms,
        )
    )


def _check(
    connection: sa.Connection, tenant: TenantName, name: AudienceName, rules: Mapping[str, Rule], new: NewRule
) -> None:
    known = connection.scalars(sa.select(audiences.c.name).where(audiences.c.tenant == tenant, VISIBLE))
    check_members(name, {**rules, name: new.rule}, set(known), new.written)


def _rules(connection: sa.Connection, tenant: TenantName) -> dict[str, Rule]:
    query = (
        sa.select(segments.c.name, segment_rules.c.rule)
        .join(segment_rules, _CURRENT)
        .where(segments.c.tenant == tenant, segments.c.state != "deleted")
    )
    return {row.name: rule_from_json(row.rule.encode()) for row in connection.execute(query)}


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


def _find(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> Segment | None:
    query = sa.select(segments).where(segments.c.tenant == tenant, segments.c.name == name)
    row = connection.execute(query).mappings().first()
    return None if row is None else _segment(row)


def _get(connection: sa.Connection, tenant: TenantName, name: AudienceName) -> Segment:
    found = _find(connection, tenant, name)
    if found is None or found.state == "deleted":
        raise UserError(
            "UNKNOWN_SEGMENT",
            f"tenant {tenant} has no segment {name!r}; `muster segments list` shows those that exist",
            tenant=tenant,
            segment=name,
        )
    return found


def _segment(row: Mapping[Any, Any]) -> Segment:
    return Segment(**row)


def _values(segment: Segment) -> dict[str, Any]:
    return {name: getattr(segment, name) for name in Segment.__dataclass_fields__}
