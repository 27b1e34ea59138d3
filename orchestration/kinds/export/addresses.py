"""Where an export may go: one check, when it is requested, retried, scheduled, edited and registered.

Light: the service checks requests with it.
"""

from typing import TYPE_CHECKING, Final

from connectors.sinks.addresses import S3, s3_prefix
from connectors.sinks.profiles import check_profile
from connectors.sinks.topic_addresses import SCHEME, topic_of
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.places import DOWNLOAD, AllowedLocations
from schemas.errors import UserError
from schemas.ids import AudienceName, audience_name
from schemas.manifest import ExportFormat

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore

ON_TOPICS: Final = (ExportFormat(format="parquet"), ExportFormat(format="jsonl"))


def check_export(
    request: ExportRequest, *, allowed: AllowedLocations, audiences: "AudienceStore"
) -> AudienceName | None:
    """Refuse an export that can never work; returns the segment that it exports, None for an audience.

    Its address may have placeholders. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, BAD_SPEC, BAD_DESTINATION for an
    address in no place of the tenant, UNKNOWN_PROFILE, BAD_PROFILES, OUTSIDE_PROFILE, and as `check_request`.
    """
    _check_form(request.to)
    allowed.require_destination(request.to, request.profile)
    check_request(request)
    if request.profile is not None:
        check_profile(allowed.settings.destinations_file, request.profile, request.to)
    for other in request.shape.other_audiences:
        audiences.get(allowed.tenant, other.audience)
    name = audience_name(request.audience)
    current = request.version is None and request.as_of is None
    if current and audiences.segment_state(allowed.tenant, name) is not None:
        return name
    audiences.get(allowed.tenant, name)
    if request.allow_shrink:
        raise UserError(
            "BAD_SPEC",
            f"allow_shrink is for exports of a segment, and {name} is an audience: its versions were published before",
            audience=name,
        )
    return None


def check_request(request: ExportRequest) -> None:
    """Raises `UserError` BAD_FORMAT for a file format on a topic export, and as `check_address`."""
    check_address(request.to)
    if not request.to.startswith(S3) and request.profile is not None:
        raise UserError(
            "BAD_DESTINATION",
            f"a profile applies to s3://bucket/prefix, not to {request.to[:200]}",
            to=request.to[:200],
        )
    has_file_options = request.format not in ON_TOPICS or request.row_group_rows or request.shape.partition_by
    if request.to.startswith(SCHEME) and has_file_options:
        raise UserError(
            "BAD_FORMAT",
            "a topic receives rows, not files: choose the format jsonl for a record of each row, or none for chunks of "
            "Arrow; in both cases omit its options",
        )


def check_address(to: str) -> None:
    """Raises `UserError` BAD_DESTINATION, BAD_URI, DESTINATION_NOT_WRITABLE for what no workflow can write to."""
    _check_form(to)
    if to.startswith(SCHEME):
        topic_of(to)
    elif to.startswith(S3):
        s3_prefix(to)


def _check_form(to: str) -> None:
    if to != DOWNLOAD and not to.startswith((S3, SCHEME)):
        raise UserError(
            "BAD_DESTINATION",
            f"{to[:200]!r} is not a destination: write `{DOWNLOAD}`, s3://bucket/prefix or kafka://TOPIC; only "
            "`muster export` writes to a local folder",
            to=to[:200],
        )
