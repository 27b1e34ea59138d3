"""Parts of any process: stores of the catalog, the object store, the workflow engine, and use cases of these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, overload

from connectors.storage.access import S3Access
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.consent import ConsentStore
from orchestration.catalog.engine import Database
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.idempotency import IdempotencyStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.operations import OperationStore
from orchestration.catalog.places import PlaceStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.schedules import ScheduleStore
from orchestration.catalog.uploads import UploadStore
from orchestration.kinds.specs import CurrentVersions, Specs
from orchestration.notifications.outbox import Outbox
from orchestration.notifications.recipients import RecipientStore
from orchestration.platform.clock import now_ms
from orchestration.platform.deferred import deferred
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.scaling import ScalingStore
    from orchestration.operations.export_jobs import ExportJobs
    from orchestration.operations.follow import JobProgress
    from orchestration.operations.job_search import AllJobs
    from orchestration.operations.jobs import ImportJobs
    from orchestration.operations.scaling import Scaler
    from orchestration.operations.submit import Submission
    from orchestration.records.workers import ScaledPart
    from orchestration.workflow.engine import WorkflowEngine
    from orchestration.workflow.services import ScaledServices

with deferred(__name__):  # a function or command that starts cold loads only what it uses
    from connectors.storage import objects as object_stores
    from orchestration.catalog import (
        activations,
        api_tokens,
        dead_letter_marks,
        feeds,
        identities,
        one_time_codes,
        principals,
        samples,
        segments,
        sessions,
    )
    from orchestration.catalog import scaling as counts
    from orchestration.operations import export_jobs, follow, job_search, jobs, scaling, submit
    from orchestration.workflow import engine, services, timers

ValueT = TypeVar("ValueT")
_MAKING: Final = RLock()


class Part(cached_property[ValueT]):
    """A part of a process: made at first use, and once, even if several threads ask for it at the same time."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> ValueT: ...
    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Self | ValueT:
        """As `cached_property`, which takes no lock from Python 3.12 on."""
        with _MAKING:
            return super().__get__(instance, owner)


def store(make: Callable[[Database], ValueT]) -> Part[ValueT]:
    """A part that needs only the catalog."""
    return Part(lambda process: make(process.database))


@dataclass(frozen=True)
class Process:
    """Parts of one process. Not slotted: they are cached."""

    settings: Settings

    closable: ClassVar[Sequence[str]] = ("database",)
    """Parts that hold connections or processes, in the order in which they are closed."""

    audiences = store(AudienceStore)
    audit = store(AuditTrail)
    consent = store(ConsentStore)
    exports = store(ExportStore)
    idempotency = store(IdempotencyStore)
    jobs = store(JobStore)
    operations = store(OperationStore)
    outbox = store(Outbox)
    places = store(PlaceStore)
    progress = store(ProgressStore)
    recipients = store(RecipientStore)
    schedules = store(ScheduleStore)
    uploads = store(UploadStore)

    activations = store(lambda database: activations.ActivationStore(database))
    codes = store(lambda database: one_time_codes.OneTimeCodes(database))
    dead_letter_marks = store(lambda database: dead_letter_marks.DeadLetterMarks(database))
    feeds = store(lambda database: feeds.FeedStore(database))
    identities = store(lambda database: identities.IdentityStore(database))
    principals = store(lambda database: principals.PrincipalStore(database))
    samples = store(lambda database: samples.SampleStore(database))
    segments = store(lambda database: segments.SegmentStore(database))
    sessions = store(lambda database: sessions.SessionStore(database))
    tokens = store(lambda database: api_tokens.TokenStore(database))

    @Part
    def database(self) -> Database:
        """The catalog database."""
        return Database(self.settings.catalog_url)

    @property
    def s3(self) -> S3Access:
        """Access to the object store of the lake."""
        return s3_access(self.settings)

    @Part
    def objects(self) -> "ObjectStore":
        """The object store."""
        return object_stores.ObjectStore(self.s3)

    @Part
    def workflow(self) -> "SFNClient":
        """Step Functions."""
        return engine.workflow_client(self.settings)

    @Part
    def engine(self) -> "WorkflowEngine":
        """Executions of the state machines."""
        return engine.WorkflowEngine(lambda: self.workflow, self.settings)

    @Part
    def scaled_services(self) -> "ScaledServices":
        """The services whose count follows the work."""
        return services.ScaledServices(lambda: engine.engine_client(self.settings, "ecs"), self.settings)

    @Part
    def wanted_counts(self) -> "ScalingStore":
        """The counts that follow the work."""
        return counts.ScalingStore(self.database)

    @Part
    def scaler(self) -> "Scaler":
        """Starts and stops workers and control planes as the work needs."""
        return scaling.Scaler(
            self.wanted_counts,
            self.scaled_services,
            timers.NextCall(lambda: engine.engine_client(self.settings, "scheduler"), self.settings),
            scaling.limits_of(self.settings),
        )

    def ensure_workers(self) -> None:
        """Start what the committed work needs. For whoever has added work; never raises."""
        self.scaler.ensure(now_ms())

    def scaled_parts(self) -> "list[ScaledPart]":
        """The parts whose count follows the work; empty if no count ever changes."""
        return [] if scaling.limits_of(self.settings).fixed else self.wanted_counts.parts()

    @property
    def current_versions(self) -> CurrentVersions:
        """Versions of audiences, as this process reads them."""
        raise NotImplementedError

    @Part
    def specs(self) -> Specs:
        """The stored specs."""
        return Specs(audiences=self.audiences, jobs=self.jobs, versions=lambda: self.current_versions)

    @Part
    def submission(self) -> "Submission":
        """Starts imports."""
        return submit.Submission(
            audiences=self.audiences,
            engine=self.engine,
            objects=self.objects,
            settings=self.settings,
            specs=self.specs,
        )

    @Part
    def import_jobs(self) -> "ImportJobs":
        """Operations on imports and snapshots."""
        return jobs.ImportJobs(engine=self.engine, jobs=self.jobs)

    @Part
    def export_jobs(self) -> "ExportJobs":
        """Operations on exports."""
        return export_jobs.ExportJobs(
            audiences=self.audiences,
            engine=self.engine,
            exports=self.exports,
            import_jobs=self.import_jobs,
            places=self.places,
            segments=self.segments,
            settings=self.settings,
        )

    @Part
    def all_jobs(self) -> "AllJobs":
        """The catalog's jobs of all kinds."""
        return job_search.AllJobs(exports=self.exports, jobs=self.jobs)

    @Part
    def job_progress(self) -> "JobProgress":
        """Progress of jobs of all kinds."""
        return follow.JobProgress(all_jobs=self.all_jobs, exports=self.exports, jobs=self.jobs, progress=self.progress)

    def close(self) -> None:
        """Close the connections of the parts that were made; the next use opens others."""
        for name in self.closable:
            if (part := vars(self).get(name)) is not None:
                part.close()
