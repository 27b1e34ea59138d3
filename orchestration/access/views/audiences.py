"""Audiences of a tenant, their versions, and how its events and profiles are read."""

from dataclasses import replace

from orchestration.access.guard import reads
from orchestration.access.pages import Page, Record, number_in, page_of
from orchestration.access.policy import Action
from orchestration.access.revisions import AUDIENCE, revision_of
from orchestration.access.views.audience_records import AudienceRecordsView
from orchestration.catalog.references import ref_of
from orchestration.operations.audiences import (
    activity_record,
    activity_settings,
    audience_record,
    audience_with_current,
    version_record,
)
from schemas.columns import ImportKind
from schemas.ids import (
    Version,
    audience_name,
)
from schemas.records import as_record
from segmentation.publishing import require_version


class AudiencesView(AudienceRecordsView):
    """Audiences as one caller sees them."""

    @reads(Action.READ)
    def audiences(self, *, after: str = "", limit: int, current: bool = False) -> Page[Record]:
        """Audiences by name, each with its `current` version if that is wanted, which is read from the lake."""
        found = self._services.audiences.page(self._name, after=after, limit=limit + 1)
        if not current:
            return page_of(found, limit, lambda audience: audience.name, audience_record)
        versions = self._services.histories.currents(self._name, [ref_of(one) for one in found[:limit]])
        by_id = {one.audience_id: version for one, version in zip(found, versions, strict=False)}
        return page_of(
            found,
            limit,
            lambda audience: audience.name,
            lambda audience: audience_with_current(audience, by_id[audience.audience_id]),
        )

    @reads(Action.READ)
    def audience(self, name: str) -> tuple[Record, str]:
        """The audience of that name with its recipients, which only those see who manage audiences; and its revision.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE.
        """
        record = self._audience_record(self._services.audiences.get(self._name, audience_name(name)))
        return record, revision_of(record, AUDIENCE)

    @reads(Action.READ)
    def audience_with_current(self, name: str) -> tuple[Record, str]:
        """As `audience`, with its current version and table.

        `spec` has the columns of that version also for an audience of a release that stored none. Raises also
        `RetriableError` LAKE_UNAVAILABLE, S3_UNAVAILABLE, `FatalError` LAKE_UNREADABLE.
        """
        services = self._services
        audience = services.audiences.get(self._name, audience_name(name))
        record = self._audience_record(audience)
        address = services.histories.address(ref_of(audience))
        current = services.histories.current(ref_of(audience))
        found = audience_with_current(replace(audience, spec=services.specs.stored(audience)), current)
        shown = {**record, **found, "table": None if address is None else as_record(address)}
        return shown, revision_of(record, AUDIENCE)

    @reads(Action.READ)
    def activity(self, kind: ImportKind) -> Record:
        """How files of events or profiles are read."""
        return activity_record(self._name, kind, activity_settings(self._services.audiences, self._name, kind))

    @reads(Action.READ)
    def versions(self, name: str, *, before: str | None = None, limit: int) -> Page[Record]:
        """Kept versions of an audience, newest first, with whether each is pinned. Raises as `audience`."""
        audience = self._services.audiences.get(self._name, audience_name(name))
        pins, oldest = (
            self._services.audiences.pins(audience.audience_id),
            None if before is None else number_in(before),
        )
        kept = self._services.histories.of(audience).versions
        found = [info for info in reversed(kept) if oldest is None or info.version < oldest]
        return page_of(
            found,
            limit,
            lambda info: str(info.version),
            lambda info: {**version_record(info), "pinned": info.version in pins},
        )

    @reads(Action.READ)
    def version(self, name: str, number: int) -> Record:
        """One kept version of an audience. Raises as `audience`, and `UserError` NO_SUCH_VERSION."""
        audience = self._services.audiences.get(self._name, audience_name(name))
        history = self._services.histories.of(audience)
        info = require_version(history, ref_of(audience), Version(number))
        return {**version_record(info), "pinned": info.version in self._services.audiences.pins(audience.audience_id)}
