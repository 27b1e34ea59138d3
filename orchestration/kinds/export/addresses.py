"""Where an export may go. Light: the service checks requests with it."""

from typing import Final

from connectors.sinks.addresses import s3_prefix
from connectors.sinks.topic_addresses import SCHEME, topic_of
from orchestration.kinds.export.request import ExportRequest
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.export_shape import delta_not_supported
from schemas.layout import DOWNLOADS_PREFIX, EXPORTS_PREFIX, s3_uri, split_s3_uri
from schemas.manifest import ExportFormat

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
