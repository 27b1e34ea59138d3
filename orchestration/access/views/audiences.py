"""Audiences of a tenant, and how its events and profiles are read. `views.lake_changes` changes the lake."""

from dataclasses import replace
from typing import Annotated, Final, Literal

from orchestration.access.bodies.audiences import ActivityChange, AudienceChange, NewAudience
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.listed import By, Part
from orchestration.access.pages import Page, Revised, Tagged, first
from orchestration.access.policy import Action
from orchestration.access.problems import OF_THE_LAKE
from orchestration.access.revisions import Seen, revision_of, unchanged
from orchestration.access.views.tenant import TenantView
from orchestration.catalog import records as rows
from orchestration.catalog.listing import Listing
from orchestration.catalog.references import ref_of
from orchestration.composition.service import Services
from orchestration.operations import audiences as operations
from orchestration.operations import notifying
from orchestration.operations.version_histories import shown_version
from orchestration.records.audiences import Activity, Audience, ConfiguredAudience, LakeTable
from orchestration.records.fields import About, extended
from schemas.import_targets import RESERVED
from schemas.records import as_record, from_record

CURRENT_AT_ONCE: Final = 50
"""One object is read for each; a call has 10 s."""
OF_SETTINGS: Final = ("BAD_NAME", "BAD_SPEC", "BAD_COLUMN", "BAD_RETENTION")
WithCurrent = Annotated[bool, About("Also the current version, which is read from the lake.")]
Kind = Literal["events", "profiles"]


class Audiences(TenantView):
    """Audiences as one caller sees and configures them."""

    @reads(Action.READ, "GET /audiences", problems=OF_THE_LAKE)
    def list_audiences(
        self, *, current: WithCurrent = False, part: Part = "", order: By = "name", after: str = "", limit: int
    ) -> Page[Audience]:
        """Audiences. With `current`, at most 50 at once."""
        limit, listing = min(limit, CURRENT_AT_ONCE) if current else limit, Listing(part=part, order=order)
        found = self._services.audiences.page(self._name, listing=listing, after=after, limit=limit + 1)
        shown = [one.shown for one in found]
        if current:
            versions = self._services.histories.currents(self._name, [ref_of(one) for one in found[:limit]])
            shown[:limit] = [
                replace(one, current=None if version is None else shown_version(version))
                for one, version in zip(shown, versions, strict=False)
            ]
        return first(shown, limit, lambda one: listing.key(one.audience, one.audience_id))

    @reads(Action.READ)
    def count_audiences(self, *, part: str = "") -> int:
        """How many audiences have this part in their names."""
        return self._services.audiences.count(self._name, Listing(part=part))

    @reads(Action.READ, "GET /audiences/{audience}", problems=OF_THE_LAKE)
    def get_audience(self, audience: str, *, current: WithCurrent = False) -> Revised[Audience]:
        """An audience: how its files are read, and which versions are kept. With `current` also where its table is."""
        services = self._services
        found = self._audience(audience)
        manages = Action.MANAGE_AUDIENCES in self.permitted
        shown = with_recipients(services, found) if manages else replace(found.shown, notified=None)
        revision = revision_of(shown, Audience.revision)
        if current:
            address, version = services.histories.address(ref_of(found)), services.histories.current(ref_of(found))
            shown = replace(
                shown,
                spec=services.specs.stored(found).as_record(),  # with columns, if an early release stored none
                current=None if version is None else shown_version(version),
                table=None if address is None else from_record(LakeTable, as_record(address)),
            )
        return Revised(shown, revision)

    @recorded(
        Action.MANAGE_AUDIENCES,
        "audiences create",
        "POST /audiences",
        status=201,
        problems=(*OF_SETTINGS, "AUDIENCE_EXISTS", "NAME_TAKEN"),
    )
    def create_audience(self, entry: Entry, body: NewAudience) -> Tagged[Audience]:
        """Create an audience. An import into a missing audience also creates it, once its version is published."""
        changes, retention = body.settings.changes(), body.retention.edits()
        entry.object, entry.arguments = body.audience[:63], {"settings": changes, "retention": retention}
        made = operations.create(self._services.audiences, self._name, body.audience, changes, retention)
        entry.after = shown = with_recipients(self._services, made)
        return shown

    @recorded(
        Action.MANAGE_AUDIENCES,
        "audiences configure",
        "PATCH /audiences/{audience}",
        problems=(*OF_SETTINGS, *OF_THE_LAKE, "NO_SUCH_COLUMN", "COLUMNS_WOULD_CHANGE", "BAD_RECIPIENT"),
    )
    def configure_audience(
        self, entry: Entry, audience: str, body: AudienceChange, *, seen: Seen
    ) -> Tagged[ConfiguredAudience]:
        """Change how files are read, which versions are kept, who is notified. Running jobs keep their settings."""
        services, changes, retention = self._services, body.settings.edits(), body.retention.edits()
        folders = {} if body.folders is None else {"folders": body.folders}
        entry.object, entry.arguments = audience[:63], {"settings": changes, "retention": retention, **folders}
        wanted = notifying.checked_recipients(services.settings, body.recipients.email, body.recipients.webhook)
        check_seen = unchanged(Audience.revision, seen)

        def check(present: rows.Audience) -> None:
            entry.before = before = with_recipients(services, present)
            check_seen(before)

        changed = operations.configure(
            self._name,
            audience,
            changes,
            retention,
            audiences=services.audiences,
            specs=services.specs,
            versions=lambda: services.histories,
            folders=body.folders,
            recipients=wanted,
            check=check,
        )
        entry.after = shown = with_recipients(services, changed)
        own = services.recipients.get(self._name, changed.audience_id)
        return extended(ConfiguredAudience, shown, warnings=notifying.hints(services.settings, own))

    @reads(Action.READ, "GET /activity/{kind}")
    def get_activity(self, kind: Kind) -> Activity:
        """How files of events or profiles are read."""
        return self._activity(kind)

    @recorded(
        Action.MANAGE_AUDIENCES,
        "audiences configure",
        "PATCH /activity/{kind}",
        problems=(*OF_SETTINGS, "COLUMNS_WOULD_CHANGE"),
    )
    def configure_activity(self, entry: Entry, kind: Kind, body: ActivityChange) -> Activity:
        """Change how files of events or profiles are read. Running jobs keep their settings."""
        services, changes = self._services, body.settings.edits()
        entry.object, entry.arguments = RESERVED[kind], {"settings": changes}
        entry.before = self._activity(kind)
        operations.configure_activity(self._name, kind, changes, audiences=services.audiences, specs=services.specs)
        entry.after = after = self._activity(kind)
        return after

    def _activity(self, kind: Kind) -> Activity:
        spec = operations.activity_settings(self._services.audiences, self._name, kind)
        return Activity(tenant=self._name, kind=kind, spec=spec.as_record())


def with_recipients(services: Services, audience: rows.Audience) -> Audience:
    """An audience as those see it who manage it: with its recipients."""
    notified = services.recipients.notified(audience.tenant, audience.audience_id)
    return replace(audience.shown, notified=notifying.shown_recipients(notified))
