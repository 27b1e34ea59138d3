"""Schedules of a tenant."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from orchestration.access.bodies.schedules import NewSchedule, ScheduleChange
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.import_orders import ImportOrder
from orchestration.access.listed import By, Part
from orchestration.access.pages import Page, Tagged, first
from orchestration.access.policy import Action
from orchestration.access.problems import OF_EXPORTS, OF_IMPORTS, OF_THE_ENGINE
from orchestration.access.revisions import Seen, unchanged
from orchestration.access.schedule_requests import edited_request
from orchestration.access.views.tenant import TenantView
from orchestration.catalog import schedules as catalog
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.listing import Listing
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.operations import schedules as operations
from orchestration.operations.submit import form_of, source_of
from orchestration.platform.clock import fresh_id, iso, now_ms
from orchestration.records.jobs import Started, StartedExport
from orchestration.records.schedules import Schedule
from schemas.errors import UserError
from schemas.ids import JobId, schedule_name, snapshot_audience
from schemas.job_kinds import REQUEST_KINDS

ANY_UPLOAD: Final = "uploads are removed after their import: schedule an object in a place of the tenant"
OF_REQUESTS: Final = (
    *OF_IMPORTS,
    *OF_EXPORTS,
    "UNKNOWN_SEGMENT",
    "BAD_SCHEDULE",
    "BAD_TIMEZONE",
    "BAD_PLACEHOLDER",
    "ADDRESS_REPEATS",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What a key has started: one of the two."""

    job: str = ""
    export: str = ""


