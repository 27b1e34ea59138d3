"""One partition of the log of events and profiles, folded: who is in each segment of each tenant, at a `Place`.

Everything that changes the answer goes through here: rows, activations, time. What was told before is recognised by its
offset, so that a log may be read again from wherever it has to be.
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
from segmentation.evaluation.evaluator import Evaluator
from segmentation.intake.batches import event_batches, profile_batches
from segmentation.partitions.place import Place
from segmentation.partitions.tenant import Activation, Past, TenantSegments


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Changes of one tenant's segment, and where in the log the answer is so."""

    tenant: TenantName
    changes: Changes
    place: Place


class PartitionSegments:
    """State of one partition; without rules it is no more than a place."""

    def __init__(
        self, partition: Partition, place: Place, tenants: Mapping[TenantName, TenantSegments] = {}
    ) -> None:  # copied
        self.partition = partition
        self.place = place
        self.tenants = dict(tenants or {})

    def take_events(self, rows: pa.RecordBatch, end: int, at_us: int) -> list[Told]:
        """Rows (`EVENT_ROWS`) of the records up to `end`, exclusive; those that were taken before are left out."""
        rows = rows.slice(np.searchsorted(rows.column(OFFSET).to_numpy(), self.place.events))
        self._move(at_us, events=max(end, self.place.events))
        told = self._advance()
        for tenant, batch in event_batches(rows):
            if (segments := self.tenants.get(tenant)) is not None:
                told += self._told(tenant, segments.evaluator.take_events(batch, self.place.at_us))
        return told

    def take_profiles(self, rows: pa.RecordBatch, end: int, at_us: int) -> list[Told]:
        """As `take_events`, of `PROFILE_ROWS`."""
        rows = rows.slice(np.searchsorted(rows.column(OFFSET).to_numpy(), self.place.profiles))
        self._move(at_us, profiles=max(end, self.place.profiles))
        told = self._advance()
        for tenant, batch in profile_batches(rows):
            if (segments := self.tenants.get(tenant)) is not None:
                told += self._told(tenant, segments.evaluator.take_profiles(batch, self.place.at_us))
        return told

    def activate(self, message: Activation, offset: int, past: Past, at_us: int) -> list[Told]:
        """One message of the activations. Raises as `TenantSegments.activate`; the message then is passed over.

        What time has changed is told here, and is lost where this raises: `advance` to `at_us` before.
        """
        if offset < self.place.activations:
            return []
        self._move(at_us, activations=offset + 1)
        told = self._advance()
        segments = self.tenants.get(message.tenant)
        if segments is None:
            segments = TenantSegments(tenant=message.tenant, evaluator=Evaluator({}, at_us=self.place.at_us))
        told += self._told(message.tenant, segments.activate(message, past, self.place.at_us))
        self.tenants[message.tenant] = segments
        return told

    def advance(self, at_us: int) -> list[Told]:
        """Time goes on to `at_us`, never back."""
        self._move(at_us)
        return self._advance()

    def take_again(self, topic: str, rows: pa.RecordBatch) -> list[Told]:
        """Rows of the past, from the archive, at the place of the state: events in any order, profiles in theirs."""
        told: list[Told] = []
        at_us = self.place.at_us
        if topic == EVENTS:
            for tenant, events in event_batches(rows):
                told += self._told(tenant, self.tenants[tenant].evaluator.take_events(events, at_us))
        else:
            for tenant, profiles in profile_batches(rows):
                told += self._told(tenant, self.tenants[tenant].evaluator.take_profiles(profiles, at_us))
        return told

    def adopt(self, tenant: TenantName, segment: AudienceName, user_ids: pa.StringArray) -> list[Told]:
        """Let these users be the members of a segment that is paused; nothing happens to one that is not."""
        segments = self.tenants.get(tenant)
        active = None if segments is None else segments.rules.get(segment)
        if segments is None or active is None or not active.paused:
            return []
        return self._told(tenant, segments.evaluator.adopt(segment, user_ids))

    def skip_to(self, **offsets: int) -> None:
        """Records below these offsets (`events`, `profiles`, `activations`) have nothing to add."""
        now = asdict(self.place)
        self.place = replace(self.place, **{name: max(now[name], offset) for name, offset in offsets.items()})

    def members(self, tenant: TenantName, segment: AudienceName) -> pa.StringArray | None:
        """Who is in a segment, sorted; none where it is no segment here."""
        segments = self.tenants.get(tenant)
        if segments is None or segment not in segments.rules:
            return None
        ids = segments.evaluator.members(segment)
        return ids.take(pc.sort_indices(ids))

    def _move(self, at_us: int, **offsets: int) -> None:
        self.place = replace(self.place, at_us=max(at_us, self.place.at_us), **offsets)

    def _advance(self) -> list[Told]:
        told: list[Told] = []
        for tenant, segments in self.tenants.items():
            told += self._told(tenant, segments.evaluator.advance(self.place.at_us))
        return told

    def _told(self, tenant: TenantName, changes: list[Changes]) -> list[Told]:
        return [Told(tenant=tenant, changes=one, place=self.place) for one in changes]
