"""Versions of audiences."""

from collections.abc import Collection

from orchestration.access.bodies.common import VersionNumber
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.pages import Page, number_in, page_of
from orchestration.access.policy import Action
from orchestration.access.problems import OF_THE_LAKE
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.references import ref_of
from orchestration.operations import audiences as operations
from orchestration.operations.version_histories import shown_version
from orchestration.records.audiences import Pin, Version
from orchestration.records.fields import extended
from schemas import ids
from segmentation.versions import VersionInfo


class Versions(TenantView):
    """Kept versions of audiences as one caller sees and pins them."""

    @reads(Action.READ, "GET /audiences/{audience}/versions", problems=OF_THE_LAKE)
    def list_versions(self, audience: str, *, before: str | None = None, limit: int) -> Page[Version]:
        """Kept versions of an audience, newest first."""
        found = self._audience(audience)
        pins, oldest = self._services.audiences.pins(found.audience_id), None if before is None else number_in(before)
        kept = reversed(self._services.histories.of(found).versions)
        listed = [one for one in kept if oldest is None or one.version < oldest]
        return page_of(listed, limit, lambda one: str(one.version), lambda one: _shown(one, pins))

    @reads(Action.READ, "GET /audiences/{audience}/versions/{version}", problems=(*OF_THE_LAKE, "NO_SUCH_VERSION"))
    def get_version(self, audience: str, version: VersionNumber) -> Version:
        """One kept version of an audience."""
        found = self._audience(audience)
        info = self._services.histories.version(ref_of(found), ids.Version(version))
        return _shown(info, self._services.audiences.pins(found.audience_id))

    @recorded(
        Action.RUN_JOBS,
        "audiences pin",
        "PUT /audiences/{audience}/versions/{version}/pin",
        problems=(*OF_THE_LAKE, "NO_SUCH_VERSION"),
    )
    def pin_version(self, entry: Entry, audience: str, version: VersionNumber) -> Pin:
        """Keep a version regardless of retention. No effect on a pinned one."""
        entry.object, entry.arguments = audience[:63], {"version": version}
        found = self._audience(audience)
        before = self._services.audiences.pins(found.audience_id)
        operations.pin(found, version, audiences=self._services.audiences, versions=self._services.histories)
        return Pin(audience=found.name, version=version, pinned=True, changed=version not in before)

    @recorded(Action.RUN_JOBS, "audiences unpin", "DELETE /audiences/{audience}/versions/{version}/pin")
    def unpin_version(self, entry: Entry, audience: str, version: VersionNumber) -> Pin:
        """Subject a version to retention again. No effect on one that is not pinned."""
        entry.object, entry.arguments = audience[:63], {"version": version}
        found = self._audience(audience)
        was_pinned = self._services.audiences.unpin(found.audience_id, ids.Version(version))
        return Pin(audience=found.name, version=version, pinned=False, changed=was_pinned)


def _shown(info: VersionInfo, pins: Collection[ids.Version]) -> Version:
    return extended(Version, shown_version(info), pinned=info.version in pins)
