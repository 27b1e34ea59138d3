"""Changes of audiences that do not change the lake: creation, settings, pins. `views.lake_changes` has the others."""

from collections.abc import Mapping
from typing import Any

from orchestration.access.guard import Note, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.revisions import AUDIENCE, require_revision, revision_of
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.records import Audience
from orchestration.operations import audiences as operations
from orchestration.operations.audiences import audience_record
from schemas.ids import audience_name


class AudienceChangesView(TenantView):
    """Audiences as one caller may change them."""

    @recorded(Action.MANAGE_AUDIENCES, "audiences create")
    def create_audience(
        self, note: Note, name: str, changes: Mapping[str, Any], retention: Mapping[str, int]
    ) -> Record:
        """Create an audience. Raises `UserError` BAD_NAME, AUDIENCE_EXISTS, NAME_TAKEN, BAD_SPEC, BAD_RETENTION."""
        note.object, note.arguments = name[:63], {"settings": dict(changes), "retention": dict(retention)}
        made = operations.create(self._stores.audiences, self._name, name, changes, retention)
        note.after = audience_record(made)
        return note.after

    @recorded(Action.MANAGE_AUDIENCES, "audiences configure")
    def configure_audience(
        self, note: Note, name: str, changes: Mapping[str, Any], retention: Mapping[str, int], *, seen: str
    ) -> Record:
        """Change settings of an audience; running jobs keep theirs. `seen`: the revision that was read.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, STALE_ETAG, BAD_SPEC, BAD_RETENTION, NO_SUCH_COLUMN,
        COLUMNS_WOULD_CHANGE; `RetriableError` LAKE_UNAVAILABLE, S3_UNAVAILABLE.
        """
        note.object, note.arguments = name[:63], {"settings": dict(changes), "retention": dict(retention)}

        def check(present: Audience) -> None:
            note.before = audience_record(present)
            require_revision(revision_of(note.before, AUDIENCE), seen)

        changed = operations.configure(
            self._name,
            name,
            changes,
            retention,
            audiences=self._stores.audiences,
            specs=self._stores.specs,
            versions=lambda: self._stores.histories,
            check=check,
        )
        note.after = audience_record(changed)
        return note.after

    @recorded(Action.RUN_JOBS, "audiences pin")
    def pin(self, note: Note, name: str, number: int) -> Record:
        """Keep a version regardless of retention. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, NO_SUCH_VERSION."""
        found = self._find(note, name, number)
        before = self._stores.audiences.pins(found.audience_id)
        operations.pin(found, number, audiences=self._stores.audiences, versions=self._stores.histories)
        return {"audience": found.name, "version": number, "pinned": True, "changed": number not in before}

    @recorded(Action.RUN_JOBS, "audiences unpin")
    def unpin(self, note: Note, name: str, number: int) -> Record:
        """Subject a version to retention again. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE."""
        found = self._find(note, name, number)
        was_pinned = operations.unpin(self._stores.audiences, found, number)
        return {"audience": found.name, "version": number, "pinned": False, "changed": was_pinned}

    def _find(self, note: Note, name: str, number: int) -> Audience:
        note.object, note.arguments = name[:63], {"version": number}
        return self._stores.audiences.get(self._name, audience_name(name))
