"""The records of a kind of job, and what the state machine is told about one: all that its choices look at.

A view has nothing that is secret or large.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from orchestration.catalog.exports import ExportStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.life_cycle import LifeCycleStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import Export, ExportGroup, Job, JobError
from orchestration.kinds.stage_reports import StageReport
from orchestration.kinds.timeouts import group_timeout_s, timeouts
from orchestration.kinds.where import COMPARED, MEMBER_BYTES, place_of
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId
from schemas.log_ids import bind

if TYPE_CHECKING:
    from orchestration.notifications.notices import Notices
    from orchestration.notifications.outbox import Notification, Outcome

CUT_MEMBER_BYTES: Final = 16
"""About what a user_id takes in what the workers write down of a segment."""
NOT_MINE: Final = "DUPLICATE"
"""State shown to an execution that the job does not belong to: a twin's, or one that has been replaced. It ends."""
GROUPS_MAX: Final = 2_000
"""So many fit into the 256 KiB that a state of Step Functions may be given."""
MAX_ATTEMPTS: Final = 8
"""More than the workflow's own retries give: a job that comes here more often is in a loop."""

View = dict[str, object]
JobT = TypeVar("JobT", Job, Export)


class JobRecords(ABC, Generic[JobT]):
    """What the stages of all kinds of jobs do with their records."""

    @property
    @abstractmethod
    def store(self) -> LifeCycleStore[JobT, Any]:
        """Where they are."""

    @abstractmethod
    def view(self, job: JobT, *, state: str | None = None) -> View:
        """The job as the state machine sees it; `state` overrides that of the catalog."""

    @abstractmethod
    def _notices(self, notices: "Notices", job: JobT, outcome: "Outcome", now: int) -> "list[Notification]":
        """What people and programs are told of its end."""

    def not_mine(self, job_id: JobId, execution: str) -> View | None:
        """The view that ends an execution which does not own the job (any more); none for the one that does."""
        job = self.store.get(job_id)
        bind(job=job.job_id, tenant=job.tenant, audience=job.audience)
        if isinstance(job, Job):
            bind(attempt=job.attempt)
        return None if job.execution == execution else self.view(job, state=NOT_MINE)

    def mark_failed(self, job_id: JobId, error: JobError) -> View:
        """End the job in FAILED, unless it has ended otherwise or may have been committed."""
        _, job = self.store.fail(job_id, error, now_ms=now_ms())
        return self.view(job)

    def notify(self, notices: "Notices", job_id: JobId, outcome: "Outcome") -> View:
        """Tell the outcome: `ready`, `superseded` and `user-error` to the customer, `system-error` to the operators.

        1. The notices are written, once for each recipient. 2. One try to deliver them; what fails is tried again by
        the control plane.
        """
        job = self.store.get(job_id)
        bind(job=job_id, tenant=job.tenant, audience=job.audience)
        rows = self._notices(notices, job, outcome, now_ms())  # 1
        notices.courier().deliver_at_once(rows)  # 2
        return self.view(job)


@dataclass(frozen=True, slots=True)
class ImportRecords(JobRecords[Job]):
    """Of imports and snapshots, with what their stages report."""

    jobs: JobStore
    progress: ProgressStore
    settings: Settings

    @property
    def store(self) -> JobStore:
        """Jobs."""
        return self.jobs

    def view(self, job: Job, *, state: str | None = None) -> View:
        """With the place where the next stage runs, and how long it may take."""
        shown = state or job.state
        size = self._size(job)
        members = self._members(job, shown)
        place = place_of(self.settings, size + MEMBER_BYTES * members)
        return {
            "job_id": job.job_id,
            "state": shown,
            "mode": job.mode,
            "place": place,
            "timeouts": timeouts(size, members, place),
            "user_error": job.error is not None and job.error.kind == "user",
        }

    def report(self, job_id: JobId, stage: str, *, total: int = 0, unit: str = "rows") -> StageReport:
        """The progress of a stage that begins now."""
        return StageReport(self.progress, job_id, stage, total=total, unit=unit, place=self.settings.place)

    def begin_attempt(self, job: Job, **values: Any) -> Attempt | None:
        """The number of the attempt after the one that the caller saw; `values` are columns set with it.

        None: the job was cancelled, or another attempt has begun, between our look and our swap. Raises `FatalError`
        TOO_MANY_ATTEMPTS.
        """
        if job.attempt >= MAX_ATTEMPTS:
            raise FatalError("TOO_MANY_ATTEMPTS", f"job {job.job_id} has used {MAX_ATTEMPTS} attempts", job=job.job_id)
        try:
            attempt = self.jobs.start_attempt(job.job_id, after=job.attempt, now_ms=now_ms(), **values)
        except FatalError as exc:
            if exc.code != "ATTEMPT_SUPERSEDED":
                raise
            return None
        bind(attempt=attempt)
        return attempt

    def _notices(self, notices: "Notices", job: Job, outcome: "Outcome", now: int) -> "list[Notification]":
        bind(attempt=job.attempt)
        return notices.of_job(job, outcome, now)

    def _members(self, job: Job, shown: str) -> int:
        """Members that a step has to do with besides the file: a hint for where to run and how long, nothing more.

        BUILDING merges those of the version that is current, as far as the catalog tells. PUBLISHING re-reads those
        that were built, and compares a replace with the current ones.
        """
        if job.audience_id is None:
            return 0
        if shown == "BUILDING" and job.segment is None:  # a snapshot is merged with nothing
            return self.jobs.last_members(job.audience_id)
        if shown == "PUBLISHING" and job.mode == "replace":
            return self.jobs.last_members(job.audience_id) // COMPARED
        # Not by `VersionBuild`, which loads Arrow: a view is made in small functions too.
        built = job.build.get("parts", ()) if job.build is not None and shown == "PUBLISHING" else ()
        return sum(int(part["rows"]) for part in built)

    def _size(self, job: Job) -> int:
        """Bytes of the file, or of the members that were written down."""
        if job.segment is None:
            return int(job.source.get("size", 0))
        said = (row for row in self.progress.partitions(job.job_id) if row.attempt == job.attempt)
        return CUT_MEMBER_BYTES * sum(int(row.record.get("distinct", 0)) for row in said)


@dataclass(frozen=True, slots=True)
class ExportRecords(JobRecords[Export]):
    """Of exports."""

    exports: ExportStore
    settings: Settings

    @property
    def store(self) -> ExportStore:
        """Exports."""
        return self.exports

    def view(self, job: Export, *, state: str | None = None) -> View:
        """While it is WRITING, with the groups that are still to be written."""
        shown = state or job.state
        waiting = [g for g in self.exports.groups(job.job_id) if g.record is None] if shown == "WRITING" else []
        return {
            "export_id": job.job_id,
            "state": shown,
            "groups": [self._item(group) for group in waiting],
            "user_error": job.error is not None and job.error.kind == "user",
        }

    def _notices(self, notices: "Notices", job: Export, outcome: "Outcome", now: int) -> "list[Notification]":
        return notices.of_export(job, outcome, now)

    def _item(self, group: ExportGroup) -> dict[str, object]:
        place = place_of(self.settings, group.bytes)
        return {
            "number": str(group.number),  # an argument of a container is a text
            "place": place,
            "timeout_s": group_timeout_s(group.bytes, place),
        }
