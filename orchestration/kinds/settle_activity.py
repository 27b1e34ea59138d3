"""The end of an import of events or profiles: once the archive has all rows, compare them with the file.

1. AWAITING -> PUBLISHING: the job can no longer be cancelled, and there is nothing to undo.
2. Read the rows of the files from the archive, by object and row number.
3. Write the receipt, in which accepted = stored + duplicates; then READY, or FAILED if the sum does not hold. Column
   types that the import named are stored.
"""

from collections.abc import Mapping
from typing import Any

from connectors.lake.activity_receipts import ActivityReceipts
from connectors.lake.archive import ActivityArchive
from connectors.storage.objects import ObjectStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Job, JobError
from orchestration.kinds.builds import LogStart
from orchestration.kinds.file_sets import source_of
from orchestration.kinds.receipts import activity_outcome, make_activity_receipt
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.specs import Specs
from orchestration.kinds.topics import activity_sources, import_topic
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, RetriableError
from schemas.ids import Partition
from segmentation.archived import unarchived_partitions


def last_sent(report: Mapping[str, Any]) -> Mapping[Partition, int]:
    """The position of the last message in each partition, from the report of an attempt."""
    return {Partition(sent["partition"]): sent["end_offset"] for sent in report["partitions"]}


def report_of(jobs: JobStore, job: Job) -> Mapping[str, Any]:
    """The report of the newest attempt of a job that is AWAITING or later. Raises `FatalError` NOT_SENT."""
    report = jobs.attempt_reports(job.job_id).get(job.attempt)
    if report is None:
        raise FatalError("NOT_SENT", f"job {job.job_id} is {job.state} and has sent nothing", job=job.job_id)
    return report


def settle(
    job: Job,
    *,
    records: ImportRecords,
    specs: Specs,
    objects: ObjectStore,
    archive: ActivityArchive,
    receipts: ActivityReceipts,
) -> View:
    """AWAITING | PUBLISHING -> READY, or FAILED if rows are missing. Raises `RetriableError` ARCHIVE_BEHIND."""
    job_id = job.job_id
    if job.state not in {"AWAITING", "PUBLISHING"}:
        return records.view(job)
    sent, topic = report_of(records.jobs, job), import_topic(job)
    if waiting := unarchived_partitions(last_sent(sent), archive.archived_to(topic)):
        raise RetriableError(
            "ARCHIVE_BEHIND", f"the archive lacks rows of job {job_id} in partitions {list(waiting)}", job=job_id
        )
    _, job = records.jobs.move(job_id, "PUBLISHING", now_ms=now_ms(), only_from={"AWAITING"})  # 1
    if job.state != "PUBLISHING":
        return records.view(job)
    report = records.report(job_id, "publish")
    source = source_of(job, objects=objects, bucket=records.settings.staging_bucket)
    found = receipts.stored(topic, job.tenant, activity_sources(source), since=LogStart.of(job).positions)  # 2
    finished = now_ms()
    try:
        receipt = make_activity_receipt(job, sent, found.values(), finished_at_ms=finished)
    except FatalError as exc:
        _, job = records.jobs.fail(job_id, JobError.of(exc), now_ms=finished, uncommitted=True)
        return records.view(job)
    report.finish(rows=int(receipt["stored"]))
    records.jobs.put_receipt(job_id, receipt)  # 3
    specs.store_activity_columns(job)
    _, job = records.jobs.move(
        job_id,
        "READY",
        now_ms=finished,
        cause=f"{receipt['stored']} {job.kind} stored, {receipt['duplicates']} duplicates",
        outcome=activity_outcome(receipt),
    )
    return records.view(job)
