"""Segments of a tenant."""

from collections.abc import Sequence

from orchestration.access.guard import reads
from orchestration.access.pages import Page, Record, page_of
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.operations.segment_records import partition_record, rule_version_record, segment_record
from orchestration.platform.clock import now_ms
from schemas.ids import (
    segment_name,
)


class SegmentsView(TenantView):
    """Segments as one caller sees them."""

    @reads(Action.READ)
    def segments(self, *, after: str = "", limit: int) -> Page:
        """Segments by name, with their sizes."""
        found, now = self._services.segments.page(self._name, after=after, limit=limit + 1), now_ms()
        partitions = self._services.partitions
        return page_of(found, limit, lambda one: one.segment.name, lambda one: segment_record(one, partitions, now))

    @reads(Action.READ)
    def segment(self, name: str) -> Record:
        """The segment of that name, with its partitions. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT."""
        found = self._services.segments.overview(self._name, segment_name(name))
        return {
            **segment_record(found, self._services.partitions, now_ms()),
            "of_partitions": [partition_record(one) for one in found.partitions.values()],
        }

    @reads(Action.READ)
    def segment_versions(self, name: str) -> Sequence[Record]:
        """All rules of a segment, oldest first. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT."""
        versions = self._services.segments.versions_of(self._name, segment_name(name))
        return [rule_version_record(version) for version in versions]
