"""Files of published versions and rejects, and the export of a version to one file."""

from datetime import datetime
from typing import TYPE_CHECKING

from connectors.lake.sql import Resolved
from connectors.sinks.parquet_export import ExportedFile, export_parquet
from connectors.sinks.selection import PinnedVersion
from orchestration.catalog.references import ref_of
from orchestration.kinds.export.versions import resolve_version
from orchestration.kinds.places import require_export_prefix
from schemas.errors import UserError
from schemas.ids import Version
from schemas.layout import rejects_key, s3_uri
from segmentation.versions import Part, VersionInfo

if TYPE_CHECKING:
    from connectors.storage.access import S3Access
    from connectors.storage.duck import DuckLimits
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.records import Audience, Job
    from orchestration.platform.settings import Settings
    from segmentation.versions import VersionStore


def rejects_files(job: "Job", *, objects: "ObjectStore", bucket: str) -> Resolved:
    """The file with the rejects of a job, which has its own columns. Raises `UserError` NO_REJECTS."""
    key = rejects_key(job.tenant, job.job_id)
    if not any(entry.key == key for entry in objects.list(bucket, key)):
        raise UserError("NO_REJECTS", f"job {job.job_id} has no rejects", job=job.job_id)
    return Resolved(files=[s3_uri(bucket, key)], schema=None)


def version_files(
    versions: "VersionStore", audience: "Audience", number: int | None
) -> tuple[VersionInfo, tuple[Part, ...]]:
    """A version (default: the current one) and its files. Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION."""
    ref = ref_of(audience)
    info = versions.current(ref) if number is None else versions.version(ref, Version(number))
    if info is None:
        raise UserError("NOTHING_PUBLISHED", f"audience {audience.name} has no version yet", audience=audience.name)
    return info, tuple(versions.files(ref, info.version))


def pinned(
    versions: "VersionStore", audience: "Audience", *, version: int | None = None, as_of: datetime | None = None
) -> PinnedVersion:
    """A version and its files. Raises as `resolve_version`."""
    number = resolve_version(versions, audience, version=version, as_of=as_of)
    info, parts = version_files(versions, audience, number)
    return PinnedVersion(info=info, parts=parts)


def export(
    audience: "Audience",
    *,
    version: int | None,
    destination: str,
    overwrite: bool,
    limits: "DuckLimits",
    s3: "S3Access",
    settings: "Settings",
    versions: "VersionStore",
) -> tuple[VersionInfo, ExportedFile]:
    """Write a version (default: the current one) as one Parquet file to `s3://bucket/key`.

    Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION, BAD_DESTINATION, and as `export_parquet` does.
    """
    require_export_prefix(settings, audience.tenant, destination)
    info, parts = version_files(versions, audience, version)
    done = export_parquet(info, parts, destination, s3=s3, limits=limits, overwrite=overwrite)
    return info, done
