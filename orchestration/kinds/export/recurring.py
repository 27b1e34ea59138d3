"""Turns a run of a recurring export into a definite request: its address, and the version its delta starts from."""

import logging
from collections.abc import Mapping
from typing import Final

from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.references import ref_of
from orchestration.kinds.scheduled import resolve
from schemas.errors import UserError
from schemas.ids import JobId, Version, audience_name, tenant_name
from segmentation.versions import VersionStore

SINCE_LAST: Final = "last"
"""`delta_from` of a recurring export: changes since its last READY export."""
_log = logging.getLogger(__name__)


def resolve_scheduled(
    event: object, *, exports: ExportStore, audiences: AudienceStore, versions: VersionStore
) -> object:
    """The event with a definite request if a schedule sent it; any other event unchanged.

    Raises `UserError` BAD_EVENT, BAD_PLACEHOLDER.
    """
    resolved, scheduled_run = resolve(event, "export")
    if scheduled_run is None or not isinstance(resolved, Mapping):
        return event
    request = {**resolved["export"], "schedule": scheduled_run.schedule_id}
    if request.get("delta_from") == SINCE_LAST:
        request["delta_from"] = _last_version(
            request, scheduled_run.schedule_id, exports=exports, audiences=audiences, versions=versions
        )
    return {"export": request}


def _last_version(
    request: Mapping[str, object],
    schedule_id: JobId,
    *,
    exports: ExportStore,
    audiences: AudienceStore,
    versions: VersionStore,
) -> Version | None:
    """The version that the delta starts from. None for a whole export.

    The first export is whole, and so is one whose version is no longer kept or has other columns: a schedule that
    cannot continue where it stopped must not fail for good. The manifest says which it is.
    """
    try:
        audience = audiences.get(tenant_name(str(request.get("tenant"))), audience_name(str(request.get("audience"))))
    except UserError:
        return None  # the registration reports the error
    ref = ref_of(audience)
    last, current = exports.last_version(schedule_id, audience.audience_id), versions.current(ref)
    if last is None or current is None:
        return None
    try:
        comparable = versions.version(ref, last).row_schema == current.row_schema
    except UserError as exc:
        _log.warning("schedule %s exports a full version instead of changes: %s", schedule_id, exc)
        return None
    return last if comparable else None
