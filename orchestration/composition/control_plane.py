"""The parts of the control plane; `control_lanes` says when they run."""

import threading

from connectors.kafka.topic_ids import TopicIds
from connectors.publishing.activations import ActivationSender
from connectors.storage.multipart import Parts
from orchestration.catalog.segment_records import Segment
from orchestration.composition.administration import rebase
from orchestration.composition.context import Context
from orchestration.control.activations import Activations
from orchestration.control.archive_consumer import ArchiveConsumer
from orchestration.control.archive_maintenance import ArchiveMaintenance
from orchestration.control.archive_watch import ArchiveWatch
from orchestration.control.awaited_snapshots import AwaitedSnapshots
from orchestration.control.delivery import Delivery
from orchestration.control.foreign_logs import ForeignLogs
from orchestration.control.gc.exports import EndedExports
from orchestration.control.gc.jobs import EndedJobs
from orchestration.control.gc.orphans import Orphans
from orchestration.control.gc.served_requests import ServedRequests
from orchestration.control.gc.versions import ExpiredVersions
from orchestration.control.import_progress import ImportProgress
from orchestration.control.inbox_folders import InboxFolders
from orchestration.control.job_durations import JobDurations
from orchestration.control.job_events import JobEvents
from orchestration.control.lake_operations import LakeOperations
from orchestration.control.liveness import WorkerLiveness
from orchestration.control.lost_markers import LostMarkers, Offsets
from orchestration.control.metrics import ControlPlaneMetrics
from orchestration.control.recipient_tests import RecipientTests
from orchestration.control.reconciler import ExportReconciler, JobReconciler
from orchestration.control.scaled_workers import ScaledWorkers
from orchestration.control.schedules import Schedules
from orchestration.control.segment_checks import TIMEOUT_S, SegmentChecks
from orchestration.control.segment_status import status_fold
from orchestration.control.stream_lag import StreamLag
from orchestration.control.task_answers import TaskAnswers
from orchestration.control.topic_fold import TopicFold
from orchestration.control.worker_absence import WorkerAbsence
from orchestration.control.worker_groups import WorkerGroups
from orchestration.operations.segment_check import Checked
from schemas.counters import Counters
from schemas.ids import Partition
from schemas.topics import IMPORT_PROGRESS, RELAY_GROUP


def lake_operations(context: Context) -> LakeOperations:
    """Changes of the lake that the service has asked for."""
    c = context
    return LakeOperations(
        c.operations,
        audiences=c.audiences,
        consent=c.consent,
        jobs=c.jobs,
        segments=c.segments,
        versions=c.versions,
        audit=c.audit,
    )


def recipient_tests(context: Context) -> RecipientTests:
    """Test notifications that the service has asked for."""
    return RecipientTests(context.operations, context.audit, context.settings)


def served_requests(context: Context) -> ServedRequests:
    """What clients of the service leave behind."""
    c = context
    return ServedRequests(
        uploads=c.uploads,
        idempotency=c.idempotency,
        operations=c.operations,
        exports=c.exports,
        objects=c.objects,
        parts=Parts(c.s3),
        settings=c.settings,
    )


def activations(context: Context) -> Activations:
    """Rules and versions on their way to segment workers."""
    c, s = context, context.settings
    return Activations(
        ActivationSender(s.kafka_bootstrap, s.partitions),
        activations=c.activations,
        segments=c.segments,
        audiences=c.audiences,
        jobs=c.jobs,
        versions=c.versions,
    )


def answers(context: Context, liveness: WorkerLiveness, activity_liveness: WorkerLiveness) -> TaskAnswers:
    """Answers to the task tokens of jobs that wait."""
    archive = ArchiveWatch(lambda: context.archive, context.jobs, context.settings.kafka_bootstrap)
    return TaskAnswers(context.import_records, context.engine, archive, liveness, activity_liveness)


def awaited_snapshots(context: Context) -> AwaitedSnapshots:
    """Snapshots that exports of segments wait for."""
    return AwaitedSnapshots(context.export_records, context.jobs, context.engine)


def archive_consumer(context: Context, stop: threading.Event, counters: Counters) -> ArchiveConsumer:
    """Events and profiles on their way to the archive."""
    return ArchiveConsumer(context.archive, context.settings.kafka_bootstrap, stop, counters)


def archive_maintenance(context: Context, stop: threading.Event) -> ArchiveMaintenance:
    """What keeps the archive small."""
    return ArchiveMaintenance(context.archive, context.settings.home / "tmp" / "archive", stop)


