"""Changes of audiences that do not change the lake: creation, settings, pins. `views.lake_changes` has the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.access.guard import Entry, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.revisions import AUDIENCE, require_revision, revision_of
from orchestration.access.views.audience_records import AudienceRecordsView
from orchestration.catalog.records import Audience
from orchestration.operations import audiences as operations
from orchestration.operations import notifying
from orchestration.operations.audiences import activity_record
from schemas.columns import ImportKind
from schemas.ids import audience_name
from schemas.import_targets import RESERVED


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRecipients:
    """Addresses that replace all of their channel; None leaves the channel as it is."""

    email: Sequence[str] | None = None
    webhook: Sequence[str] | None = None


class AudienceChangesView(AudienceRecordsView):
    """Audiences as one caller may change them."""

    @recorded(Action.MANAGE_AUDIENCES, "audiences create")
    def create_audience(
        self, entry: Entry, name: str, changes: Mapping[str, Any], retention: Mapping[str, int | None]
    ) -> Record:
        """Create an audience. Raises `UserError` BAD_NAME, AUDIENCE_EXISTS, NAME_TAKEN, BAD_SPEC, BAD_RETENTION."""
        entry.object, entry.arguments = name[:63], {"settings": dict(changes), "retention": dict(retention)}
        made = operations.create(self._services.audiences, self._name, name, changes, retention)
        entry.after = self._audience_record(made)
        return entry.after

    @recorded(Action.MANAGE_AUDIENCES, "audiences configure")
    def configure_audience(
        self,
        entry: Entry,
        name: str,
        changes: Mapping[str, Any],
        retention: Mapping[str, int | None],
        wanted: WantedRecipients,
        *,
        seen: str,
    ) -> Record:
        """Change settings and recipients of an audience; running jobs keep theirs. `seen`: the revision that was read.

        None in `changes` or `retention` is the default, as in `operations.audiences.configure`.

        `warnings` of the answer: settings without which recipients get nothing. Raises `UserError` BAD_NAME,
        UNKNOWN_AUDIENCE, STALE_ETAG, BAD_SPEC, BAD_RETENTION, NO_SUCH_COLUMN, COLUMNS_WOULD_CHANGE, BAD_RECIPIENT;
        `RetriableError` LAKE_UNAVAILABLE, S3_UNAVAILABLE.
        """
        services = self._services
        entry.object, entry.arguments = name[:63], {"settings": dict(changes), "retention": dict(retention)}
        recipients = notifying.checked_recipients(services.settings, wanted.email, wanted.webhook)

        def check(present: Audience) -> None:
            entry.before = self._audience_record(present)
            require_revision(revision_of(entry.before, AUDIENCE), seen)

        changed = operations.configure(
            self._name,
            name,
            changes,
            retention,
            audiences=services.audiences,
            specs=services.specs,
            versions=lambda: services.histories,
            recipients={**recipients},
            check=check,
        )
        entry.after = self._audience_record(changed)
        own = services.recipients.get(self._name, changed.audience_id)
        return {**entry.after, "warnings": notifying.hints(services.settings, own)}

    @recorded(Action.MANAGE_AUDIENCES, "audiences configure")
    def configure_activity(self, entry: Entry, kind: ImportKind, changes: Mapping[str, Any]) -> Record:
        """Change how files of events or profiles are read; each column is added.

        Raises `UserError` BAD_SPEC, COLUMNS_WOULD_CHANGE.
        """
        services = self._services
        entry.object, entry.arguments = RESERVED[kind], {"settings": dict(changes)}
        entry.before = activity_record(
            self._name, kind, operations.activity_settings(services.audiences, self._name, kind)
        )
        changed = operations.configure_activity(
            self._name, kind, changes, audiences=services.audiences, specs=services.specs
        )
        entry.after = activity_record(self._name, kind, changed)
        return entry.after

    @recorded(Action.RUN_JOBS, "audiences pin")
    def pin(self, entry: Entry, name: str, number: int) -> Record:
        """Keep a version regardless of retention. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, NO_SUCH_VERSION."""
        found = self._find(entry, name, number)
        before = self._services.audiences.pins(found.audience_id)
        operations.pin(found, number, audiences=self._services.audiences, versions=self._services.histories)
        return {"audience": found.name, "version": number, "pinned": True, "changed": number not in before}

    @recorded(Action.RUN_JOBS, "audiences unpin")
    def unpin(self, entry: Entry, name: str, number: int) -> Record:
        """Subject a version to retention again. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE."""
        found = self._find(entry, name, number)
        was_pinned = operations.unpin(self._services.audiences, found, number)
        return {"audience": found.name, "version": number, "pinned": False, "changed": was_pinned}

    def _find(self, entry: Entry, name: str, number: int) -> Audience:
        entry.object, entry.arguments = name[:63], {"version": number}
        return self._services.audiences.get(self._name, audience_name(name))
