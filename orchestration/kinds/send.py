"""ImportToKafka for files: one attempt, from the first message to the acknowledgement of the last."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from connectors.kafka.log_offsets import log_ends
from connectors.lake.archive import ActivityArchive
from connectors.publishing.backlog import KafkaBacklog
from connectors.publishing.importer import publish_import
from connectors.publishing.ports import Cancelled, StopPublishing, Superseded
from connectors.publishing.producer import KafkaTopicLog
from connectors.publishing.reports import PublishReport
from connectors.sources.file_set import open_rows
from connectors.sources.limits import ParseLimits
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import Source
from connectors.verification.evidence import Evidence
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Job
from orchestration.kinds.archived_logs import archived_log
from orchestration.kinds.attempts import attempt_of
from orchestration.kinds.builds import LogStart
from orchestration.kinds.file_sets import same_source, source_of
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.topics import import_topic
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId, Partition
from schemas.log_ids import headers
from schemas.records import as_record, from_record
from schemas.topics import SEGMENT_WORKER_GROUP, WORKER_GROUP

Publish = Callable[..., PublishReport]
"""(parsed rows, source, attempt, **what `publish_import` takes beside them) -> report."""


def send_members(job: Job, *, records: ImportRecords, objects: ObjectStore, limits: ParseLimits) -> View:
    """IMPORTING -> AWAITING. Returns early, with no change, if another attempt or a cancel has overtaken it."""

    def publish(parsed: Any, source: Source, attempt: Attempt, **shared: Any) -> PublishReport:
        return publish_import(parsed, attempt_of(job, source, attempt, records.settings.lake_bucket), **shared)

    return _send(job, publish, records=records, objects=objects, limits=limits)


def send_activity(
    job: Job, *, records: ImportRecords, objects: ObjectStore, limits: ParseLimits, archive: ActivityArchive
) -> View:
    """As `send_members`, for events or profiles. Raises `RetriableError` TOPIC_REPLACED."""

    def publish(parsed: Any, source: Source, attempt: Attempt, **shared: Any) -> PublishReport:
        sending = attempt_of(job, source, attempt, records.settings.lake_bucket)
        return at_positions(publish_import(parsed, sending, **shared), job, records=records, archive=archive)

    return _send(
        job,
        publish,
        records=records,
        objects=objects,
        limits=limits,
        initial_positions=lambda: initial_positions(job, records=records, archive=archive),
    )


def initial_positions(job: Job, *, records: ImportRecords, archive: ActivityArchive) -> Mapping[str, Any]:
    """Of events and profiles, before the first message: the ends of the topic (`kinds.builds.LogStart`).

    Messages of an attempt are never removed, so a retried job starts where the original started.
    """
    if job.build is not None:
        return {}
    earlier = None if job.retry_of is None else records.jobs.find(job.retry_of)
    if earlier is not None and earlier.build is not None and same_source(earlier.source, job.source):
        return {"build": earlier.build}
    bootstrap, topic = records.settings.kafka_bootstrap, import_topic(job)
    log = archived_log(archive, bootstrap, topic)
    ends = log_ends(bootstrap, topic, job.partitions)
    since = tuple(log.position(Partition(number), end) for number, end in enumerate(ends))
    return {"build": as_record(LogStart(since=since))}


def connections(job: Job, attempt: Attempt, *, records: ImportRecords) -> dict[str, Any]:
    """What an attempt sends with: `log`, `backlog` and `fence`."""
    topic, bootstrap = import_topic(job), records.settings.kafka_bootstrap
    group = WORKER_GROUP if job.kind == "audience" else SEGMENT_WORKER_GROUP
    return {
        "log": KafkaTopicLog(bootstrap, topic, headers=headers()),
        "backlog": KafkaBacklog(bootstrap, topic, job.partitions, group=group),
        "fence": CatalogFence(records.jobs, job.job_id, attempt),
    }


def end_attempt(job: Job, attempt: Attempt, sent: PublishReport, *, records: ImportRecords) -> View:
    """IMPORTING -> AWAITING, once the broker has acknowledged everything."""
    records.jobs.end_attempt(job.job_id, attempt, as_record(sent), now_ms=now_ms())
    cause = f"attempt {attempt}: {sent.rows} rows sent"
    _, job = records.jobs.move(job.job_id, "AWAITING", now_ms=now_ms(), cause=cause, expecting={"attempt": attempt})
    return records.view(job)


def _send(
    job: Job,
    publish: Publish,
    *,
    records: ImportRecords,
    objects: ObjectStore,
    limits: ParseLimits,
    initial_positions: Callable[[], Mapping[str, Any]] = dict,
) -> View:
    jobs, job_id = records.jobs, job.job_id
    if job.state != "IMPORTING":
        return records.view(job)
    if job.task_token is not None:  # it was admitted, or its last wait is over: the token needs no more answers
        jobs.put(job_id, task_token=None)
    if job.evidence is None:
        raise FatalError("NOT_VERIFIED", f"job {job_id} is IMPORTING without evidence", job=job_id)
    source = source_of(job, objects=objects, bucket=records.settings.staging_bucket)
    if (attempt := records.begin_attempt(job, **initial_positions())) is None:
        return records.view(jobs.get(job_id))
    report = records.report(job_id, "import", total=int(job.evidence["accepted"]))
    shared: dict[str, Any] = {
        "evidence": from_record(Evidence, job.evidence),
        **connections(job, attempt, records=records),
        "on_progress": lambda p: report.update(
            done=p.rows, rows=p.rows, partitions=p.partitions, offsets=p.offsets, attempt=attempt
        ),
    }
    try:
        with open_rows(source, job.spec, limits, objects) as parsed:
            sent = publish(parsed, source, attempt, **shared)
    except StopPublishing:
        return records.view(jobs.get(job_id))
    report.finish(rows=sent.rows)
    return end_attempt(job, attempt, sent, records=records)


def at_positions(report: PublishReport, job: Job, *, records: ImportRecords, archive: ActivityArchive) -> PublishReport:
    """The report of an attempt of events or profiles with archive positions instead of offsets."""
    log = archived_log(archive, records.settings.kafka_bootstrap, import_topic(job))
    partitions = [
        replace(sent, end_offset=log.position(sent.partition, sent.end_offset)) if sent.end_offset >= 0 else sent
        for sent in report.partitions
    ]
    return replace(report, partitions=tuple(partitions))


class CatalogFence:
    """`Fence` over the catalog: an attempt may continue while the job is IMPORTING in it."""

    def __init__(self, jobs: JobStore, job_id: JobId, attempt: Attempt) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._attempt = attempt

    def check(self) -> None:
        """Raise `Cancelled` or `Superseded` if the job has moved on."""
        job = self._jobs.get(self._job_id)
        if job.state == "CANCELLED":
            raise Cancelled(f"job {self._job_id} was cancelled")
        if job.state != "IMPORTING" or job.attempt != self._attempt:
            raise Superseded(f"job {self._job_id} is {job.state} in attempt {job.attempt}, not in {self._attempt}")
