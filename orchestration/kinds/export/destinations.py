"""Destination of a workflow's export, and the order that its steps carry out."""

import os
from typing import Final
from urllib.parse import urlsplit

from connectors.sinks.addresses import s3_prefix
from connectors.sinks.destinations import Destination, destination
from connectors.sinks.exporting import ExportOrder
from connectors.sinks.profiles import DestinationProfile, load_profile
from connectors.sinks.selection import PinnedVersion
from connectors.sinks.topic_export import SCHEME, topic_of
from connectors.storage.access import S3Access
from orchestration.catalog.records import Export, Lease
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.export.shapes import shape_with_files
from orchestration.platform.clock import iso
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, UserError
from schemas.export_shape import delta_not_supported
from schemas.layout import DOWNLOADS_PREFIX, EXPORTS_PREFIX, s3_uri, split_s3_uri
from schemas.manifest import ExportFormat
from segmentation.versions import VersionStore

S3: Final = "s3://"


def check_request(request: ExportRequest) -> None:
    """Raises `UserError` BAD_FORMAT for a file format on a topic export, NOT_IN_A_DELTA, and as `check_address`."""
    check_address(request.to)
    if request.to.startswith(SCHEME) and request.profile is not None:
        raise UserError(
            "BAD_DESTINATION", "a profile applies to s3://bucket/prefix, not to a topic", to=request.to[:200]
        )
    if request.delta_from is not None and request.shape.other_audiences:
        raise delta_not_supported()
    has_file_options = (
        request.format != ExportFormat(format="parquet") or request.row_group_rows or request.shape.partition_by
    )
    if request.to.startswith(SCHEME) and has_file_options:
        raise UserError("BAD_FORMAT", "a topic receives rows, not files: omit the format and its options")


def check_address(to: str) -> None:
    """Raises `UserError` BAD_DESTINATION, BAD_URI, DESTINATION_NOT_WRITABLE for what no workflow can write to."""
    if to.startswith(SCHEME):
        topic_of(to)
        return
    if not to.startswith(S3):
        raise UserError(
            "BAD_DESTINATION",
            f"{to[:200]!r} is not an address like s3://bucket/prefix or kafka://topic; for a local folder, use "
            "`muster export` without a workflow",
            to=to[:200],
        )
    s3_prefix(to)


def request_of(export: Export) -> ExportRequest:
    """The request that the export was started with."""
    return ExportRequest.from_record(export.request)


def destination_of(request: ExportRequest, *, s3: S3Access, settings: Settings) -> Destination:
    """Destination of its files. Raises `UserError` BAD_DESTINATION, and as `destination` and `profile_of` do."""
    profile = None if request.profile is None else profile_of(settings, request.profile)
    access = s3 if profile is None else profile.access
    if request.to.startswith(S3) and _store(access) == _store(s3):
        require_export_prefix(settings, request.to)
    return destination(request.to, s3, profile)


def require_export_prefix(settings: Settings, to: str) -> None:
    """Allow exports to Muster's own buckets below two prefixes only; the rest is Muster's own data, or imported files.

    `to` is a prefix or an object in our own store. Raises `UserError` BAD_DESTINATION, BAD_URI.
    """
    bucket, key = split_s3_uri(to)
    allowed = {
        settings.inbox_bucket: "",
        settings.staging_bucket: DOWNLOADS_PREFIX,
        settings.lake_bucket: EXPORTS_PREFIX,
    }
    if bucket not in allowed:
        return
    prefix = allowed[bucket]
    # A server that resolves dots like a file system would leave the prefix.
    dotted = any(part in {"", ".", ".."} for part in key.rstrip("/").split("/"))
    if not prefix or dotted or not f"{key}/".startswith(prefix):
        raise UserError(
            "BAD_DESTINATION",
            f"{to[:200]} is in a bucket of Muster's own data; export to "
            f"{s3_uri(settings.lake_bucket, EXPORTS_PREFIX)}..., to a bucket of yours, or to a local folder",
            to=to[:200],
        )


def _store(access: S3Access) -> str:
    """The store behind an endpoint. All AWS endpoints are one store (""), because bucket names are global there."""
    host = urlsplit(access.endpoint).hostname or ""
    return "" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else access.endpoint.rstrip("/")


def profile_of(settings: Settings, name: str) -> DestinationProfile:
    """Load a profile by name; its secrets are read when it is used, and never stored. Raises as `load_profile`."""
    return load_profile(settings.destinations_file, name, os.environ)


def order_of(versions: VersionStore, export: Export, request: ExportRequest) -> ExportOrder:
    """The order, with the files of the versions that the export holds. Raises as `VersionStore.leased`."""
    if not export.leases:
        raise FatalError("NOTHING_HELD", f"export {export.job_id} has no lease on a version", job=export.job_id)
    own = export.leases[: 1 if request.delta_from is None else 2]
    pinned = [_pinned(versions, export, lease) for lease in own]
    others = dict(zip(request.shape.other_audiences, export.leases[len(own) :], strict=True))
    return ExportOrder(
        export_id=export.job_id,
        tenant=export.tenant,
        audience=export.audience,
        version=pinned[0],
        base=None if request.delta_from is None else pinned[1],
        format=request.format,
        created_at=iso(export.created_at_ms),
        target_bytes=request.target_bytes,
        shape=shape_with_files(request.shape, pinned[0], lambda one: _pinned(versions, export, others[one])),
        row_group_rows=request.row_group_rows,
    )


def _pinned(versions: VersionStore, export: Export, lease: Lease) -> PinnedVersion:
    info, parts = versions.leased(lease.audience, lease.version, export.job_id)
    return PinnedVersion(info=info, parts=tuple(parts))
