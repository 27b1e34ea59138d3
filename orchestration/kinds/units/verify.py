"""VerifyUnit and GatherEvidence: the strict scan of the units side by side, and the evidence of all.

A unit writes what it has seen to staging, once: also its fault, which says nothing about the units before it. The first
to do so is heard, and a run that comes later writes nothing. Ranges of text that do not fit together are read again, in
another round of the same two steps.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from connectors.sources.limits import ParseLimits
from connectors.sources.rejects import RejectBatch
from connectors.storage.objects import ObjectStore
from connectors.verification.rejects_file import ParquetRejects, read_rejects, upload_to
from connectors.verification.unit_rounds import Reading, settle
from connectors.verification.units import UnitRead, bases_of, evidence_of, files_read, verify_unit
from orchestration.catalog.records import Job
from orchestration.kinds.attempts import attempt_of
from orchestration.kinds.failures import error_record
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.units.plan import add_round, files_of, read_plan
from orchestration.kinds.units.results import has_result, read_results, store_counted, store_result
from orchestration.kinds.verify import kept_rejects, upload_file_table, verified
from schemas.chunk_rule import CHUNK_RULE
from schemas.layout import unit_bases_key, unit_key, unit_rejects_key


def verify_one(job: Job, number: int, *, records: ImportRecords, objects: ObjectStore, limits: ParseLimits) -> None:
    """Verify a unit while the job is VERIFYING. Its faults are stored; raises only `RetriableError`."""
    settings = records.settings
    staging, key = settings.staging_bucket, unit_key(job.job_id, number)
    if job.state != "VERIFYING" or has_result(objects, staging, key):
        return
    files, plan = files_of(job, objects=objects, bucket=staging), read_plan(job, objects=objects, bucket=staging)
    unit = plan.units.all[number]
    report = records.report(job.job_id, "verify", total=unit.bytes(files), unit="bytes", number=number)
    upload = upload_to(objects, staging, unit_rejects_key(job.job_id, number))
    with (
        TemporaryDirectory(prefix="muster-verify-") as folder,
        ParquetRejects(Path(folder) / "rejects.parquet", upload) as rejects,
    ):
        read = verify_unit(
            files,
            unit,
            plan.spec,
            partitions=job.partitions,
            chunk_overhead_bytes=attempt_of(job, files, job.attempt, settings.lake_bucket).chunk_overhead_bytes,
            limits=limits,
            rejects=rejects,
            on_progress=lambda p: report.update(done=p.source_bytes, rows=p.rows),
            store=objects,
        )
    stored = store_result(read, objects, staging, key)
    report.end_unit(rows=read.rows, counted=not stored)


def give_up(job: Job, number: int, failure: Mapping[str, Any], *, records: ImportRecords, objects: ObjectStore) -> None:
    """Store why a unit was given up, unless it has ended after all."""
    if job.state == "VERIFYING":
        staging = records.settings.staging_bucket
        unit = read_plan(job, objects=objects, bucket=staging).units.all[number]
        result = UnitRead(error=error_record(failure), begin=unit.known_begin)
        store_result(result, objects, staging, unit_key(job.job_id, number))


def gather_evidence(job: Job, number: int, *, records: ImportRecords, objects: ObjectStore) -> View:
    """VERIFYING -> IMPORTING, as `kinds.verify`, by what the units have seen. Raises the first fault in order.

    Remains VERIFYING if some have to be read again. `number`: of the round that has been read, 0 for the planned units.
    """
    settings = records.settings
    staging = settings.staging_bucket
    if job.state != "VERIFYING":
        return records.view(job)
    files, plan = files_of(job, objects=objects, bucket=staging), read_plan(job, objects=objects, bucket=staging)
    if len(plan.units.rounds) > number:  # this step runs again, after it has begun the next round
        return records.view(job)
    results = len(plan.units.all)
    every = read_results(UnitRead, job, results, objects, staging, lambda unit: unit_key(job.job_id, unit))
    settled = settle(plan.units, every)
    if again := tuple(one for one in settled if isinstance(one, Reading)):
        add_round(job, number + 1, again, objects=objects, bucket=staging)
        return records.view(job)
    counted = tuple(one for one in settled if not isinstance(one, Reading))
    read = [every[one.number] for one in counted]
    report = records.report(job.job_id, "verify", total=sum(file.size for file in files), unit="bytes")
    with TemporaryDirectory(prefix="muster-verify-") as folder:
        if len(files) > 1:
            table = files_read(files, counted, read)
            upload_file_table(job, files, table, objects=objects, bucket=settings.lake_bucket)
        with kept_rejects(job, objects=objects, bucket=settings.lake_bucket) as rejects:
            evidence = evidence_of(
                files,
                counted,
                read,
                plan.spec,
                rejects=rejects,
                rejects_of=(
                    _rejects(job, one.number, Path(folder), objects, staging) if seen.rejects else iter(())
                    for one, seen in zip(counted, read, strict=True)
                ),
            )
    if job.kind != "profiles":  # those are sent in order, by one task
        store_counted(job, counted, objects=objects, bucket=staging)
        objects.put(staging, unit_bases_key(job.job_id, CHUNK_RULE), bases_of(read, job.partitions))
    report.finish(rows=evidence.rows)
    return verified(job, evidence, plan.spec, records=records)


def _rejects(job: Job, number: int, folder: Path, objects: ObjectStore, bucket: str) -> Iterator[RejectBatch]:
    path = folder / "unit.parquet"
    source = objects.pin(bucket, unit_rejects_key(job.job_id, number))
    with path.open("wb") as copy:
        for block in objects.stream(source):
            copy.write(block)
    yield from read_rejects(path)
