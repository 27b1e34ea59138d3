"""Everything that steps need, created once per process from the settings; slow imports happen on demand."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from connectors.sources.limits import ParseLimits
from connectors.storage.access import S3Access
from connectors.storage.duck_limits import DuckLimits
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.engine import Database
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.idempotency import IdempotencyStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.operations import OperationStore
from orchestration.catalog.places import PlaceStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.references import ref_of
from orchestration.catalog.schedules import ScheduleStore
from orchestration.catalog.uploads import UploadStore
from orchestration.notifications.notices import Notices
from orchestration.notifications.outbox import Outbox
from orchestration.notifications.recipients import RecipientStore
from orchestration.platform.duck_limits import duck_limits
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import SANDBOX_REQUIRED, Settings
from segmentation.admission import LaneLimit, Lanes

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from connectors.lake.activity_receipts import ActivityReceipts
    from connectors.lake.archive import ActivityArchive
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.activations import ActivationStore
    from orchestration.catalog.segments import SegmentStore
    from orchestration.workflow.engine import WorkflowEngine
    from segmentation.historical_activity import HistoricalActivity
    from segmentation.versions import VersionStore
    from streams.staging import StagingStore


@dataclass(frozen=True)
class Context:
    """Stores and clients of one process. Not slotted: the parts are cached properties.

    `sleeps`: the process is frozen between its calls, which run one at a time, so `rest` has an effect.
    """

    settings: Settings
    sleeps: bool = False

    @cached_property
    def database(self) -> Database:
        """The catalog database."""
        return Database(self.settings.catalog_url)

    @cached_property
    def audiences(self) -> AudienceStore:
        """Tenants and audiences."""
        return AudienceStore(self.database)

    @cached_property
    def jobs(self) -> JobStore:
        """Jobs and their history."""
        return JobStore(self.database)

    @cached_property
    def exports(self) -> ExportStore:
        """Exports and their history."""
        return ExportStore(self.database)

    @cached_property
    def operations(self) -> OperationStore:
        """Changes of the lake that the service has asked for."""
        return OperationStore(self.database)

    @cached_property
    def uploads(self) -> UploadStore:
        """Uploads of clients."""
        return UploadStore(self.database)

    @cached_property
    def idempotency(self) -> IdempotencyStore:
        """Idempotency keys."""
        return IdempotencyStore(self.database)

    @cached_property
    def places(self) -> PlaceStore:
        """The places of tenants."""
        return PlaceStore(self.database)

    @cached_property
    def progress(self) -> ProgressStore:
        """Progress that the stream and the tasks report."""
        return ProgressStore(self.database)

    @cached_property
    def schedules(self) -> ScheduleStore:
        """Recurring imports and exports."""
        return ScheduleStore(self.database)

    @cached_property
    def segments(self) -> "SegmentStore":
        """Segments and their rules."""
        from orchestration.catalog.segments import SegmentStore  # noqa: PLC0415  # readers of jobs need no rules

        return SegmentStore(self.database)

    @cached_property
    def activations(self) -> "ActivationStore":
        """Activations of segments for the workers."""
        from orchestration.catalog.activations import ActivationStore  # noqa: PLC0415  # as above

        return ActivationStore(self.database)

    @cached_property
    def recipients(self) -> RecipientStore:
        """Recipients of notices about ended jobs."""
        return RecipientStore(self.database)

    @cached_property
    def audit(self) -> AuditTrail:
        """The audit trail."""
        return AuditTrail(self.database)

    @cached_property
    def outbox(self) -> Outbox:
        """Pending and delivered notifications."""
        return Outbox(self.database)

    @cached_property
    def notices(self) -> Notices:
        """Notices about ended jobs."""
        return Notices(
            outbox=self.outbox, recipients=self.recipients, receipt=self.jobs.receipt, settings=self.settings
        )

    @cached_property
    def objects(self) -> "ObjectStore":
        """The object store."""
        from connectors.storage.objects import ObjectStore  # noqa: PLC0415  # readers of the catalog alone need none

        return ObjectStore(self.s3)

    @cached_property
    def staging(self) -> "StagingStore":
        """Data staged by stream workers. No retries beyond those of `objects`: every caller retries itself."""
        from streams.staging import S3StagingStore  # noqa: PLC0415  # as above

        return S3StagingStore(self.objects, give_up_after_s=0)

    @property
    def s3(self) -> S3Access:
        """Access to the object store of the lake."""
        return s3_access(self.settings)

    @cached_property
    def versions(self) -> "VersionStore":
        """Published versions: Iceberg tables in the lake bucket."""
        from connectors.lake.store import IcebergVersionStore  # noqa: PLC0415  # pyiceberg takes 0.7 s to import

        return IcebergVersionStore(
            catalog_url=self.settings.catalog_url.reveal(),
            s3=self.s3,
            bucket=self.settings.lake_bucket,
            limits=self.duck_limits,
        )

    @cached_property
    def archive(self) -> "ActivityArchive":
        """The archive of events and profile changes: Iceberg tables in the lake bucket."""
        from connectors.lake.archive import ActivityArchive  # noqa: PLC0415  # as above

        return ActivityArchive(
            catalog_url=self.settings.catalog_url.reveal(), s3=self.s3, bucket=self.settings.lake_bucket
        )

    @cached_property
    def activity_receipts(self) -> "ActivityReceipts":
        """What the archive holds from one source."""
        from connectors.lake.activity_receipts import ActivityReceipts  # noqa: PLC0415  # as above

        return ActivityReceipts(archive=self.archive, s3=self.s3, limits=self.duck_limits)

    @cached_property
    def history(self) -> "HistoricalActivity":
        """Past activity from the archive, for stream workers."""
        from connectors.lake.activity_history import ActivityHistory  # noqa: PLC0415  # as above

        return ActivityHistory(
            archive=self.archive,
            versions=self.versions,
            find_audience=lambda tenant, name: ref_of(self.audiences.get(tenant, name)),
            s3=self.s3,
        )

    @cached_property
    def workflow(self) -> "SFNClient":
        """Step Functions."""
        from orchestration.workflow.engine import workflow_client  # noqa: PLC0415  # as below

        return workflow_client(self.settings)

    @cached_property
    def engine(self) -> "WorkflowEngine":
        """Executions of the state machines."""
        from orchestration.workflow.engine import WorkflowEngine  # noqa: PLC0415  # botocore; lists need none

        return WorkflowEngine(lambda: self.workflow, self.settings)

    def rest(self) -> None:
        """In a process that sleeps, close the connections to the catalog; the next use opens others.

        A function would keep its connection for hours, and hundreds of functions would use up the database's limit.
        """
        if self.sleeps:
            self.close()

    def close(self) -> None:
        """Close the connections to the catalog; the next use opens others."""
        for name in ("database", "versions", "archive"):
            if (part := vars(self).get(name)) is not None:
                part.close()

    @property
    def duck_limits(self) -> DuckLimits:
        """Limits of one DuckDB connection of this process."""
        return duck_limits(self.settings)

    @cached_property
    def lanes(self) -> Lanes:
        """Concurrency limits of jobs, separate for small and large files."""
        s = self.settings
        return {
            True: LaneLimit(jobs=s.max_small_jobs, per_tenant=s.max_small_jobs_per_tenant),
            False: LaneLimit(jobs=s.max_jobs, per_tenant=s.max_jobs_per_tenant),
        }

    def parse_limits(self) -> ParseLimits:
        """Limits of the child process that parses a customer's file."""
        s = self.settings
        return ParseLimits(
            memory_bytes=s.parse_memory_bytes,
            cpu_s=s.parse_cpu_s,
            wall_s=s.parse_wall_s,
            sandbox_required=s.sandbox == SANDBOX_REQUIRED,
        )
