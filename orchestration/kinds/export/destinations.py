"""Destination of a workflow's export, and the order that its steps carry out."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from connectors.sinks.addresses import S3
from connectors.sinks.destinations import Destination, destination
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.profiles import DestinationProfile, load_profile
from connectors.sinks.selection import PinnedVersion
from connectors.sinks.views import BaseView
from connectors.storage.access import S3Access
from orchestration.catalog.records import Export, Lease
from orchestration.kinds.export.request import DeliveredView, ExportRequest
from orchestration.kinds.export.shapes import view_of
from orchestration.kinds.places import require_export_prefix
from orchestration.platform.clock import iso
from orchestration.platform.settings import Settings
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.log_ids import without_caller
from segmentation.versions import VersionStore


def request_of(export: Export) -> ExportRequest:
    """The request that the export was started with."""
    return ExportRequest.from_record(without_caller(export.request))


def destination_of(request: ExportRequest, *, s3: S3Access, settings: Settings) -> Destination:
    """Destination of its files. Raises `UserError` BAD_DESTINATION, and as `destination` and `profile_of` do."""
    profile = None if request.profile is None else profile_of(settings, request.profile)
    access = s3 if profile is None else profile.access
    if request.to.startswith(S3) and _store(access) == _store(s3):
        require_export_prefix(settings, request.tenant, request.to)
    return destination(request.to, s3, profile)


def _store(access: S3Access) -> str:
    """The store behind an endpoint. All AWS endpoints are one store (""), because bucket names are global there."""
    host = urlsplit(access.endpoint).hostname or ""
    return "" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else access.endpoint.rstrip("/")


def profile_of(settings: Settings, name: str) -> DestinationProfile:
    """Load a profile by name; its secrets are read when it is used, and never stored. Raises as `load_profile`."""
    return load_profile(settings.destinations_file, name, settings.variables)


def order_of(versions: VersionStore, export: Export, request: ExportRequest) -> ExportOrder:
    """The order, with the files of the versions that the export holds. Raises as `VersionStore.leased`."""
    if not export.leases:
        raise FatalError("NOTHING_HELD", f"export {export.job_id} has no lease on a version", job=export.job_id)
    own = 1 + len(request.other_audiences)
    version, *others = (_pinned(versions, export, lease) for lease in export.leases[:own])
    base = [_pinned(versions, export, lease) for lease in export.leases[own:]]
    return ExportOrder(
        export_id=export.job_id,
        tenant=export.tenant,
        audience=export.audience,
        version=version,
        base=base[0] if base else None,
        base_view=_base_view(request.base, base) if request.base is not None else None,
        policy=None if request.consent is None else request.consent.policy,
        format=request.format,
        created_at=iso(export.created_at_ms),
        target_bytes=request.target_bytes,
        shape=view_of(request, version, others),
        row_group_rows=request.row_group_rows,
    )


def _base_view(view: DeliveredView, pinned: Sequence[PinnedVersion]) -> BaseView:
    return BaseView(
        shape=view_of(view, pinned[0], pinned[1:]),
        export=view.export,
        policy=None if view.consent is None else view.consent.policy,
        kept=None if view.kept is None else Digest.parse(view.kept),
    )


def _pinned(versions: VersionStore, export: Export, lease: Lease) -> PinnedVersion:
    info, parts = versions.leased(lease.audience, lease.version, export.job_id)
    return PinnedVersion(info=info, parts=tuple(parts))
