"""Operations on export jobs: submit, cancel, retry."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from orchestration.kinds.export.addresses import check_export
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.places import AllowedLocations
from orchestration.kinds.snapshot.register import current_rule
from orchestration.operations.submit import require_tenant
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records.fields import extended
from orchestration.records.jobs import CancelledExport
from orchestration.workflow.engine import EXPORT_MACHINE
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import JobId, tenant_name
from schemas.log_ids import caller, without_caller
from segmentation.life_cycle import Change

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.places import PlaceStore
    from orchestration.catalog.records import Export
    from orchestration.catalog.segments import SegmentStore
    from orchestration.operations.jobs import ImportJobs
    from orchestration.platform.settings import Settings
    from orchestration.workflow.engine import WorkflowEngine

POLL_S: Final = 0.25
REGISTRATION_S: Final = 120.0
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJobs:
    """Submits, retries and cancels exports."""

    audiences: "AudienceStore"
    engine: "WorkflowEngine"
    exports: "ExportStore"
    import_jobs: "ImportJobs"
    places: "PlaceStore"
    segments: "SegmentStore"
    settings: "Settings"

    def submit(self, request: ExportRequest) -> JobId:
        """Start an export; returns its id.

        Raises `UserError` UNKNOWN_TENANT, BAD_TIME, SEGMENT_PAUSED, and as `check_export`; `RetriableError`
        ENGINE_UNAVAILABLE; `FatalError` ENGINE_REFUSED.
        """
        tenant = tenant_name(request.tenant)
        require_tenant(self.audiences, tenant)
        allowed = AllowedLocations(tenant=tenant, places=self.places, settings=self.settings)
        segment = check_export(request, allowed=allowed, audiences=self.audiences)
        if segment is not None:
            current_rule(self.segments, tenant, segment)
        _ = request.moment
        request = replace(request, to=allowed.resolved(request.to, request.export_id))
        self.engine.start(EXPORT_MACHINE, request.export_id, {"export": request.as_record(), **caller()})
        return request.export_id

    def retry(self, export_id: JobId, *, allow_shrink: bool = False, new_id: JobId | None = None) -> JobId:
        """Start an export of the same version to the same destination as a FAILED or CANCELLED one; returns the new id.

        If a segment had no version yet, that of another snapshot; `allow_shrink`: however many members were lost.

        Raises `UserError` UNKNOWN_EXPORT, NOT_RETRIABLE, and as `submit` does.
        """
        export = self.exports.get(export_id)
        if export.state not in {"FAILED", "CANCELLED"}:
            raise UserError(
                "NOT_RETRIABLE",
                f"export {export_id} is {export.state}; only FAILED and CANCELLED exports are retried",
                job=export_id,
                state=export.state,
            )
        old = ExportRequest.from_record(without_caller(export.request))
        repeated = replace(
            old,
            delta_from=old.since_export,
            base=None,
            consent=None,
            segment=None,
            allow_shrink=allow_shrink or old.allow_shrink,
        )
        return self.submit(replace(repeated, export_id=new_id or fresh_id(), retry_of=export_id))

    def cancel(self, export_id: JobId) -> CancelledExport:
        """Cancel an export before its manifest can be written, and its snapshot; the sweeper removes its files.

        Raises `UserError` UNKNOWN_EXPORT, TOO_LATE.
        """
        verdict, export = self.exports.move(export_id, "CANCELLED", now_ms=now_ms(), cause="cancelled by an operator")
        if verdict is Change.REFUSED:
            why = "its manifest is being written" if export.state == "FINISHING" else "it has ended"
            raise UserError(
                "TOO_LATE", f"export {export_id} is {export.state}: {why}, so it is too late to cancel", job=export_id
            )
        warnings = []
        try:
            if export.execution is not None:
                self.engine.stop(export.execution, "cancelled by an operator")
        except (FatalError, RetriableError) as exc:
            warnings.append(f"the execution could not be stopped ({exc.code}); it ends at its next step")
        self.cancel_snapshot(export)
        return extended(CancelledExport, export.shown, already=verdict is Change.ALREADY, warnings=tuple(warnings))

    def cancel_snapshot(self, export: "Export") -> None:
        """Cancel the snapshot that an ended export has waited for, unless it is being published or has ended."""
        if export.snapshot is None or export.audience_id is not None:
            return
        try:
            self.import_jobs.cancel(export.snapshot)
        except UserError as exc:
            if exc.code == "UNKNOWN_JOB":
                self._stop_registration(export.snapshot)

    def _stop_registration(self, snapshot: JobId) -> None:
        try:
            self.engine.stop(self.engine.execution_arn(snapshot), "the export that waits for it has ended")
        except FatalError as exc:  # it was never started
            _log.debug("no execution of snapshot %s is stopped: %s", snapshot, exc)
        except RetriableError as exc:  # it makes a version that nobody has asked for
            _log.warning("cannot stop the execution of snapshot %s: %s", snapshot, exc)

    def await_registration(self, export_id: JobId, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait until an execution that was just started has registered its export. Raises `UserError` UNKNOWN_EXPORT.

        Waits as long as the engine knows the execution, at most two minutes: the first function may start cold.
        """
        until = time.monotonic() + REGISTRATION_S
        while self.exports.find(export_id) is None:
            if time.monotonic() > until or not self._is_starting(export_id):
                self.exports.get(export_id)
                return
            sleep(POLL_S)

    def _is_starting(self, export_id: JobId) -> bool:
        try:
            found = self.engine.describe(self.engine.execution_arn(export_id, EXPORT_MACHINE))
        except (FatalError, RetriableError):
            return False
        return found is not None and found.running
