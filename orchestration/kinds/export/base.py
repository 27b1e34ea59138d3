"""The view that a delta starts from: what its receiver has, as the export has recorded that delivered it.

Nothing is guessed. Versions alone say what a receiver has only where nothing is looked up in other audiences, and no
consent policy has ever left anyone out.
"""

import logging
from typing import TYPE_CHECKING

from connectors.sinks.selection import PinnedVersion
from connectors.sinks.shaping import Shape
from connectors.sinks.views import require_same_columns
from orchestration.catalog.records import Lease
from orchestration.catalog.references import ref_of
from orchestration.kinds.export.destinations import request_of
from orchestration.kinds.export.request import SINCE_LAST, DeliveredView, ExportRequest
from orchestration.kinds.export.shapes import view_of
from schemas.errors import UserError
from schemas.ids import JobId, Version
from segmentation.versions import AudienceRef

if TYPE_CHECKING:
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.records import Audience, Export
    from segmentation.versions import VersionStore

_log = logging.getLogger(__name__)


def resolve_base(
    request: ExportRequest,
    ref: AudienceRef,
    others: tuple[Lease, ...],
    *,
    exports: "ExportStore",
    versions: "VersionStore",
) -> tuple[ExportRequest, tuple[Lease, ...]]:
    """The request with the base of its delta, and the leases that this needs. `request` has its other versions.

    The first run of a schedule is whole, and so is one whose base is not kept any more or has other columns: a schedule
    that cannot continue where it stopped must not fail for good. The manifest says which it is.

    Raises `UserError` BASE_VIEW_UNKNOWN, NO_SUCH_VERSION, SCHEMA_MISMATCH.
    """
    if request.delta_from is None:
        return request, ()
    try:
        view, leases = _delivered(request, ref, exports)
        _require_comparable(request, ref, others, view, leases, versions)
    except UserError as exc:
        if request.schedule is None or request.retry_of is not None:
            raise
        _log.log(
            logging.WARNING if exports.last_delivered(ref.audience_id, schedule_id=request.schedule) else logging.INFO,
            "schedule %s exports a full version instead of changes: %s",
            request.schedule,
            exc,
        )
        return request.with_base(None), ()
    return request.with_base(view), leases


def require_base(request: ExportRequest, audience: "Audience | None", *, exports: "ExportStore") -> None:
    """Refuse a delta that is known to have no base before its version exists. `audience`: as far as there is one.

    Raises `UserError` BASE_VIEW_UNKNOWN.
    """
    if request.delta_from is None or request.schedule is not None:
        return
    if audience is None:
        raise _unknown("no snapshot of this segment has been exported yet", request)
    _delivered(request, ref_of(audience), exports)


def _delivered(
    request: ExportRequest, ref: AudienceRef, exports: "ExportStore"
) -> tuple[DeliveredView, tuple[Lease, ...]]:
    wanted = request.delta_from
    found: Export | None
    if isinstance(wanted, int):
        if request.consent is None and not request.shape.other_audiences:
            return DeliveredView(version=wanted, shape=request.shape), (Lease(audience=ref, version=Version(wanted)),)
        found = exports.last_delivered(ref.audience_id, to=request.to, profile=request.profile, version=wanted)
        what = f"version {wanted} to this destination"
    elif wanted == SINCE_LAST and request.schedule is not None:
        found, what = exports.last_delivered(ref.audience_id, schedule_id=request.schedule), "this schedule"
    elif wanted == SINCE_LAST:
        found = exports.last_delivered(ref.audience_id, to=request.to, profile=request.profile)
        what = "this audience to this destination"
    else:
        found = exports.find(JobId(str(wanted)))
        what = f"this audience with the id {wanted}"
        if found is not None and (found.audience_id != ref.audience_id or found.state != "READY"):
            found = None  # those of another tenant included
    if found is None:
        raise _unknown(f"there is no READY export of {what}", request)
    made = request_of(found)
    view = DeliveredView(
        version=found.leases[0].version,
        shape=made.shape,
        consent=made.consent,
        export=found.job_id,
        kept=None if found.outcome is None else found.outcome.get("kept"),
    )
    return view, found.leases[: 1 + len(made.other_audiences)]


def _require_comparable(
    request: ExportRequest,
    ref: AudienceRef,
    others: tuple[Lease, ...],
    view: DeliveredView,
    leases: tuple[Lease, ...],
    versions: "VersionStore",
) -> None:
    try:
        before = _shape(view, leases, versions)
    except UserError as exc:
        if view.export is None:
            raise
        raise _unknown(f"what export {view.export} has delivered is not kept any more: {exc.message}", request) from exc
    own = Lease(audience=ref, version=Version(request.version or 0))
    require_same_columns(_shape(request, (own, *others), versions), before)


def _shape(view: DeliveredView | ExportRequest, leases: tuple[Lease, ...], versions: "VersionStore") -> Shape:
    """The shape of a view without its files."""
    own, *others = (PinnedVersion(info=versions.version(lease.audience, lease.version), parts=()) for lease in leases)
    return view_of(view, own, others)


def _unknown(why: str, request: ExportRequest) -> UserError:
    return UserError(
        "BASE_VIEW_UNKNOWN",
        f"a delta cannot start there: {why}; export the whole version once, or name the export that the receiver has "
        "(--delta-from EXPORT)",
        delta_from=request.delta_from,
    )
