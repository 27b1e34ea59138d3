"""Segments and their rules in the catalog. Each change is written together with its activation for the workers.

Changes of one tenant are serialized, so that activations have the order of the changes, and rules are checked against
the rules of that moment.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.names import VISIBLE, lock_tenant, refuse_audience
from orchestration.catalog.segment_queries import CURRENT_RULE, SegmentQueries, stored_segment
from orchestration.catalog.segment_records import KIND_OF, ActivationKind, SegmentState
from orchestration.catalog.segment_sizes import record_sizes
from orchestration.catalog.tables import activations, audiences, segment_partitions, segment_rules, segments
from orchestration.catalog.upsert import upsert
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName
from schemas.segment_messages import SegmentStatus
from segmentation.rules.canonical import rule_hash
from segmentation.rules.nodes import Rule
from segmentation.rules.record_reader import rule_from_json
from segmentation.rules.records import rule_record
from segmentation.rules.references import check_members, referrers

MAX_SEGMENTS: Final = 500
"""Per tenant: a worker keeps the state of all of them, for every user of its partitions, in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRule:
    """A rule as given, checked without its context. `json`: it was given as JSON, and `text` is derived from that."""

    text: str
    timezone: str | None
    rule: Rule
    json: bool = False

    @property
    def written(self) -> str | None:
        """The text, if a person wrote it."""
        return None if self.json else self.text


class SegmentStore(SegmentQueries):
    """Segments and their rules. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def create(
        self, tenant: TenantName, name: AudienceName, new: NewRule, *, new_id: JobId, author: str, now_ms: int
    ) -> None:
        """Create a segment, or re-create a deleted one with another rule version.

        Raises `UserError` UNKNOWN_TENANT, NAME_TAKEN, SEGMENT_EXISTS, TOO_MANY_SEGMENTS, UNKNOWN_AUDIENCE,
        UNKNOWN_SEGMENT, SEGMENT_CYCLE.
        """
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            refuse_audience(connection, tenant, name)
            query = sa.select(segments).where(segments.c.tenant == tenant, segments.c.name == name)
            found: Mapping[Any, Any] | None = connection.execute(query).mappings().first()
            if found is not None and found["state"] != "deleted":
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
                found = {"segment_id": new_id, "tenant": tenant, "name": name, "state": "active", "rule_version": 0}
                connection.execute(segments.insert().values(**found, created_at_ms=now_ms, updated_at_ms=now_ms))
            _add_rule(connection, found, new, author, now_ms)

    def edit(
        self,
        tenant: TenantName,
        name: AudienceName,
        new: NewRule,
        *,
        author: str,
        now_ms: int,
        check: Callable[[Mapping[Any, Any]], None] = lambda _: None,
    ) -> None:
        """Change the rule. The same rule in other words makes no version.

        `check` may refuse by the segment as it is before.

        Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED, UNKNOWN_AUDIENCE, SEGMENT_CYCLE.
        """
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            found = stored_segment(connection, tenant, name)
            check(found)
            rules = _rules(connection, tenant)
            _check(connection, tenant, name, rules, new)
            if rule_hash(new.rule) == rule_hash(rules[name]):
                return
            if found["state"] == "paused":  # a paused segment keeps its members
                raise UserError(
                    "SEGMENT_PAUSED",
                    f"segment {name} is paused; run `muster segments resume {name}` first, then edit it",
                    tenant=tenant,
                    segment=name,
                )
            _add_rule(connection, found, new, author, now_ms)

    def pause(self, tenant: TenantName, name: AudienceName, *, now_ms: int) -> None:
        """Stop evaluating a segment. No effect on a paused one. Raises `UserError` UNKNOWN_SEGMENT."""
        self._change_state(tenant, name, "paused", now_ms)

    def resume(self, tenant: TenantName, name: AudienceName, *, now_ms: int) -> None:
        """Evaluate a paused segment again. Raises `UserError` UNKNOWN_SEGMENT."""
        self._change_state(tenant, name, "active", now_ms)

    def delete(
        self,
        tenant: TenantName,
        name: AudienceName,
        *,
        now_ms: int,
        check: Callable[[Mapping[Any, Any]], None] = lambda _: None,
    ) -> None:
        """Delete a segment; all its members leave. `check` may refuse by the segment as it is before.

        Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_IN_USE.
        """
        self._change_state(tenant, name, "deleted", now_ms, check)

    def rules(self, tenant: TenantName) -> dict[str, Rule]:
        """The current rules of a tenant's segments, by segment name."""
        with self._database.read() as connection:
            return _rules(connection, tenant)

    def put_statuses(self, statuses: Iterable[SegmentStatus]) -> None:
        """Store the workers' statuses of known segments, per partition the latest, and with them their sizes."""
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
            record_sizes(connection, {ids[one] for one in {(tenant, name) for tenant, name, _ in last} & ids.keys()})

    def _change_state(
        self,
        tenant: TenantName,
        name: AudienceName,
        state: SegmentState,
        now_ms: int,
        check: Callable[[Mapping[Any, Any]], None] = lambda _: None,
    ) -> None:
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            found = stored_segment(connection, tenant, name)
            check(found)
            if found["state"] == state:
                return
            if state == "deleted" and (users := referrers("segment", name, _rules(connection, tenant))):
                raise UserError(
                    "SEGMENT_IN_USE",
                    f"the rules of these segments refer to {name}: {', '.join(users)}; edit or delete them first",
                    tenant=tenant,
                    segment=name,
                    segments=list(users),
                )
            _change(connection, found, state, found["rule_version"], now_ms)


def _add_rule(connection: sa.Connection, segment: Mapping[Any, Any], new: NewRule, author: str, now_ms: int) -> None:
    version = segment["rule_version"] + 1
    connection.execute(
        segment_rules.insert().values(
            segment_id=segment["segment_id"],
            version=version,
            text=new.text,
            timezone=new.timezone,
            rule=json.dumps(rule_record(new.rule), separators=(",", ":"), ensure_ascii=False),
            hash=rule_hash(new.rule),
            author=author[:255],
            created_at_ms=now_ms,
        )
    )
    _change(connection, segment, "active", version, now_ms)


def _change(
    connection: sa.Connection, segment: Mapping[Any, Any], state: SegmentState, version: int, now_ms: int
) -> None:
    mine = segments.c.segment_id == segment["segment_id"]
    changed = {"state": state, "rule_version": version, "updated_at_ms": now_ms}
    connection.execute(segments.update().where(mine).values(**changed))
    queue(connection, segment["tenant"], segment["segment_id"], KIND_OF[state], version, now_ms)


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
        .join(segment_rules, CURRENT_RULE)
        .where(segments.c.tenant == tenant, segments.c.state != "deleted")
    )
    return {row.name: rule_from_json(row.rule.encode()) for row in connection.execute(query)}
