"""VerifyFile: the strict scan, before any record is sent."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from connectors.sources.file_set import FileRead, complete_spec
from connectors.sources.limits import ParseLimits
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceFiles
from connectors.verification.evidence import Evidence
from connectors.verification.file_table import upload_files
from connectors.verification.ranges import verify_side_by_side
from connectors.verification.rejects_file import ParquetRejects, upload_to
from connectors.verification.verifier import published_rejects
from orchestration.catalog.records import Job
from orchestration.kinds.file_sets import source_of
from orchestration.kinds.records import ImportRecords, View
from orchestration.platform.clock import now_ms
from schemas.import_spec import ImportSpec
from schemas.layout import files_key, rejects_key
from schemas.records import as_record


def verify(job: Job, *, records: ImportRecords, objects: ObjectStore, limits: ParseLimits) -> View:
    """VERIFYING -> IMPORTING. Writes evidence and complete spec to the catalog, rejects to the lake bucket.

    Of several files, also the table of the files. Raises `UserError` if a file is at fault; its rejects, and the table,
    are written all the same.
    """
    if job.state != "VERIFYING":
        return records.view(job)
    if job.task_token is not None:  # it was admitted: the token needs no more answers
        records.jobs.put(job.job_id, task_token=None)
    report = records.report(job.job_id, "verify", total=int(job.source["size"]), unit="bytes")
    settings = records.settings
    source, spec = source_of(job, objects=objects, bucket=settings.staging_bucket), job.spec
    with kept_rejects(job, objects=objects, bucket=settings.lake_bucket) as rejects:
        if spec.other_columns:
            with published_rejects(rejects):
                spec = complete_spec(source, spec, limits, objects, keep=rejects.write)
        evidence = verify_side_by_side(
            source,
            spec,
            partitions=job.partitions,
            limits=limits,
            rejects=rejects,
            on_progress=lambda p: report.update(done=p.source_bytes, rows=p.rows),
            store=objects,
            on_files=lambda read: (
                upload_file_table(job, source, read, objects=objects, bucket=settings.lake_bucket)
                if isinstance(source, tuple)
                else None
            ),
        )
    report.finish(rows=evidence.rows)
    return verified(job, evidence, spec, records=records)


@contextmanager
def kept_rejects(job: Job, *, objects: ObjectStore, bucket: str) -> Iterator[ParquetRejects]:
    """The rejects of a job; `bucket`: the lake's."""
    upload = upload_to(objects, bucket, rejects_key(job.tenant, job.job_id))
    with (
        TemporaryDirectory(prefix="muster-verify-") as folder,
        ParquetRejects(Path(folder) / "rejects.parquet", upload) as rejects,
    ):
        yield rejects


def upload_file_table(
    job: Job, files: SourceFiles, read: Sequence[FileRead], *, objects: ObjectStore, bucket: str
) -> None:
    """Write the table of the files of a job; `read` are the first of them. `bucket`: the lake's."""
    with TemporaryDirectory(prefix="muster-verify-") as folder:
        upload = upload_to(objects, bucket, files_key(job.tenant, job.job_id))
        upload_files(files, read, Path(folder) / "files.parquet", upload)


def verified(job: Job, evidence: Evidence, spec: ImportSpec, *, records: ImportRecords) -> View:
    """VERIFYING -> IMPORTING, with the evidence and the complete spec."""
    _, job = records.jobs.move(
        job.job_id,
        "IMPORTING",
        now_ms=now_ms(),
        cause=_summary(job, evidence.rejected),
        only_from={"VERIFYING"},
        evidence=as_record(evidence),
        spec=spec.as_record(),
    )
    return records.view(job)


def _summary(job: Job, rejected: int) -> str:
    if not rejected:
        return "verified, no rejects"
    return f"verified, {rejected} rejects (`muster rejects {job.job_id}`)"
