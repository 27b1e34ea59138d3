"""BuildVersion: append and remove merge the import with the version that is current, which is pinned from here on.

Of a snapshot of a segment: `kinds.snapshot.build`.
"""

from connectors.lake.build import BaseVersion, ImportedParts, build_version
from orchestration.catalog.references import audience_ref
from orchestration.context import Context
from orchestration.kinds.materialised import complete, part_record, parts_of
from orchestration.kinds.snapshot.build import build_snapshot
from orchestration.kinds.stage_reports import StageReport
from orchestration.kinds.view import View, view
from orchestration.platform.clock import now_ms
from schemas.ids import JobId


def build(context: Context, job_id: JobId) -> View:
    """AWAITING | BUILDING -> PUBLISHING, with the merged parts and exact counts in the catalog."""
    if context.jobs.get(job_id).segment is not None:
        return build_snapshot(context, job_id)
    _, job = context.jobs.move(job_id, "BUILDING", now_ms=now_ms(), only_from={"AWAITING"})
    if job.state != "BUILDING":
        return view(context, job)
    found = complete(context, job)
    report = StageReport(context.progress, job_id, "build", total=0, unit="rows", place=context.settings.place)
    audience = audience_ref(job)
    current = context.versions.current(audience)
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
        None if current is None else BaseVersion(info=current, parts=context.versions.files(audience, current.version)),
        s3=context.s3,
        limits=context.duck_limits,
        data_prefix=context.data_prefix(audience.tenant, audience.audience_id),
    )
    report.finish(rows=sum(part.rows for part in built.parts))
    record = {
        "attempt": found.attempt,
        "base_version": built.base_version,
        "parts": [part_record(part) for part in built.parts],
        "columns": built.row_schema.as_record(),
        "counts": built.counts.as_record(),
    }
    _, job = context.jobs.move(
        job_id,
        "PUBLISHING",
        now_ms=now_ms(),
        cause=f"built on version {record['base_version']}",
        only_from={"BUILDING"},
        build=record,
    )
    return view(context, job)
