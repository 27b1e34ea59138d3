"""BuildVersion for append and remove: merge the import with the current version, which is the base from here on.

For a snapshot of a segment, see `kinds.snapshot.build`.
"""

from connectors.lake.build import BaseVersion, BuiltVersion, ImportedParts, build_version
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from orchestration.catalog.records import Job
from orchestration.catalog.references import audience_ref
from orchestration.kinds.builds import VersionBuild
from orchestration.kinds.materialised import parts_of, require_complete
from orchestration.kinds.records import ImportRecords, View
from orchestration.platform.clock import now_ms
from schemas.ids import Attempt, JobId
from schemas.layout import data_prefix
from segmentation.completion import Complete
from segmentation.versions import VersionInfo, VersionStore


def build(job_id: JobId, *, records: ImportRecords, versions: VersionStore, s3: S3Access, limits: DuckLimits) -> View:
    """AWAITING | BUILDING -> PUBLISHING, with the merged parts and exact counts in the catalog."""
    _, job = records.jobs.move(job_id, "BUILDING", now_ms=now_ms(), only_from={"AWAITING"})
    if job.state != "BUILDING":
        return records.view(job)
    imported = imported_parts(job, require_complete(records.progress, job))
    report = records.report(job_id, "build")
    current = versions.current(audience_ref(job))
    built = build_version(
        imported,
        None if current is None else base_of(job, current, versions),
        s3=s3,
        limits=limits,
        data_prefix=parts_prefix(job, records),
    )
    report.finish(rows=sum(part.rows for part in built.parts))
    return has_built(job, imported.attempt, built, records=records)


def imported_parts(job: Job, found: Complete) -> ImportedParts:
    """What an attempt has materialised."""
    return ImportedParts(
        import_id=job.job_id,
        attempt=found.attempt,
        mode=job.mode,
        partitions=job.partitions,
        row_schema=job.spec.row_schema,
        parts=parts_of(found),
        drop=frozenset(job.spec.drop_columns),
    )


def base_of(job: Job, version: VersionInfo, versions: VersionStore) -> BaseVersion:
    """A version of the job's audience, to be merged with."""
    return BaseVersion(info=version, parts=versions.files(audience_ref(job), version.version))


def parts_prefix(job: Job, records: ImportRecords) -> str:
    """Where new parts are stored."""
    audience = audience_ref(job)
    return data_prefix(records.settings.lake_bucket, audience.tenant, audience.audience_id)


def has_built(job: Job, attempt: Attempt, built: BuiltVersion, *, records: ImportRecords) -> View:
    """BUILDING -> PUBLISHING, with what was built."""
    version_build = VersionBuild(
        attempt=attempt,
        base_version=built.base_version,
        parts=tuple(built.parts),
        columns=built.row_schema,
        counts=built.counts,
    )
    _, job = records.jobs.move(
        job.job_id,
        "PUBLISHING",
        now_ms=now_ms(),
        cause=f"built on version {version_build.base_version}",
        only_from={"BUILDING"},
        build=version_build.as_record(),
    )
    return records.view(job)
