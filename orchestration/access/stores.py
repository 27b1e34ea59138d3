"""The stores that views read and change."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Self

from orchestration.catalog.api_tokens import TokenStore
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.engine import Database
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.identities import IdentityStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.one_time_codes import OneTimeCodes
from orchestration.catalog.principals import PrincipalStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.schedules import ScheduleStore
from orchestration.catalog.segment_queries import SegmentQueries
from orchestration.catalog.sessions import SessionStore
from orchestration.notifications.recipients import RecipientStore
from orchestration.operations.follow import JobProgress
from orchestration.operations.job_search import AllJobs
from orchestration.operations.version_histories import VersionHistories
from orchestration.platform.deferred import deferred
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore

with deferred(__name__):
    from connectors.storage import objects


@cache
def _objects(settings: Settings) -> "ObjectStore":
    """The object store, made at its first use."""
    return objects.ObjectStore(s3_access(settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Everything in the catalog, and the histories of audiences in the lake.

    `partitions` is P of the topics of events and profiles.
    """

    database: Database
    audiences: AudienceStore
    audit: AuditTrail
    exports: ExportStore
    jobs: JobStore
    all_jobs: AllJobs
    principals: PrincipalStore
    job_progress: JobProgress
    recipients: RecipientStore
    schedules: ScheduleStore
    segments: SegmentQueries
    tokens: TokenStore
    sessions: SessionStore
    identities: IdentityStore
    codes: OneTimeCodes
    histories: VersionHistories
    partitions: int

    def check(self) -> None:
        """Raises `RetriableError` CATALOG_UNAVAILABLE if the catalog does not answer."""
        self.audiences.tenant_page(limit=1)

    def version(self) -> object:
        """As `Database.version`."""
        return self.database.version()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The stores of a deployment. Nothing is connected before the first use."""
        database = Database(settings.catalog_url)
        exports, jobs = ExportStore(database), JobStore(database)
        all_jobs = AllJobs(exports=exports, jobs=jobs)
        return cls(
            database=database,
            audiences=AudienceStore(database),
            audit=AuditTrail(database),
            exports=exports,
            jobs=jobs,
            all_jobs=all_jobs,
            principals=PrincipalStore(database),
            job_progress=JobProgress(all_jobs=all_jobs, exports=exports, jobs=jobs, progress=ProgressStore(database)),
            recipients=RecipientStore(database),
            schedules=ScheduleStore(database),
            segments=SegmentQueries(database),
            tokens=TokenStore(database),
            sessions=SessionStore(database),
            identities=IdentityStore(database),
            codes=OneTimeCodes(database),
            histories=VersionHistories(
                database=database, bucket=settings.lake_bucket, objects=lambda: _objects(settings)
            ),
            partitions=settings.partitions,
        )
