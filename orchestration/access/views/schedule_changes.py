"""Changes of schedules, and runs that are started by hand."""

from collections.abc import Mapping
from typing import Any, Final

from orchestration.access.guard import Entry, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.import_orders import ImportOrder
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.revisions import SCHEDULE, require_revision, revision_of
from orchestration.access.schedule_requests import edited_request
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.schedules import Schedule
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.operations import schedules as operations
from orchestration.operations.schedule_records import schedule_record
from orchestration.operations.snapshots import default_audience
from orchestration.operations.submit import source_of
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import UserError
from schemas.ids import schedule_name
from schemas.job_kinds import REQUEST_KINDS

ANY_UPLOAD: Final = "uploads are removed after their import: schedule an object in a place of the tenant"


class ScheduleChangesView(TenantView):
    """Schedules as one caller may change them."""

    @recorded(Action.RUN_JOBS, "schedules create")
    def create_schedule(
        self, entry: Entry, name: str, *, expression: str, timezone: str, given: Mapping[str, Mapping[str, Any]]
    ) -> Record:
        """Create a schedule. `given` has the request of its one kind: an `ImportOrder`, an export, or a snapshot.

        Raises `UserError` as `operations.schedules` does, BAD_SOURCE, BAD_DESTINATION.
        """
        entry.object, entry.arguments = (
            f"schedules/{name[:63]}",
            {"expression": expression, "timezone": timezone, **given},
        )
        ((kind, request),) = given.items()
        times = {"expression": expression, "timezone": timezone}
        entry.after = self._record(self._keep(kind, name, request, times, edited=None))
        return entry.after

    @recorded(Action.RUN_JOBS, "schedules change")
    def change_schedule(self, entry: Entry, name: str, *, changes: Mapping[str, Any], seen: str) -> Record:
        """Change when a schedule runs or what, pause it (`enabled` false), or resume it without its missed runs.

        `changes`: `enabled`, `expression`, `timezone`, and members of the request under its kind, in the form of
        `create_schedule`; omitted fields stay. `seen`: the revision that was read.

        Raises `UserError` as `create_schedule`, and BAD_NAME, UNKNOWN_SCHEDULE, STALE_ETAG.
        """
        entry.object, entry.arguments = f"schedules/{name[:63]}", dict(changes)
        found, entry.before = self._seen(name, seen)
        enabled = changes.get("enabled")
        edit = operations.Edit(seen=found, enabled=found.enabled if enabled is None else enabled)
        if changes.keys() - {"enabled"}:
            request = edited_request(found, {kind: changes[kind] for kind in REQUEST_KINDS if kind in changes})
            times = {part: str(changes.get(part, getattr(found, part))) for part in ("expression", "timezone")}
            found = self._keep(found.kind, name, request, times, edited=edit)
        else:
            found = operations.switch(self._services.schedules, edit, now_ms())
        entry.after = self._record(found)
        return entry.after

    @recorded(Action.RUN_JOBS, "schedules delete")
    def delete_schedule(self, entry: Entry, name: str, *, seen: str) -> Record:
        """Delete a schedule; what its runs have produced stays. Raises as `change_schedule`."""
        entry.object = f"schedules/{name[:63]}"
        found, entry.before = self._seen(name, seen)
        operations.delete(self._services.schedules, found)
        return entry.before

    @recorded(Action.RUN_JOBS, "schedules run")
    def run_schedule(self, entry: Entry, name: str, *, key: RequestKey) -> Record:
        """Start a run now, also of a paused schedule; returns the id of its job or export.

        Raises `UserError` BAD_NAME, UNKNOWN_SCHEDULE, and as `once`; `RetriableError` ENGINE_UNAVAILABLE.
        """
        entry.object = f"schedules/{name[:63]}"

        def start(claim: Claim) -> Record:
            key = REQUEST_KINDS[self._get(name).kind].key
            # The id of a run follows from its schedule and second: a repeat after a crash starts the same one.
            engine, schedules = self._services.engine, self._services.schedules
            started = operations.run_now(self._name, name, claim.at_ms, engine=engine, schedules=schedules)
            return {key: started, "state": "SUBMITTED"}

        value = once(self._services, self._caller, self._name, key, start)
        entry.job_id = value.get("job") or value["export"]
        return value

    def _keep(
        self,
        kind: str,
        name: str,
        given: Mapping[str, Any],
        times: Mapping[str, str],
        *,
        edited: operations.Edit | None,
    ) -> Schedule:
        keep = {"import": self._import, "export": self._export, "snapshot": self._snapshot}[kind]
        return keep(name, given, times, edited)

    def _import(
        self, name: str, given: Mapping[str, Any], times: Mapping[str, str], edited: operations.Edit | None
    ) -> Schedule:
        order = ImportOrder(**given)
        if order.source is None or order.manifest is not None:
            raise UserError("BAD_SPEC", ANY_UPLOAD)
        self._reach().require_source(*source_of(self._services.settings, self._name, order.source))
        return operations.schedule_import(
            name,
            order.source,
            **times,
            tenant=self._name,
            audience=order.target,
            overrides=order.overrides,
            again=order.again,
            now_ms=now_ms(),
            audiences=self._services.audiences,
            schedules=self._services.schedules,
            settings=self._services.settings,
            edited=edited,
        )

    def _export(
        self, name: str, given: Mapping[str, Any], times: Mapping[str, str], edited: operations.Edit | None
    ) -> Schedule:
        wanted = {key: value for key, value in given.items() if key != "since_last"}
        request = ExportRequest.from_record({**wanted, "export_id": fresh_id(), "tenant": self._name})
        return operations.schedule_export(
            name,
            request,
            **times,
            since_last=given["since_last"],
            now_ms=now_ms(),
            reach=self._reach(),
            audiences=self._services.audiences,
            schedules=self._services.schedules,
            edited=edited,
        )

    def _snapshot(
        self, name: str, given: Mapping[str, Any], times: Mapping[str, str], edited: operations.Edit | None
    ) -> Schedule:
        request = SnapshotRequest(
            job_id=fresh_id(),
            tenant=self._name,
            segment=given["segment"],
            audience=given["audience"] or default_audience(given["segment"]),
            allow_shrink=given["allow_shrink"],
        )
        return operations.schedule_snapshot(
            name,
            request,
            **times,
            now_ms=now_ms(),
            audiences=self._services.audiences,
            schedules=self._services.schedules,
            segments=self._services.segments,
            edited=edited,
        )

    def _get(self, name: str) -> Schedule:
        return self._services.schedules.get(self._name, schedule_name(name))

    def _seen(self, name: str, seen: str) -> tuple[Schedule, Record]:
        found = self._get(name)
        record = self._record(found)
        require_revision(revision_of(record, SCHEDULE), seen)
        return found, record

    def _record(self, schedule: Schedule) -> Record:
        return schedule_record(self._services.jobs, self._services.exports, schedule)
