"""BeginAttempt, SendUnit and EndAttempt: one attempt whose units are sent side by side.

Audiences and events only: changes of profiles apply in the order in which they are sent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.lake.archive import ActivityArchive
from connectors.publishing import unit_importer
from connectors.publishing.backlog import BacklogLimit
from connectors.publishing.ports import StopPublishing
from connectors.publishing.unit_importer import UnitSent
from connectors.sources.file_set import FileSet
from connectors.sources.limits import ParseLimits
from connectors.storage.objects import ObjectStore
from connectors.verification.evidence import Evidence
from connectors.verification.units import UnitBase, UnitRead
from orchestration.catalog.records import Job
from orchestration.kinds import send
from orchestration.kinds.attempts import attempt_of
from orchestration.kinds.failures import error_record
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.units.plan import files_of, units_for_workflow
from orchestration.kinds.units.results import (
    has_result,
    raise_first_fault,
    read_counted,
    read_result,
    read_results,
    store_result,
)
from schemas.chunk_rule import CHUNK_RULE
from schemas.errors import FatalError, UserError
from schemas.ids import Attempt
from schemas.layout import unit_bases_key, unit_items_key, unit_key, unit_sent_key
from schemas.records import from_record

Archive = Callable[[], ActivityArchive]


def begin_attempt(job: Job, *, records: ImportRecords, objects: ObjectStore, archive: Archive) -> View:
    """Begin an attempt and send its start markers: the view with the attempt, and where the workflow reads the units.

    `spread` is False if one task has to send all: verification has left no counts of chunks by today's rule.
    """
    view = records.view(job)
    if job.state != "IMPORTING" or not view["spread"]:
        return view
    jobs, settings = records.jobs, records.settings
    staging = settings.staging_bucket
    if not has_result(objects, staging, unit_bases_key(job.job_id, CHUNK_RULE)):
        return view | {"spread": False}
    if job.task_token is not None:  # its last wait is over: the token needs no more answers
        jobs.put(job.job_id, task_token=None)
    files = files_of(job, objects=objects, bucket=staging)
    counted, key = read_counted(job, objects=objects, bucket=staging), unit_items_key(job.job_id)
    numbered = enumerate(one.unit for one in counted)
    where = units_for_workflow(numbered, key, files, records=records, objects=objects)
    values = {} if job.kind == "audience" else send.initial_positions(job, records=records, archive=archive())
    if (attempt := records.begin_attempt(job, **values)) is None:
        return records.view(jobs.get(job.job_id)) | {"spread": False}
    records.report(job.job_id, "import", total=_evidence(job).accepted, **_nothing_sent(job, attempt))
    try:
        unit_importer.begin(
            attempt_of(job, files, attempt, settings.lake_bucket), **send.connections(job, attempt, records=records)
        )
    except StopPublishing:
        return records.view(jobs.get(job.job_id)) | {"spread": False}
    return view | {"attempt": str(attempt), "units": where}


def send_one(
    job: Job, number: int, attempt: Attempt, *, records: ImportRecords, objects: ObjectStore, limits: ParseLimits
) -> None:
    """Send a unit while the job is IMPORTING in this attempt. Its faults are stored; raises only `RetriableError`.

    Ends early, without a result, if another attempt or a cancel has overtaken it.
    """
    settings = records.settings
    staging, key = settings.staging_bucket, unit_sent_key(job.job_id, attempt, number)
    if job.state != "IMPORTING" or job.attempt != attempt or has_result(objects, staging, key):
        return
    files = files_of(job, objects=objects, bucket=staging)
    counted = read_counted(job, objects=objects, bucket=staging)[number]
    verified = read_result(UnitRead, job, counted.number, objects, staging, unit_key(job.job_id, counted.number))
    base = _base(job, number, objects, staging)
    evidence = verified.evidence(_evidence(job).schema_id)
    report = records.report(job.job_id, "import", total=evidence.accepted, number=number, **_nothing_sent(job, attempt))
    try:
        with FileSet(
            files,
            job.spec,
            limits,
            objects,
            None,
            unit=counted.unit,
            rows_before=base.rows,
            rows_in_file=counted.rows,
        ) as parsed:
            sent = unit_importer.send_unit(
                parsed,
                attempt_of(job, files, attempt, settings.lake_bucket),
                evidence=evidence,
                chunks=verified.chunks,
                first_seqs=base.chunks,
                limit=BacklogLimit().share(settings.units_side_by_side),
                on_progress=lambda p: report.update(
                    done=p.rows, rows=p.rows, partitions=p.partitions, offsets=p.offsets, attempt=attempt
                ),
                **send.connections(job, attempt, records=records),
            )
    except StopPublishing:
        return
    except (UserError, FatalError) as exc:
        sent = UnitSent(error=exc.as_record())
    stored = store_result(sent, objects, staging, key)
    report.end_unit(rows=sent.rows, counted=not stored)


def give_up(
    job: Job,
    number: int,
    attempt: Attempt,
    failure: Mapping[str, Any],
    *,
    records: ImportRecords,
    objects: ObjectStore,
) -> None:
    """Store why a unit was given up, unless it has been sent after all."""
    key = unit_sent_key(job.job_id, attempt, number)
    store_result(UnitSent(error=error_record(failure)), objects, records.settings.staging_bucket, key)


def end_attempt(job: Job, attempt: Attempt, *, records: ImportRecords, objects: ObjectStore, archive: Archive) -> View:
    """IMPORTING -> AWAITING: end markers, once all units have been sent. Raises the first fault in order."""
    jobs, settings = records.jobs, records.settings
    staging = settings.staging_bucket
    if job.state != "IMPORTING" or job.attempt != attempt:
        return records.view(job)
    files, counted = files_of(job, objects=objects, bucket=staging), read_counted(job, objects=objects, bucket=staging)
    sent = read_results(
        UnitSent, job, len(counted), objects, staging, lambda number: unit_sent_key(job.job_id, attempt, number)
    )
    raise_first_fault(sent)
    evidence = _evidence(job)
    report = records.report(job.job_id, "import", total=evidence.accepted, **_all_sent(sent, attempt))
    try:
        published = unit_importer.end(
            attempt_of(job, files, attempt, settings.lake_bucket),
            sent,
            evidence=evidence,
            **send.connections(job, attempt, records=records),
        )
    except StopPublishing:
        return records.view(jobs.get(job.job_id))
    ends = [part.end_offset for part in published.partitions]
    offsets = [(first, last) for (first, _), last in zip(unit_importer.offsets_of(sent), ends, strict=True)]
    report.update(**_all_sent(sent, attempt) | {"offsets": offsets})
    report.finish(rows=published.rows)
    if job.kind != "audience":
        published = send.at_positions(published, job, records=records, archive=archive())
    return send.end_attempt(job, attempt, published, records=records)


def _evidence(job: Job) -> Evidence:
    if job.evidence is None:
        raise FatalError("NOT_VERIFIED", f"job {job.job_id} is IMPORTING without evidence", job=job.job_id)
    return from_record(Evidence, job.evidence)


def _nothing_sent(job: Job, attempt: Attempt) -> dict[str, Any]:
    none = range(job.partitions)
    return {"attempt": attempt, "partitions": [0 for _ in none], "offsets": [(-1, -1) for _ in none]}


def _all_sent(sent: Sequence[UnitSent], attempt: Attempt) -> dict[str, Any]:
    rows = [sum(digest.count for digest in digests) for digests in zip(*(unit.digests for unit in sent), strict=True)]
    return {
        "attempt": attempt,
        "done": sum(rows),
        "rows": sum(rows),
        "partitions": rows,
        "offsets": unit_importer.offsets_of(sent),
    }


def _base(job: Job, number: int, objects: ObjectStore, bucket: str) -> UnitBase:
    source, size = objects.pin(bucket, unit_bases_key(job.job_id, CHUNK_RULE)), UnitBase.size(job.partitions)
    return UnitBase.read(objects.read_range(source, number * size, size), job.partitions)
