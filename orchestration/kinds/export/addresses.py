"""Where an export may go. Light: the service checks requests with it."""

from connectors.sinks.addresses import S3, s3_prefix
from connectors.sinks.topic_addresses import SCHEME, topic_of
from orchestration.kinds.export.request import ExportRequest
from schemas.errors import UserError
from schemas.export_shape import delta_not_supported
from schemas.manifest import ExportFormat


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
