"""One partition of the log of events and profiles, folded: the members of each tenant's segments at a `LogPosition`.

All input that changes the answer passes through here: rows, activations, time. Records taken before are recognised by
their offset, so a log may be read again from any earlier offset.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import OFFSET
from schemas.ids import AudienceName, Partition, TenantName
from schemas.topics import EVENTS
from segmentation.evaluation.batches import Changes
from segmentation.evaluation.columns import NEVER
from segmentation.evaluation.evaluator import Evaluator
from segmentation.intake.batches import event_batches, profile_batches
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.tenant import Activation, PartitionHistory, TenantSegments


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """Changes of one tenant's segment, and the log position at which the answer holds."""

    tenant: TenantName
    changes: Changes
    position: LogPosition


class PartitionSegments:
    """State of one partition; without rules it is only a position."""

    def __init__(
        self, partition: Partition, position: LogPosition, tenants: Mapping[TenantName, TenantSegments] = {}
    ) -> None:  # copied
        self.partition = partition
        self.position = position
        self.tenants = dict(tenants or {})

    def apply_events(self, rows: pa.RecordBatch, end: int, at_us: int) -> list[Emission]:
        """Take rows (`EVENT_ROWS`) of the records up to `end`, exclusive; rows taken before are skipped."""
        rows = rows.slice(np.searchsorted(rows.column(OFFSET).to_numpy(), self.position.events))
        self._move(at_us, events=max(end, self.position.events))
        emitted = self._advance()
        for tenant, batch in event_batches(rows):
            if (segments := self.tenants.get(tenant)) is not None:
                emitted += self._emissions(tenant, segments.evaluator.apply_events(batch, self.position.at_us))
        return emitted

    def apply_profiles(self, rows: pa.RecordBatch, end: int, at_us: int) -> list[Emission]:
        """As `apply_events`, with `PROFILE_ROWS`."""
        rows = rows.slice(np.searchsorted(rows.column(OFFSET).to_numpy(), self.position.profiles))
        self._move(at_us, profiles=max(end, self.position.profiles))
        emitted = self._advance()
        for tenant, batch in profile_batches(rows):
            if (segments := self.tenants.get(tenant)) is not None:
                emitted += self._emissions(tenant, segments.evaluator.apply_profiles(batch, self.position.at_us))
        return emitted

    def activate(self, message: Activation, offset: int, history: PartitionHistory, at_us: int) -> list[Emission]:
        """Apply one activation message. Raises as `TenantSegments.activate`; the message is then skipped.

        Changes caused by time are returned as well, and lost if this raises: call `advance` to `at_us` first.
        """
        if offset < self.position.activations:
            return []
        self._move(at_us, activations=offset + 1)
        emitted = self._advance()
        segments = self.tenants.get(message.tenant)
        if segments is None:
            segments = TenantSegments(tenant=message.tenant, evaluator=Evaluator({}, at_us=self.position.at_us))
        emitted += self._emissions(message.tenant, segments.activate(message, history, self.position.at_us))
        self.tenants[message.tenant] = segments
        return emitted

    def advance(self, at_us: int) -> list[Emission]:
        """Advance time to `at_us`, never back."""
        self._move(at_us)
        return self._advance()

    @property
    def next_us(self) -> int:
        """Time changes no membership before this instant."""
        return min((of_tenant.evaluator.next_us for of_tenant in self.tenants.values()), default=NEVER)

    def replay(self, topic: str, rows: pa.RecordBatch) -> list[Emission]:
        """Apply past rows from the archive at the current position: events in any order, profiles in log order."""
        emitted: list[Emission] = []
        at_us = self.position.at_us
        if topic == EVENTS:
            for tenant, events in event_batches(rows):
                emitted += self._emissions(tenant, self.tenants[tenant].evaluator.apply_events(events, at_us))
        else:
            for tenant, profiles in profile_batches(rows):
                emitted += self._emissions(tenant, self.tenants[tenant].evaluator.apply_profiles(profiles, at_us))
        return emitted

    def adopt(self, tenant: TenantName, segment: AudienceName, user_ids: pa.StringArray) -> list[Emission]:
        """Make these users the members of a paused segment; does nothing if the segment is not paused."""
        segments = self.tenants.get(tenant)
        active = None if segments is None else segments.rules.get(segment)
        if segments is None or active is None or not active.paused:
            return []
        return self._emissions(tenant, segments.evaluator.adopt(segment, user_ids))

    def skip_to(self, **offsets: int) -> None:
        """Move past offsets (`events`, `profiles`, `activations`) below which no record has anything to add."""
        now = asdict(self.position)
        self.position = replace(self.position, **{name: max(now[name], offset) for name, offset in offsets.items()})

    def members(self, tenant: TenantName, segment: AudienceName) -> pa.StringArray | None:
        """Members of the segment, sorted. None if the segment is not active here."""
        segments = self.tenants.get(tenant)
        if segments is None or segment not in segments.rules:
            return None
        ids = segments.evaluator.members(segment)
        return ids.take(pc.sort_indices(ids))

    def _move(self, at_us: int, **offsets: int) -> None:
        self.position = replace(self.position, at_us=max(at_us, self.position.at_us), **offsets)

    def _advance(self) -> list[Emission]:
        emitted: list[Emission] = []
        for tenant, segments in self.tenants.items():
            emitted += self._emissions(tenant, segments.evaluator.advance(self.position.at_us))
        return emitted

    def _emissions(self, tenant: TenantName, changes: list[Changes]) -> list[Emission]:
        return [Emission(tenant=tenant, changes=change, position=self.position) for change in changes]
