"""What people do to export jobs: submit, follow, cancel, retry."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from orchestration.kinds.export.places import check_request
from orchestration.kinds.export.request import ExportRequest
from orchestration.operations.submit import require_tenant
from orchestration.platform.clock import fresh_id, iso, now_ms
from orchestration.workflow.engine import EXPORT_MACHINE
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import JobId, audience_name, tenant_name
from segmentation.export_jobs import ENDED
from segmentation.life_cycle import Change

if TYPE_CHECKING:
    from orchestration.catalog.records import Export, ExportGroup
    from orchestration.context import Context

POLL_S: Final = 0.25
REGISTRATION_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportView:
    """How far an export is."""

    export: "Export"
    groups: "tuple[ExportGroup, ...]"

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.export.state in ENDED

    @property
    def rows(self) -> int:
        """Rows that have been written."""
        return sum(group.rows for group in self.groups)

    @property
    def expected_rows(self) -> int:
        """Rows that will be written; of a delta or a selection, at most."""
        return sum(group.expected_rows for group in self.groups)

    @property
    def written(self) -> int:
        """Groups that are there."""
        return sum(group.record is not None for group in self.groups)


def submit(context: "Context", request: ExportRequest) -> JobId:
    """Start an export; its id.

    Raises `UserError` BAD_NAME, UNKNOWN_TENANT, UNKNOWN_AUDIENCE, BAD_DESTINATION, BAD_TIME; `RetriableError`
    ENGINE_UNAVAILABLE; `FatalError` ENGINE_REFUSED.
    """
    tenant = tenant_name(request.tenant)
    require_tenant(context, tenant)
    context.audiences.get(tenant, audience_name(request.audience))
    check_request(request)
    _ = request.moment
    context.engine.start(EXPORT_MACHINE, request.export_id, {"export": request.as_record()})
    return request.export_id


def retry(context: "Context", export_id: JobId) -> JobId:
    """A new export of the same version to the same place as one that has FAILED or was CANCELLED; its id.

    Raises `UserError` UNKNOWN_EXPORT, NOT_RETRIABLE, and as `submit` does.
    """
    export = context.exports.get(export_id)
    if export.state not in {"FAILED", "CANCELLED"}:
        raise UserError(
            "NOT_RETRIABLE",
            f"export {export_id} is {export.state}; only FAILED and CANCELLED exports are retried",
            job=export_id,
            state=export.state,
        )
    old = ExportRequest.from_record(export.request)
    return submit(context, replace(old, export_id=fresh_id(), retry_of=export_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledExport:
    """What became of a cancel. `warnings`: what could not be done at once; the sweeper does it within seconds."""

    export: "Export"
    already: bool
    warnings: tuple[str, ...]


def cancel(context: "Context", export_id: JobId) -> CancelledExport:
    """Cancel an export before its manifest can be written; its files are removed by the sweeper.

    Raises `UserError` UNKNOWN_EXPORT, TOO_LATE.
    """
    verdict, export = context.exports.move(export_id, "CANCELLED", now_ms=now_ms(), cause="cancelled by an operator")
    if verdict is Change.REFUSED:
        why = "its manifest is being written" if export.state == "FINISHING" else "it has ended"
        raise UserError(
            "TOO_LATE", f"export {export_id} is {export.state}: {why}, so it is too late to cancel", job=export_id
        )
    warnings = []
    try:
        if export.execution is not None:
            context.engine.stop(export.execution, "cancelled by an operator")
    except (FatalError, RetriableError) as exc:
        warnings.append(f"the execution could not be stopped ({exc.code}); it ends by itself")
    return CancelledExport(export=export, already=verdict is Change.ALREADY, warnings=tuple(warnings))


def await_registration(context: "Context", export_id: JobId, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Until the execution that was just started has registered its export. Raises `UserError` UNKNOWN_EXPORT.

    As long as the engine knows the execution, and two minutes at most: the first function may start cold.
    """
    until = time.monotonic() + REGISTRATION_S
    while context.exports.find(export_id) is None:
        if time.monotonic() > until or not _is_starting(context, export_id):
            context.exports.get(export_id)
            return
        sleep(POLL_S)


def _is_starting(context: "Context", export_id: JobId) -> bool:
    try:
        found = context.engine.describe(context.engine.execution_arn(export_id, EXPORT_MACHINE))
    except (FatalError, RetriableError):
        return False
    return found is not None and found.running


def look(context: "Context", export_id: JobId) -> ExportView | None:
    """How far an export is; none while it is not registered."""
    export = context.exports.find(export_id)
    return None if export is None else ExportView(export=export, groups=tuple(context.exports.groups(export_id)))


def follow(
    context: "Context", export_id: JobId, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[ExportView]:
    """How far an export is, whenever that changes, until it has ended.

    Raises `UserError` UNKNOWN_EXPORT when nothing is registered for two minutes; `RetriableError` when the catalog
    stays away as long.
    """
    last, quiet_since = None, time.monotonic()
    while True:
        try:
            view = look(context, export_id)
            if view is None and time.monotonic() - quiet_since > REGISTRATION_S:
                context.exports.get(export_id)
            if view is not None:
                quiet_since = time.monotonic()
                if view != last:
                    last = view
                    yield view
                if view.final:
                    return
        except RetriableError:
            if time.monotonic() - quiet_since > REGISTRATION_S:
                raise
        sleep(POLL_S)


def export_record(export: "Export") -> dict[str, Any]:
    """An export as JSON."""
    return {
        "export": export.job_id,
        "tenant": export.tenant,
        "audience": export.audience,
        "state": export.state,
        "request": dict(export.request),
        "outcome": _plain(export.outcome),
        "error": None if export.error is None else export.error.as_record(),
        "failed_in": export.failed_in,
        "retry_of": export.retry_of,
        "created_at": iso(export.created_at_ms),
        "finished_at": None if export.finished_at_ms is None else iso(export.finished_at_ms),
    }


def _plain(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if record is None else dict(record)
