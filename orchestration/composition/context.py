"""What the processes use that stand beside the service, among them the lake.

pyiceberg takes 0.7 s to import, and Arrow and DuckDB take long too: a part loads its modules when it is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from connectors.sources.limits import ParseLimits
from connectors.storage.duck_limits import DuckLimits
from orchestration.composition.process import Part, Process
from orchestration.kinds.records import ExportRecords, ImportRecords
from orchestration.notifications.notices import Notices
from orchestration.platform.deferred import deferred
from orchestration.platform.duck_limits import duck_limits
from orchestration.platform.settings import SANDBOX_REQUIRED
from segmentation.admission import Lanes, lanes_for

if TYPE_CHECKING:
    from connectors.lake.activity_receipts import ActivityReceipts
    from connectors.lake.archive import ActivityArchive
    from connectors.lake.spark_queries import SparkQueries, Stopping
    from orchestration.catalog.records import Job
    from orchestration.kinds.export.pins import Pins
    from orchestration.kinds.kind import Stages
    from orchestration.kinds.records import View
    from orchestration.kinds.segment_meaning import Meanings
    from orchestration.operations.activity_dry_run import ActivityDryRuns
    from orchestration.operations.dry_run import DryRuns
    from orchestration.operations.segment_check import SegmentCheck
    from orchestration.operations.watching import Watcher
    from segmentation.historical_activity import HistoricalActivity
    from segmentation.versions import VersionStore
    from streams.staging import StagingStore

with deferred(__name__):
    from connectors.lake import activity_history, activity_receipts, archive, segment_queries, spark_queries
    from connectors.lake import store as lake
    from connectors.publishing import activations
    from orchestration.catalog import references
    from orchestration.control import worker_groups
    from orchestration.kinds import kind, register, segment_meaning
    from orchestration.kinds.export import pins as export_pins
    from orchestration.operations import activity_dry_run, dry_run, segment_check, watching
    from streams import staging


@dataclass(frozen=True)
class Context(Process):
    """Parts of a function, task, worker, reader, command of an administrator, or the control plane.

    `sleeps`: the process is frozen between its calls, which run one at a time, so `rest` has an effect.
    """

    sleeps: bool = False

    closable: ClassVar[Sequence[str]] = ("database", "versions", "archive")

    @property
    def duck_limits(self) -> DuckLimits:
        """Limits of one DuckDB connection of this process."""
        return duck_limits(self.settings)

    @Part
    def lanes(self) -> Lanes:
        """Concurrency limits of jobs, separate for small and large files: as set, else as the capacity allows."""
        s = self.settings
        return lanes_for(s, calls=s.function_calls, workers=min(s.workers, s.partitions))

    @property
    def parse_limits(self) -> ParseLimits:
        """Limits of the child process that parses a customer's file."""
        s = self.settings
        return ParseLimits(
            memory_bytes=s.parse_memory_bytes,
            cpu_s=s.parse_cpu_s,
            wall_s=s.parse_wall_s,
            sandbox_required=s.sandbox == SANDBOX_REQUIRED,
        )

    @Part
    def notices(self) -> Notices:
        """Notices about ended jobs."""
        return Notices(
            outbox=self.outbox, recipients=self.recipients, receipt=self.jobs.receipt, settings=self.settings
        )

    @Part
    def staging(self) -> "StagingStore":
        """Data staged by stream workers. No retries beyond those of `objects`: every caller retries itself."""
        return staging.S3StagingStore(self.objects, give_up_after_s=0)

    @Part
    def versions(self) -> "VersionStore":
        """Published versions: Iceberg tables in the lake bucket."""
        return lake.IcebergVersionStore(
            catalog_url=self.settings.catalog_url.reveal(),
            s3=self.s3,
            bucket=self.settings.lake_bucket,
            limits=self.duck_limits,
        )

    @property
    def current_versions(self) -> "VersionStore":
        """As `versions`."""
        return self.versions

    @Part
    def archive(self) -> "ActivityArchive":
        """The archive of events and profile changes: Iceberg tables in the lake bucket."""
        return archive.ActivityArchive(
            catalog_url=self.settings.catalog_url.reveal(), s3=self.s3, bucket=self.settings.lake_bucket
        )

    @Part
    def activity_receipts(self) -> "ActivityReceipts":
        """What the archive holds from one source."""
        return activity_receipts.ActivityReceipts(archive=self.archive, s3=self.s3, limits=self.duck_limits)

    @Part
    def history(self) -> "HistoricalActivity":
        """Past activity from the archive, for stream workers."""
        return activity_history.ActivityHistory(
            archive=self.archive,
            versions=self.versions,
            find_audience=lambda tenant, name: references.ref_of(self.audiences.get(tenant, name)),
            s3=self.s3,
        )

    @Part
    def meanings(self) -> "Meanings":
        """The resolver of rules."""
        return segment_meaning.Meanings(
            segments=self.segments,
            audiences=self.audiences,
            activations=self.activations,
            versions=self.versions,
            archive=self.archive,
            queries=segment_queries.SegmentQueries(self.s3, self.duck_limits),
            cluster=self.cluster(),
        )

    def cluster(self, stopping: "Stopping | None" = None) -> "SparkQueries | None":
        """The queries of the cluster, if one is set. `stopping`: as `SparkQueries` takes it."""
        remote, catalog = self.settings.spark_remote.reveal(), self.settings.spark_catalog
        if not remote:
            return None
        return spark_queries.SparkQueries(remote, catalog, *(() if stopping is None else (stopping,)))

    @Part
    def import_records(self) -> ImportRecords:
        """Records of imports and snapshots."""
        return ImportRecords(self.jobs, self.progress, self.settings)

    @Part
    def export_records(self) -> ExportRecords:
        """Records of exports."""
        return ExportRecords(self.exports, self.settings)

    @Part
    def export_pins(self) -> "Pins":
        """What pins the versions that exports read."""
        return export_pins.Pins(
            exports=self.exports, audiences=self.audiences, versions=self.versions, consent=self.consent
        )

    def register(self, event: object, execution: str) -> "View":
        """As `kinds.register.register_import`; starts the workers that the job needs."""
        view = register.register_import(
            event,
            execution,
            records=self.import_records,
            specs=self.specs,
            objects=self.objects,
            segments=self.segments,
            audit=self.audit,
            places=self.places,
            lanes=self.lanes,
        )
        self.ensure_workers()
        return view

    @Part
    def watcher(self) -> "Watcher":
        """What looks whether work waits without workers."""
        groups = worker_groups.WorkerGroups.of(self.settings)
        return watching.Watcher(
            workers=groups.imports,
            segment_workers=groups.activity,
            relay=groups.archive,
            executions=self.engine,
            scaler=self.scaler,
        )

    def kind_of(self, job: "Job") -> "Stages":
        """The kind of a job, with its stages."""
        if job.segment is not None:
            return kind.SegmentSnapshot(
                records=self.import_records,
                specs=self.specs,
                meanings=self.meanings,
                sender=activations.ActivationSender(self.settings.kafka_bootstrap, self.settings.partitions),
                objects=self.objects,
                versions=self.versions,
                s3=self.s3,
                lake_limits=self.duck_limits,
            )
        if job.kind != "audience":
            return kind.ActivityImport(
                records=self.import_records,
                specs=self.specs,
                objects=self.objects,
                limits=self.parse_limits,
                archive=self.archive,
                receipts=self.activity_receipts,
            )
        return kind.AudienceImport(
            records=self.import_records,
            specs=self.specs,
            objects=self.objects,
            limits=self.parse_limits,
            versions=self.versions,
            s3=self.s3,
            lake_limits=self.duck_limits,
            meanings=lambda: self.meanings,
        )

    @Part
    def activity_dry_runs(self) -> "ActivityDryRuns":
        """Dry runs of imports of events and profiles."""
        return activity_dry_run.ActivityDryRuns(
            objects=self.objects, parse_limits=self.parse_limits, settings=self.settings, specs=self.specs
        )

    @Part
    def dry_runs(self) -> "DryRuns":
        """Dry runs of audience imports."""
        return dry_run.DryRuns(
            audiences=self.audiences,
            limits=self.duck_limits,
            objects=self.objects,
            parse_limits=self.parse_limits,
            s3=self.s3,
            settings=self.settings,
            specs=self.specs,
            versions=lambda: self.versions,
        )

    @Part
    def segment_check(self) -> "SegmentCheck":
        """Comparison of segments with their rules."""
        return segment_check.SegmentCheck(
            activations=self.activations,
            archive=self.archive,
            meanings=self.meanings,
            objects=self.objects,
            segments=self.segments,
            settings=self.settings,
        )

    def rest(self) -> None:
        """In a process that sleeps, close the connections to the catalog; the next use opens others.

        A function would keep its connection for hours, and hundreds of functions would use up the database's limit.
        """
        if self.sleeps:
            self.close()
