"""Audiences of a tenant, and their versions."""

from orchestration.access.guard import reads
from orchestration.access.pages import Page, Record, page_of
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.references import ref_of
from orchestration.operations.audiences import audience_record, version_record
from schemas.ids import (
    Version,
    audience_name,
)
from segmentation.publishing import require_version


class AudiencesView(TenantView):
    """Audiences as one caller sees them."""

    @reads(Action.READ)
    def audiences(self, *, after: str = "", limit: int) -> Page:
        """Audiences by name."""
        found = self._stores.audiences.page(self._name, after=after, limit=limit + 1)
        return page_of(found, limit, lambda audience: audience.name, audience_record)

    @reads(Action.READ)
    def audience(self, name: str) -> Record:
        """The audience of that name. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE."""
        return audience_record(self._stores.audiences.get(self._name, audience_name(name)))

    @reads(Action.READ)
    def versions(self, name: str, *, before: str | None = None, limit: int) -> Page:
        """Kept versions of an audience, newest first, with whether each is pinned. Raises as `audience`."""
        audience = self._stores.audiences.get(self._name, audience_name(name))
        pins, oldest = self._stores.audiences.pins(audience.audience_id), None if before is None else int(before)
        kept = self._stores.histories.of(audience).versions
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
        audience = self._stores.audiences.get(self._name, audience_name(name))
        history = self._stores.histories.of(audience)
        info = require_version(history, ref_of(audience), Version(number))
        return {**version_record(info), "pinned": info.version in self._stores.audiences.pins(audience.audience_id)}
