"""The services that views read and change."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Self

from connectors.storage.multipart import Parts
from connectors.storage.objects import ObjectStore
from connectors.storage.presigned import Presigner
from orchestration.catalog.api_tokens import TokenStore
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.dead_letter_marks import DeadLetterMarks
from orchestration.catalog.engine import Database
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.idempotency import IdempotencyStore
from orchestration.catalog.identities import IdentityStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.one_time_codes import OneTimeCodes
from orchestration.catalog.operations import OperationStore
from orchestration.catalog.places import PlaceStore
from orchestration.catalog.principals import PrincipalStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.samples import SampleStore
from orchestration.catalog.schedules import ScheduleStore
from orchestration.catalog.segment_queries import SegmentQueries
from orchestration.catalog.segments import SegmentStore
from orchestration.catalog.sessions import SessionStore
from orchestration.catalog.uploads import UploadStore
from orchestration.kinds.specs import Specs
from orchestration.notifications.outbox import Outbox
from orchestration.notifications.recipients import RecipientStore
from orchestration.operations.export_jobs import ExportJobs
from orchestration.operations.follow import JobProgress
from orchestration.operations.job_search import AllJobs
from orchestration.operations.jobs import ImportJobs
from orchestration.operations.submit import Submission
from orchestration.operations.version_histories import VersionHistories
from orchestration.platform.budget import DAY_S, Budget
from orchestration.platform.object_store import public_s3_access, s3_access
from orchestration.platform.settings import Settings
from orchestration.readers.background import Background
from orchestration.readers.pool import Readers
from orchestration.readers.sql import SqlRunner
from orchestration.readers.starting import readers_of
from orchestration.workflow.engine import WorkflowEngine, workflow_client

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything in the catalog, histories of audiences in the lake, what starts jobs, and who reads lake and Kafka.

    `partitions` is P of the topics of events and profiles.
    """

    settings: Settings

    database: Database
    audiences: AudienceStore
    audit: AuditTrail
    dead_letter_marks: DeadLetterMarks
    exports: ExportStore
    jobs: JobStore
    all_jobs: AllJobs
    principals: PrincipalStore
    job_progress: JobProgress
    outbox: Outbox
    recipients: RecipientStore
    samples: SampleStore
    schedules: ScheduleStore
    segments: SegmentQueries
    tokens: TokenStore
    sessions: SessionStore
    identities: IdentityStore
    codes: OneTimeCodes
    histories: VersionHistories
    background: Background
    readers: Readers
    sql: SqlRunner
    partitions: int
    objects: ObjectStore
    presigner: Presigner
    parts: Parts
    engine: WorkflowEngine
    idempotency: IdempotencyStore
    uploads: UploadStore
    places: PlaceStore
    operations: OperationStore
    specs: Specs
    submission: Submission
    import_jobs: ImportJobs
    export_jobs: ExportJobs
    segment_changes: SegmentStore
    count_budget: Budget

    def check(self) -> None:
        """Raises `RetriableError` CATALOG_UNAVAILABLE if the catalog does not answer."""
        self.audiences.tenant_page(limit=1)

    def close(self) -> None:
        """End the readers, and close the connections to the catalog."""
        self.readers.close()
        self.background.close()
        self.database.close()

    def version(self) -> object:
        """As `Database.version`."""
        return self.database.version()

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        objects: ObjectStore | None = None,
        workflow: "Callable[[], SFNClient] | None" = None,
    ) -> Self:
        """The services of a deployment. Nothing is connected, and boto3 not loaded, before the first use."""
        database, store = Database(settings.catalog_url), objects or ObjectStore(s3_access(settings))
        audiences, public = AudienceStore(database), public_s3_access(settings)
        engine = WorkflowEngine(workflow or cache(partial(workflow_client, settings)), settings)
        histories = VersionHistories(database=database, bucket=settings.lake_bucket, objects=lambda: store)
        exports, jobs, places = ExportStore(database), JobStore(database), PlaceStore(database)
        all_jobs, readers = AllJobs(exports=exports, jobs=jobs), readers_of(settings)
        specs = Specs(audiences=audiences, jobs=jobs, versions=lambda: histories)
        operations = OperationStore(database)
        return cls(
            settings=settings,
            objects=store,
            presigner=Presigner(public),
            parts=Parts(s3_access(settings)),
            engine=engine,
            idempotency=IdempotencyStore(database),
            uploads=UploadStore(database),
            places=places,
            operations=operations,
            specs=specs,
            submission=Submission(audiences=audiences, engine=engine, objects=store, settings=settings, specs=specs),
            import_jobs=ImportJobs(engine=engine, jobs=jobs),
            export_jobs=ExportJobs(
                audiences=audiences, engine=engine, exports=exports, places=places, settings=settings
            ),
            segment_changes=SegmentStore(database),
            count_budget=Budget(per_s=settings.counts_per_day / DAY_S, burst=settings.counts_per_day),
            database=database,
            audiences=audiences,
            audit=AuditTrail(database),
            dead_letter_marks=DeadLetterMarks(database),
            exports=exports,
            jobs=jobs,
            all_jobs=all_jobs,
            principals=PrincipalStore(database),
            job_progress=JobProgress(all_jobs=all_jobs, exports=exports, jobs=jobs, progress=ProgressStore(database)),
            outbox=Outbox(database),
            recipients=RecipientStore(database),
            samples=SampleStore(database),
            schedules=ScheduleStore(database),
            segments=SegmentQueries(database),
            tokens=TokenStore(database),
            histories=histories,
            background=Background(operations, readers),
            readers=readers,
            sql=SqlRunner.of(settings, readers),
            sessions=SessionStore(database),
            identities=IdentityStore(database),
            codes=OneTimeCodes(database),
            partitions=settings.partitions,
        )
