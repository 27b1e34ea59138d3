"""Changes of segments, and their snapshots."""

from datetime import datetime
from typing import Literal

from orchestration.access.guard import SHOWN, Note, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.repeats import RequestKey, once
from orchestration.access.revisions import SEGMENT, require_revision, revision_of
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.segment_records import Segment
from orchestration.operations.segment_records import segment_record
from orchestration.operations.segments import create, rule_of
from orchestration.operations.snapshots import snapshot
from orchestration.platform.clock import now_ms
from schemas.ids import AudienceName, segment_name


class SegmentChangesView(TenantView):
    """Segments as one caller may change them."""

    @recorded(Action.WRITE_SEGMENTS, "segments create")
    def create_segment(self, note: Note, name: str, rule: str, timezone: str | None) -> Record:
        """Create a segment. `rule` is a text, or JSON, which names its own time zone.

        Raises `UserError` BAD_NAME, BAD_RULE, BAD_TIMEZONE, NAME_TAKEN, SEGMENT_EXISTS, TOO_MANY_SEGMENTS,
        UNKNOWN_AUDIENCE, UNKNOWN_SEGMENT, SEGMENT_CYCLE.
        """
        note.object, note.arguments = f"segments/{name[:63]}", {"rule": rule[:SHOWN], "timezone": timezone}
        create(
            self._name,
            name,
            rule_of(rule, timezone),
            self._caller.principal.name,
            audiences=self._services.audiences,
            segments=self._services.segment_changes,
        )
        note.after = self._record(segment_name(name))
        return note.after

    @recorded(Action.WRITE_SEGMENTS, "segments edit")
    def edit_segment(self, note: Note, name: str, rule: str, timezone: str | None, *, seen: str) -> Record:
        """Change the rule of a segment; the same rule in other words makes no version. `seen`: the revision read.

        Raises as `create_segment`, and `UserError` STALE_ETAG, SEGMENT_PAUSED.
        """
        note.object, note.arguments = f"segments/{name[:63]}", {"rule": rule[:SHOWN], "timezone": timezone}
        checked = segment_name(name)
        self._services.segment_changes.edit(
            self._name,
            checked,
            rule_of(rule, timezone),
            author=self._caller.principal.name,
            now_ms=now_ms(),
            check=lambda present: _check(present, seen),
        )
        note.after = self._record(checked)
        return note.after

    @recorded(Action.WRITE_SEGMENTS, "segments change state")
    def change_state(self, note: Note, name: str, state: Literal["active", "paused"]) -> Record:
        """Pause or resume a segment; no effect on one in that state. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT."""
        note.object, note.arguments = f"segments/{name[:63]}", {"state": state}
        checked, segments = segment_name(name), self._services.segment_changes
        (segments.pause if state == "paused" else segments.resume)(self._name, checked, now_ms=now_ms())
        note.after = self._record(checked)
        return note.after

    @recorded(Action.WRITE_SEGMENTS, "segments delete")
    def delete_segment(self, note: Note, name: str, *, seen: str) -> Record:
        """Delete a segment; all its members leave. `seen`: the revision that was read.

        Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT, STALE_ETAG, SEGMENT_IN_USE.
        """
        note.object = f"segments/{name[:63]}"
        checked = segment_name(name)
        note.before = self._record(checked)
        self._services.segment_changes.delete(
            self._name, checked, now_ms=now_ms(), check=lambda present: _check(present, seen)
        )
        return note.before

    @recorded(Action.RUN_JOBS, "segments snapshot")
    def snapshot(
        self,
        note: Note,
        name: str,
        *,
        audience: str | None,
        at: datetime | None,
        allow_shrink: bool,
        key: RequestKey,
    ) -> Record:
        """Start a snapshot of a segment; returns the id of its job.

        Raises `UserError` BAD_NAME, BAD_TIME, UNKNOWN_SEGMENT, SEGMENT_PAUSED, and as `once`; `RetriableError`
        ENGINE_UNAVAILABLE.
        """
        note.object, note.arguments = f"segments/{name[:63]}", {"audience": audience, "allow_shrink": allow_shrink}

        def start(claim: Claim) -> Record:
            started = snapshot(
                self._name,
                name,
                audience=audience,
                at=at,
                allow_shrink=allow_shrink,
                new_id=claim.job_id,
                audiences=self._services.audiences,
                engine=self._services.engine,
                segments=self._services.segment_changes,
            )
            return {"job": started, "state": "SUBMITTED"}

        value = once(self._services, self._caller, self._name, key, start)
        note.job_id = value["job"]
        return value

    def _record(self, name: AudienceName) -> Record:
        found = self._services.segments.overview(self._name, name)
        return segment_record(found, self._services.partitions, now_ms())


def _check(present: Segment, seen: str) -> None:
    found = {"segment_id": present.segment_id, "state": present.state, "rule_version": present.rule_version}
    require_revision(revision_of(found, SEGMENT), seen)
