"""VerifyFile: the strict scan, before a single record is sent."""

from pathlib import Path
from tempfile import TemporaryDirectory

from connectors.sources.completion import complete_spec
from connectors.storage.pinned import SourceObject
from connectors.verification.rejects_file import ParquetRejects, upload_rejects
from connectors.verification.verifier import verify_file
from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.kinds.snapshot.ask import confirm
from orchestration.kinds.stage_reports import StageReport
from orchestration.kinds.view import View, view
from orchestration.platform.clock import now_ms
from schemas.ids import JobId
from schemas.layout import rejects_key


def verify(context: Context, job_id: JobId) -> View:
    """VERIFYING -> IMPORTING, with the evidence and the complete spec in the catalog, the rejects in the lake bucket.

    Raises `UserError` for a file that is at fault; its rejects are kept all the same.
    """
    job = context.jobs.get(job_id)
    if job.segment is not None:
        return confirm(context, job_id)
    if job.state != "VERIFYING":
        return view(context, job)
    if job.task_token is not None:  # its turn has been taken: the relay need not say so again
        context.jobs.put(job_id, task_token=None)
    size, place = int(job.source["size"]), context.settings.place
    report = StageReport(context.progress, job.job_id, "verify", total=size, unit="bytes", place=place)
    upload = upload_rejects(context.objects, context.settings.lake_bucket, rejects_key(job.tenant, job.job_id))
    with (
        TemporaryDirectory(prefix="muster-verify-") as folder,
        ParquetRejects(Path(folder) / "rejects.parquet", upload) as rejects,
    ):
        source, spec = SourceObject.from_record(job.source), job.spec
        if spec.other_columns:
            spec = complete_spec(source, spec, context.parse_limits(), context.objects)
        evidence = verify_file(
            source,
            spec,
            partitions=job.partitions,
            limits=context.parse_limits(),
            rejects=rejects,
            on_progress=lambda p: report.update(done=p.source_bytes, rows=p.rows),
            store=context.objects,
        )
    report.finish(rows=evidence.rows)
    _, job = context.jobs.move(
        job_id,
        "IMPORTING",
        now_ms=now_ms(),
        cause=_summary(job, evidence.rejected),
        only_from={"VERIFYING"},
        evidence=evidence.as_record(),
        spec=spec.as_record(),
    )
    return view(context, job)


def _summary(job: Job, rejected: int) -> str:
    if not rejected:
        return "verified, no rejects"
    return f"verified, {rejected} rejects (`muster rejects {job.job_id}`)"
