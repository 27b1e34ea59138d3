"""Reads published versions: SQL over them, and the export of one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.lake.sql import Answer, Resolved, query
from connectors.lake.sql_tree import AudienceCall, RejectsCall
from connectors.sinks.parquet_export import ExportedFile, export_parquet
from orchestration.catalog.references import ref_of
from orchestration.kinds.places import require_export_prefix
from orchestration.platform.settings import SANDBOX_REQUIRED
from schemas.errors import UserError
from schemas.ids import Version, tenant_name
from schemas.layout import rejects_key, s3_uri
from segmentation.versions import Part, VersionInfo

if TYPE_CHECKING:
    from connectors.storage.access import S3Access
    from connectors.storage.duck import DuckLimits
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.records import Audience, Job
    from orchestration.platform.settings import Settings
    from segmentation.versions import VersionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """SQL over published versions and rejects. `versions` is called only for an audience: the lake is slow to load."""

    audiences: "AudienceStore"
    jobs: "JobStore"
    limits: "DuckLimits"
    objects: "ObjectStore"
    s3: "S3Access"
    settings: "Settings"
    versions: "Callable[[], VersionStore]"

    @contextmanager
    def sql(self, text: str, *, tenant: str, timeout_s: float) -> Iterator[Answer]:
        """Run one SELECT over `audience('x')` and `rejects('job')`; audiences without `tenant =>` belong to `tenant`.

        Raises as `connectors.lake.sql.query`, and `UserError` UNKNOWN_AUDIENCE, NOTHING_PUBLISHED, NO_REJECTS.
        """

        def resolve(call: AudienceCall | RejectsCall) -> Resolved:
            return self._resolve(call, tenant)

        required = self.settings.sandbox == SANDBOX_REQUIRED
        with query(
            text, resolve, s3=self.s3, limits=self.limits, timeout_s=timeout_s, sandbox_required=required
        ) as answer:
            yield answer

    def _resolve(self, call: AudienceCall | RejectsCall, tenant: str) -> Resolved:
        match call:
            case AudienceCall():
                audience = self.audiences.get(call.tenant or tenant_name(tenant), call.audience)
                info, parts = version_files(self.versions(), audience, call.version)
                return Resolved(files=[part.uri for part in parts], schema=info.row_schema)
            case RejectsCall():
                return rejects_files(self.jobs.get(call.job), objects=self.objects, bucket=self.settings.lake_bucket)


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
    """Write a version (default: the current one) as one Parquet file to a path or `s3://bucket/key`.

    Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION, BAD_DESTINATION, and as `export_parquet` does.
    """
    if "://" in destination:
        require_export_prefix(settings, destination)
    info, parts = version_files(versions, audience, version)
    done = export_parquet(info, parts, destination, s3=s3, limits=limits, overwrite=overwrite)
    return info, done
