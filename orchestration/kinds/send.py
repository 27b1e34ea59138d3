"""ImportToKafka: one attempt, from its first message to the acknowledgement of its last one."""

from dataclasses import replace
from typing import Any, Literal

from connectors.kafka.log_ends import log_ends
from connectors.publishing.activity_chunking import ActivitySource
from connectors.publishing.activity_importer import ActivityAttempt, publish_activity
from connectors.publishing.backlog import KafkaBacklog
from connectors.publishing.importer import publish_import
from connectors.publishing.ports import Cancelled, StopPublishing, Superseded
from connectors.publishing.producer import KafkaTopicLog
from connectors.publishing.reports import ImportAttempt, PublishReport
from connectors.sources.parsing import open_parsed
from connectors.storage.pinned import SourceObject
from connectors.verification.evidence import Evidence
from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.kinds.archived_logs import archived_log
from orchestration.kinds.attempts import begin_attempt
from orchestration.kinds.snapshot.ask import ask
from orchestration.kinds.stage_reports import StageReport
from orchestration.kinds.view import View, view
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId, Partition
from schemas.topics import EVENTS, IMPORTS, IMPORTS_SMALL, PROFILES, SEGMENT_WORKER_GROUP, WORKER_GROUP
from segmentation.archived import ArchivedLog


def send(context: Context, job_id: JobId) -> View:
    """IMPORTING -> AWAITING. Returns early, with nothing changed, when another attempt or a cancel has overtaken it."""
    job = context.jobs.get(job_id)
    if job.segment is not None:
        return ask(context, job_id)
    if job.state != "IMPORTING":
        return view(context, job)
    if job.task_token is not None:  # its turn has been taken, or its last wait is over: nobody need answer that again
        context.jobs.put(job_id, task_token=None)
    if job.evidence is None:
        raise FatalError("NOT_VERIFIED", f"job {job_id} is IMPORTING without evidence", job=job_id)
    if (attempt := begin_attempt(context, job, **_first_sight(context, job))) is None:
        return view(context, context.jobs.get(job_id))
    rows, place = int(job.evidence["accepted"]), context.settings.place
    report = StageReport(context.progress, job_id, "import", total=rows, unit="rows", place=place)
    try:
        sent = _publish(context, job, attempt, Evidence.from_record(job.evidence), report)
    except StopPublishing:
        return view(context, context.jobs.get(job_id))
    report.finish(rows=sent.rows)
    context.jobs.end_attempt(job_id, attempt, sent.as_record(), now_ms=now_ms())
    cause = f"attempt {attempt}: {sent.rows} rows sent"
    _, job = context.jobs.move(job_id, "AWAITING", now_ms=now_ms(), cause=cause, expecting={"attempt": attempt})
    return view(context, job)


def import_topic(job: Job) -> str:
    """Where the rows of a job go. Members have two lanes: small imports do not wait behind large ones."""
    if job.kind != "audience":
        return EVENTS if job.kind == "events" else PROFILES
    return IMPORTS_SMALL if job.small else IMPORTS


def _first_sight(context: Context, job: Job) -> dict[str, Any]:
    """Of events and profiles, before the first message: where their topic ends, as `kinds.stored.since_of` has it.

    What an attempt sends is there for good, so a retry by people begins where the job that it retries began.
    Raises `RetriableError` TOPIC_REPLACED.
    """
    if job.kind == "audience" or job.build is not None:
        return {}
    earlier = None if job.retry_of is None else context.jobs.find(job.retry_of)
    if earlier is not None and earlier.build is not None and activity_source(earlier) == activity_source(job):
        return {"build": earlier.build}
    log = archived_log(context, import_topic(job))
    ends = log_ends(context.settings.kafka_bootstrap, import_topic(job), job.partitions)
    return {"build": {"since": [log.position(Partition(number), end) for number, end in enumerate(ends)]}}


def _publish(context: Context, job: Job, attempt: Attempt, evidence: Evidence, report: StageReport) -> PublishReport:
    topic, bootstrap = import_topic(job), context.settings.kafka_bootstrap
    group = WORKER_GROUP if job.kind == "audience" else SEGMENT_WORKER_GROUP
    shared: Any = {
        "evidence": evidence,
        "log": KafkaTopicLog(bootstrap, topic),
        "backlog": KafkaBacklog(bootstrap, topic, job.partitions, group=group),
        "fence": CatalogFence(context, job.job_id, attempt),
        "on_progress": lambda p: report.update(
            done=p.rows, rows=p.rows, partitions=p.partitions, offsets=p.offsets, attempt=attempt
        ),
    }
    source = SourceObject.from_record(job.source)
    with open_parsed(source, job.spec, context.parse_limits(), context.objects) as parsed:
        if job.kind == "audience":
            return publish_import(parsed, _attempt(context, job, attempt), **shared)
        log = archived_log(context, topic)
        sent = publish_activity(parsed, _activity(job, job.kind, attempt), **shared)
        return at_positions(sent, log)


def at_positions(report: PublishReport, log: ArchivedLog) -> PublishReport:
    """A report that says where the archive will have what was sent."""
    partitions = [
        replace(sent, end_offset=log.position(sent.partition, sent.end_offset)) if sent.end_offset >= 0 else sent
        for sent in report.partitions
    ]
    return replace(report, partitions=tuple(partitions))


class CatalogFence:
    """`Fence` over the catalog: the attempt may go on while the job is IMPORTING in this very attempt."""

    def __init__(self, context: Context, job_id: JobId, attempt: Attempt) -> None:
        self._context = context
        self._job_id = job_id
        self._attempt = attempt

    def check(self) -> None:
        """Raise `Cancelled` or `Superseded` when the job is elsewhere."""
        job = self._context.jobs.get(self._job_id)
        if job.state == "CANCELLED":
            raise Cancelled(f"job {self._job_id} was cancelled")
        if job.state != "IMPORTING" or job.attempt != self._attempt:
            raise Superseded(f"job {self._job_id} is {job.state} in attempt {job.attempt}, not in {self._attempt}")


def _attempt(context: Context, job: Job, attempt: Attempt) -> ImportAttempt:
    if job.audience_id is None:
        raise FatalError("NOT_VERIFIED", f"job {job.job_id} has no audience", job=job.job_id)
    return ImportAttempt(
        tenant=job.tenant,
        audience=job.audience,
        import_id=job.job_id,
        attempt=attempt,
        partitions=job.partitions,
        mode=job.mode,
        source=SourceObject.from_record(job.source).uri,
        columns=job.spec.row_schema,
        data_prefix=context.data_prefix(job.tenant, job.audience_id),
    )


def _activity(job: Job, kind: Literal["events", "profiles"], attempt: Attempt) -> ActivityAttempt:
    return ActivityAttempt(
        source=ActivitySource(
            kind=kind,
            tenant=job.tenant,
            source=activity_source(job),
            import_id=job.job_id,
            attempt=attempt,
        ),
        partitions=job.partitions,
        columns=job.spec.row_schema,
    )


def activity_source(job: Job) -> str:
    """What numbers the rows of a file of events or profiles: the object as it was pinned.

    Where the bucket keeps no versions, the content (its ETag) and the time of writing stand for one, so that another
    file under the same key has other events.
    """
    source = SourceObject.from_record(job.source)
    if source.version_id is not None:
        return f"{source.uri}?versionId={source.version_id}"
    return f"{source.uri}?etag={source.etag}&lastModified={source.last_modified.isoformat()}"
