"""BuildVersion for append and remove: merge the import with the current version, which is the base from here on.

For a snapshot of a segment, see `kinds.snapshot.build`.
"""

from connectors.lake.build import BaseVersion, ImportedParts, build_version
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from orchestration.catalog.references import audience_ref
from orchestration.kinds.builds import VersionBuild
from orchestration.kinds.materialised import parts_of, require_complete
from orchestration.kinds.records import ImportRecords, View
from orchestration.platform.clock import now_ms
from schemas.ids import JobId
from schemas.layout import data_prefix
from segmentation.versions import VersionStore


def build(job_id: JobId, *, records: ImportRecords, versions: VersionStore, s3: S3Access, limits: DuckLimits) -> View:
    """AWAITING | BUILDING -> PUBLISHING, with the merged parts and exact counts in the catalog."""
    _, job = records.jobs.move(job_id, "BUILDING", now_ms=now_ms(), only_from={"AWAITING"})
    if job.state != "BUILDING":
        return records.view(job)
    found = require_complete(records.progress, job)
    report = records.report(job_id, "build")
    audience = audience_ref(job)
    current = versions.current(audience)
    built = build_version(
        ImportedParts(
            import_id=job.job_id,
            attempt=found.attempt,
            mode=job.mode,
            partitions=job.partitions,
            row_schema=job.spec.row_schema,
            parts=parts_of(found),
            drop=frozenset(job.spec.drop_columns),
        ),
        None if current is None else BaseVersion(info=current, parts=versions.files(audience, current.version)),
        s3=s3,
        limits=limits,
        data_prefix=data_prefix(records.settings.lake_bucket, audience.tenant, audience.audience_id),
    )
    report.finish(rows=sum(part.rows for part in built.parts))
    version_build = VersionBuild(
        attempt=found.attempt,
        base_version=built.base_version,
        parts=tuple(built.parts),
        columns=built.row_schema,
        counts=built.counts,
    )
    _, job = records.jobs.move(
        job_id,
        "PUBLISHING",
        now_ms=now_ms(),
        cause=f"built on version {version_build.base_version}",
        only_from={"BUILDING"},
        build=version_build.as_record(),
    )
    return records.view(job)
