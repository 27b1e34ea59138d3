"""What event streams show: the present states of the things of a tenant or of the deployment, topic by topic.

A `Topic` grants what it names: only `views.events` makes them, after it has checked the caller's rights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from orchestration.access.job_details import job_detail
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.sampled import present_lag, present_workers
from orchestration.catalog.records import Job
from orchestration.composition.service import Services
from orchestration.operations.follow import JobView
from orchestration.operations.job_search import AnyJob
from orchestration.platform.clock import now_ms
from orchestration.records.events import DeploymentEventKind, EventKind
from schemas.errors import UserError
from schemas.ids import JobId, TenantName
from schemas.records import as_record
from segmentation import export_jobs, jobs

Kind = EventKind | DeploymentEventKind
KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)
DEPLOYMENT_KINDS: Final[tuple[DeploymentEventKind, ...]] = get_args(DeploymentEventKind)
ACTIONS: Final[Mapping[EventKind, Action]] = MappingProxyType(
    {kind: Action.READ_JOBS if kind == "job" else Action.READ for kind in KINDS}
)
"""What a caller must be allowed to see a kind of thing in a tenant."""
NEWEST_JOBS: Final = 100
MAX_THINGS: Final = 500
"""Most things of one kind that a stream shows, by name, and most unfinished jobs. Lists have all."""
MAX_STAGES: Final = 50
"""Jobs in progress whose stages are read, five statements each, when a stage or partition has reported."""
_RUNNING: Final = sorted(
    {state for state in jobs.STATES if state not in jobs.FINAL}
    | {state for state in export_jobs.EXPORT_STATES if state not in export_jobs.ENDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """All things of a kind in a tenant, or in all of them (None); or one job, with its history and progress."""

    tenant: TenantName | None
    kind: Kind
    job: JobId | None = None

    @property
    def whole(self) -> bool:
        """True if what a reading lacks is gone. False for jobs, which stay."""
        return self.kind != "job"


class States:
    """Reads the states of one topic again and again; after a reading that was lost, begin with new `States`.

    Not thread-safe.
    """

    def __init__(self, services: Services, topic: Topic) -> None:
        self._services = services
        self._topic = topic
        self._running: frozenset[JobId] = frozenset()
        self._stamps: Mapping[JobId, object] = {}
        self._seen: Mapping[JobId, object] = {}

    def read(self) -> Mapping[str, Record]:
        """Present states by id, as plain JSON data; of jobs, those that may have changed since the last reading.

        Raises `RetriableError` CATALOG_UNAVAILABLE.
        """
        match self._topic.kind:
            case "job":
                return self._jobs() if self._topic.job is None else self._job(self._topic.job)
            case "worker":
                return present_workers(self._services.samples)
            case "lag":
                return present_lag(self._services.samples)
            case "audience" | "segment" | "schedule" as kind:
                return self._things(kind)

    def _things(self, kind: Literal["audience", "segment", "schedule"]) -> Mapping[str, Record]:
        services, tenant = self._services, self._topic.tenant
        if tenant is None:
            raise ValueError(f"streams of the deployment have no {kind}")
        match kind:
            case "audience":
                return {a.audience_id: as_record(a.shown) for a in services.audiences.page(tenant, limit=MAX_THINGS)}
            case "segment":
                found = services.segments.page(
                    tenant, limit=MAX_THINGS, partitions=services.partitions, now_ms=now_ms()
                )
                records = {one.segment_id: as_record(one) for one in found}
                for record in records.values():
                    del record["lag_s"]  # the clock's, not a state: it follows from `as_of`
                return records
            case "schedule":
                return {one.schedule: as_record(one) for one in services.schedules.page(tenant, limit=MAX_THINGS)}

    def _job(self, job_id: JobId) -> Mapping[str, Record]:
        try:
            found = job_detail(self._services, job_id, tenant=self._topic.tenant, addresses=lambda _: False)
            return {job_id: as_record(found)}
        except UserError:  # jobs are never deleted; a restored catalog may lack one
            return {}

    def _jobs(self) -> Mapping[str, Record]:
        """All running jobs, and those that may have changed since the last reading; at the first one, the newest."""
        find, tenant = self._services.all_jobs, self._topic.tenant
        stamps = find.stamps(tenant, limit=NEWEST_JOBS)
        running = find.search(tenant=tenant, states=_RUNNING, limit=MAX_THINGS)
        found: dict[JobId, AnyJob] = {job.job_id: job for job in running}
        changed = {job_id for job_id, stamp in stamps.items() if self._stamps.get(job_id) != stamp}
        if not self._stamps:
            found |= {job.job_id: job for job in find.search(tenant=tenant, limit=NEWEST_JOBS)}
        for job_id in (changed | self._running) - found.keys():
            if (job := find.find(job_id, tenant=tenant)) is not None:
                found[job_id] = job
        shown = [job.job_id for job in running[:MAX_STAGES]]
        progress = self._services.job_progress.progress.stamps(shown)
        seen = {job_id: (job.shown, progress.get(job_id)) for job_id, job in found.items()}
        records: dict[str, Record] = {
            job_id: self._with_stages(job, shown=job_id in shown)
            for job_id, job in found.items()
            if self._seen.get(job_id) != seen[job_id]
        }
        self._stamps, self._running = stamps, frozenset(job.job_id for job in running)
        self._seen = {job_id: one for job_id, one in seen.items() if job_id in self._running}
        return records

    def _with_stages(self, job: AnyJob, *, shown: bool) -> Record:
        """A job as lists have it, and how far its stages are; None for one that has ended, and for exports."""
        view: JobView | None = None
        if shown and isinstance(job, Job):
            view = self._services.job_progress.view(job.job_id, now_ms(), tenant=self._topic.tenant)
        if view is None:
            return {**as_record(job.shown), "stages": None}
        return {**as_record(view.job.shown), "stages": [as_record(stage) for stage in view.stages]}