class Schedules(TenantView):
    """Schedules as one caller sees and changes them."""

    @reads(Action.READ, "GET /schedules")
    def list_schedules(self, *, part: Part = "", order: By = "name", after: str = "", limit: int) -> Page[Schedule]:
        """Schedules, with their last runs."""
        listing = Listing(part=part, order=order)
        found = self._services.schedules.page(self._name, listing=listing, after=after, limit=limit + 1)
        return first(found, limit, lambda one: listing.key(one.name, one.schedule))

    @reads(Action.READ)
    def count_schedules(self, *, part: str = "") -> int:
        """How many schedules have this part in their names."""
        return self._services.schedules.count(self._name, Listing(part=part))

    @reads(Action.READ, "GET /schedules/{schedule}")
    def get_schedule(self, schedule: str) -> Tagged[Schedule]:
        """A schedule with its last run."""
        return self._services.schedules.shown(self._get(schedule))

    @reads(Action.READ)
    def upcoming(self, schedule: str, *, count: int) -> list[str]:
        """The next times of a schedule; none while it is paused."""
        found = self._get(schedule)
        return [iso(at) for at in islice(found.times.upcoming(now_ms()), count)] if found.enabled else []

    @recorded(
        Action.RUN_JOBS,
        "schedules create",
        "POST /schedules",
        status=201,
        problems=(*OF_REQUESTS, "SCHEDULE_EXISTS"),
    )
    def create_schedule(self, entry: Entry, body: NewSchedule) -> Tagged[Schedule]:
        """Create a schedule of an import, an export or a snapshot."""
        given, times = body.given(), {"expression": body.expression, "timezone": body.timezone}
        entry.object, entry.arguments = f"schedules/{body.name[:63]}", {**times, **given}
        ((kind, request),) = given.items()
        entry.after = made = self._services.schedules.shown(self._keep(kind, body.name, request, times, edited=None))
        return made

    @recorded(Action.RUN_JOBS, "schedules change", "PATCH /schedules/{schedule}", problems=OF_REQUESTS)
    def change_schedule(self, entry: Entry, schedule: str, body: ScheduleChange, *, seen: Seen) -> Tagged[Schedule]:
        """Edit, pause or resume a schedule. Omitted fields stay; missed runs are not made up."""
        changes = body.given()
        entry.object, entry.arguments = f"schedules/{schedule[:63]}", changes
        found, entry.before = self._seen(schedule, seen)
        edit = operations.Edit(seen=found, enabled=changes.get("enabled", found.enabled))
        if changes.keys() - {"enabled"}:
            request = edited_request(found, {kind: changes[kind] for kind in REQUEST_KINDS if kind in changes})
            times = {part: str(changes.get(part, getattr(found, part))) for part in ("expression", "timezone")}
            found = self._keep(found.kind, schedule, request, times, edited=edit)
        else:
            found = operations.switch(self._services.schedules, edit, now_ms())
        entry.after = changed = self._services.schedules.shown(found)
        return changed

    @recorded(Action.RUN_JOBS, "schedules delete", "DELETE /schedules/{schedule}")
    def delete_schedule(self, entry: Entry, schedule: str, *, seen: Seen) -> Schedule:
        """Delete a schedule. What its runs have produced stays; its answer is the schedule as it was."""
        entry.object = f"schedules/{schedule[:63]}"
        found, before = self._seen(schedule, seen)
        entry.before = before
        operations.delete(self._services.schedules, found)
        return before

    @recorded(Action.RUN_JOBS, "schedules run", "POST /schedules/{schedule}/runs", status=202, problems=OF_THE_ENGINE)
    def run_schedule(self, entry: Entry, schedule: str, *, key: RequestKey) -> Started | StartedExport:
        """Start a run now, also of a paused schedule. A schedule starts at most one run a second."""
        entry.object = f"schedules/{schedule[:63]}"

        def start(claim: Claim) -> _Run:
            word = REQUEST_KINDS[self._get(schedule).kind].key
            # The id of a run follows from its schedule and second: a repeat after a crash starts the same one.
            engine, schedules = self._services.engine, self._services.schedules
            return _Run(
                **{word: operations.run_now(self._name, schedule, claim.at_ms, engine=engine, schedules=schedules)}
            )

        run = once(_Run, self._services, self._caller, self._name, key, start)
        entry.job_id = JobId(run.job or run.export)
        return Started(job=run.job) if run.job else StartedExport(export=run.export)

    def _keep(
        self,
        kind: str,
        name: str,
        given: Mapping[str, Any],
        times: Mapping[str, str],
        *,
        edited: operations.Edit | None,
    ) -> catalog.Schedule:
        keep = {"import": self._keep_import, "export": self._keep_export, "snapshot": self._keep_snapshot}[kind]
        return keep(name, given, times, edited)

    def _keep_import(
        self, name: str, given: Mapping[str, Any], times: Mapping[str, str], edited: operations.Edit | None
    ) -> catalog.Schedule:
        order = ImportOrder(**given)
        if order.sql is not None:
            self.require(Action.READ_USERS)
            return operations.schedule_build(
                name,
                order.sql,
                **times,
                tenant=self._name,
                audience=order.target,
                overrides=order.overrides,
                now_ms=now_ms(),
                audiences=self._services.audiences,
                schedules=self._services.schedules,
                settings=self._services.settings,
                edited=edited,
            )
        address = order.source or order.list
        if address is None or order.manifest is not None:
            raise UserError("BAD_SPEC", ANY_UPLOAD)
        self._allowed_locations().require_source(*source_of(self._services.settings, self._name, address))
        return operations.schedule_import(
            name,
            address,
            form="list" if order.list is not None else form_of(address),
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

    def _keep_export(
        self, name: str, given: Mapping[str, Any], times: Mapping[str, str], edited: operations.Edit | None
    ) -> catalog.Schedule:
        wanted = {key: value for key, value in given.items() if key != "since_last"}
        request = ExportRequest.from_record({**wanted, "export_id": fresh_id(), "tenant": self._name})
        return operations.schedule_export(
            name,
            request,
            **times,
            since_last=given["since_last"],
            now_ms=now_ms(),
            allowed=self._allowed_locations(),
            audiences=self._services.audiences,
            schedules=self._services.schedules,
            edited=edited,
        )

    def _keep_snapshot(
        self, name: str, given: Mapping[str, Any], times: Mapping[str, str], edited: operations.Edit | None
    ) -> catalog.Schedule:
        request = SnapshotRequest(
            job_id=fresh_id(),
            tenant=self._name,
            segment=given["segment"],
            audience=given["audience"] or snapshot_audience(given["segment"]),
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

    def _get(self, name: str) -> catalog.Schedule:
        return self._services.schedules.get(self._name, schedule_name(name))

    def _seen(self, name: str, seen: Seen) -> tuple[catalog.Schedule, Schedule]:
        found = self._get(name)
        shown = self._services.schedules.shown(found)
        unchanged(Schedule.revision, seen)(shown)
        return found, shown