def expired_versions(context: Context) -> ExpiredVersions:
    """Retention of versions."""
    return ExpiredVersions(context.audiences, context.jobs, context.versions, context.audit)


def ended_exports(context: Context, counters: Counters) -> EndedExports:
    """What removes what ended exports leave."""
    c, durations = context, JobDurations(counters, context.settings)
    return EndedExports(
        c.exports, c.versions, c.engine, c.export_jobs, s3=c.s3, settings=c.settings, durations=durations
    )


def export_reconciler(context: Context) -> ExportReconciler:
    """What keeps the executions of exports going."""
    return ExportReconciler(context.exports, context.engine, context.audit)


def job_events(context: Context, counters: Counters) -> JobEvents:
    """What publishes the history of jobs."""
    durations = JobDurations(counters, context.settings)
    return JobEvents(context.jobs, context.settings.kafka_bootstrap, durations)


def job_reconciler(context: Context) -> JobReconciler:
    """What keeps the executions of jobs going."""
    return JobReconciler(context.import_records, context.engine, context.audit)


def lost_markers(context: Context, offsets: Offsets) -> LostMarkers:
    """What notices end markers that the workers are past."""
    return LostMarkers(
        context.jobs, context.progress, lambda: context.staging, context.settings.staging_bucket, offsets
    )


def delivery(context: Context) -> Delivery:
    """What delivers notifications again."""
    return Delivery(context.notices, context.jobs, context.exports)


def inbox_folders(context: Context) -> InboxFolders:
    """Notices folders of the inbox that are not imported."""
    return InboxFolders(
        audiences=context.audiences, objects=context.objects, notices=context.notices, settings=context.settings
    )


def orphans(context: Context) -> Orphans:
    """What removes staged data and uploads of no job."""
    return Orphans(context.objects, context.jobs, context.feeds, context.settings)


def foreign_logs(context: Context) -> ForeignLogs:
    """What notices checkpoints of another Kafka."""
    return ForeignLogs(
        TopicIds(context.settings.kafka_bootstrap).topic_id, lambda: rebase(context).foreign_checkpoints()
    )


def progress(context: Context, stop: threading.Event, changed: threading.Event) -> TopicFold:
    """What workers announce, on its way to the catalog."""
    put = import_progress(context).put
    return TopicFold(context.settings.kafka_bootstrap, IMPORT_PROGRESS, RELAY_GROUP, put, stop, changed)


def import_progress(context: Context) -> ImportProgress:
    """What writes announcements of workers."""
    c = context
    return ImportProgress(c.progress, c.jobs, c.objects, c.settings.staging_bucket)


def control_plane_metrics(context: Context, groups: WorkerGroups, counters: Counters) -> ControlPlaneMetrics:
    """Gauges of the catalog and the groups."""
    return ControlPlaneMetrics(context.database, context.settings, groups, counters)


def schedules(context: Context) -> Schedules:
    """What starts recurring jobs."""
    c = context
    return Schedules(c.schedules, jobs=c.jobs, exports=c.exports, outbox=c.outbox, engine=c.engine)


def segment_checks(context: Context, counters: Counters) -> SegmentChecks:
    """What compares segments with their rules."""

    def one_partition(segment: Segment, only: Partition) -> Checked:
        return context.segment_check.run(segment.tenant, segment.name, TIMEOUT_S, only=only)

    return SegmentChecks(context.segments, context.settings, counters, one_partition)


def segment_status(context: Context, stop: threading.Event, changed: threading.Event) -> TopicFold:
    """What segment workers say, on its way to the catalog."""
    return status_fold(
        context.segments, context.jobs, context.progress, context.settings.kafka_bootstrap, stop, changed
    )


def scaled_workers(context: Context, groups: WorkerGroups) -> ScaledWorkers:
    """What lets workers and the control plane leave."""
    return ScaledWorkers(context.scaler, groups)


def stream_lag(context: Context, groups: WorkerGroups) -> StreamLag:
    """How far workers are in each job."""
    return StreamLag(context.progress, groups.imports, groups.activity)


def ended_jobs(context: Context) -> EndedJobs:
    """What removes what ended jobs leave."""
    return EndedJobs(context.jobs, context.objects, context.engine, context.settings)


def worker_absence(context: Context, groups: WorkerGroups) -> WorkerAbsence:
    """Since when jobs wait without a worker."""
    return WorkerAbsence(context.progress, groups.imports, groups.activity)
