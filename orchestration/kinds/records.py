"""The records of jobs and exports, and the view that the state machine gets: all that its choices need.

A view contains nothing secret or large.
"""

from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from orchestration.catalog.exports import ExportStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.life_cycle import LifeCycleStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import Export, ExportGroup, Job, JobError
from orchestration.kinds.compute_target import COMPARED, FILE_BYTES, MEMBER_BYTES, compute_target
from orchestration.kinds.spread import has_groups, has_units
from orchestration.kinds.stage_reports import StageReport
from orchestration.kinds.timeouts import QUERY_S, group_timeout_s, timeouts
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId
from schemas.import_formats import may_be_cut
from schemas.log_ids import bind

if TYPE_CHECKING:
    from orchestration.notifications.notices import Notices
    from orchestration.notifications.outbox import Notification, Outcome

CUT_MEMBER_BYTES: Final = 16
"""About the size of a user_id in the files that workers write for a snapshot."""
NOT_OWNER: Final = "DUPLICATE"
"""State shown to an execution that does not own the job: that of a duplicate, or one that was replaced. It ends."""
GROUPS_MAX: Final = 2_000
"""The most that fit into the 256 KiB of input that a state may get."""
MAX_ATTEMPTS: Final = 8
"""More than the retries of the workflow: a job with more attempts is in a loop."""

View = dict[str, object]
JobT = TypeVar("JobT", Job, Export)


class JobRecords(ABC, Generic[JobT]):
    """What the stages of all kinds of jobs do with their records. `waiting`: states in which their executions wait."""

    waiting: ClassVar[Set[str]]

    @property
    @abstractmethod
    def store(self) -> LifeCycleStore[JobT, Any]:
        """The store of the records."""

    @abstractmethod
    def view(self, job: JobT, *, state: str | None = None) -> View:
        """The job as the state machine sees it; `state` overrides that of the catalog."""

    @abstractmethod
    def _notices(self, notices: "Notices", job: JobT, outcome: "Outcome", now: int) -> "list[Notification]":
        """The notifications of its end."""

    def view_for_non_owner(self, job_id: JobId, execution: str) -> View | None:
        """The view that ends an execution that does not own the job. None for the owner."""
        job = self.store.get(job_id)
        bind(**job.log_ids)
        return None if job.execution == execution else self.view(job, state=NOT_OWNER)

    def mark_failed(self, job_id: JobId, error: JobError) -> View:
        """End the job in FAILED, unless it has ended or may have committed."""
        _, job = self.store.fail(job_id, error, now_ms=now_ms())
        return self.view(job)

    def notify(self, notices: "Notices", job_id: JobId, outcome: "Outcome") -> View:
        """Notify of the outcome: `ready`, `superseded` and `user-error` the customer, `system-error` the operators.

        1. Write one row of the outbox per recipient: from here delivery is at least once, whatever dies.
        2. Try once to deliver, for a few seconds; the control plane does the rest. A dead mail server or receiver is
           not a failure of this stage.
        """
        job = self.store.get(job_id)
        bind(**job.log_ids)
        rows = self._notices(notices, job, outcome, now_ms())  # 1
        notices.courier().deliver_at_once(rows)  # 2
        return self.view(job)


@dataclass(frozen=True, slots=True)
class ImportRecords(JobRecords[Job]):
    """Records of imports and snapshots, and the progress of their stages."""

    waiting: ClassVar[Set[str]] = frozenset({"REGISTERED", "AWAITING"})

    jobs: JobStore
    progress: ProgressStore
    settings: Settings

    @property
    def store(self) -> JobStore:
        """The store of jobs."""
        return self.jobs

    def view(self, job: Job, *, state: str | None = None) -> View:
        """With where the next stage runs, and its timeouts."""
        shown = state or job.state
        size = self._size(job)
        members = self._members(job, shown)
        target = compute_target(self.settings, size + MEMBER_BYTES * members)
        if job.awaits_query:  # no size is known, and a function ends too early
            target = "task"
        limits = timeouts(size, members, target)
        if job.awaits_query:
            limits["verify_s"] += QUERY_S
        return {
            "job_id": job.job_id,
            "state": shown,
            "mode": job.mode,
            "place": target,
            "timeouts": limits,
            "spread": self._spread(job, shown),
            "user_error": job.error is not None and job.error.kind == "user",
        }

    def report(
        self, job_id: JobId, stage: str, *, total: int = 0, unit: str = "rows", number: int | None = None, **more: Any
    ) -> StageReport:
        """Start reporting the progress of a stage, or of the unit of that number; `more` fields are reported, too."""
        place = self.settings.place
        return StageReport(self.progress, job_id, stage, total=total, unit=unit, target=place, number=number, more=more)

    def begin_attempt(self, job: Job, **values: Any) -> Attempt | None:
        """Begin the attempt after `job.attempt` and return its number. `values`: columns set with it.

        None if the job was cancelled or another attempt has begun since `job` was read. Raises `FatalError`
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
        return notices.write_for_job(job, outcome, now)

    def _spread(self, job: Job, shown: str) -> bool:
        """Whether several functions or tasks may take the stage side by side: units of the files, or of the parts."""
        if shown in {"BUILDING", "PUBLISHING"}:
            work = self._size(job) + MEMBER_BYTES * self._members(job, shown)
            return job.kind == "audience" and job.segment is None and has_groups(self.settings, work)
        size, key = int(job.source.get("size", 0)), str(job.source.get("key", ""))
        if not has_units(self.settings, size, job.files, cut=may_be_cut(key, job.spec.format)):
            return False
        return shown == "VERIFYING" or (shown == "IMPORTING" and job.kind != "profiles")

    def _members(self, job: Job, shown: str) -> int:
        """Members that a stage processes besides the file. Only a hint for where to run and how long.

        BUILDING merges those of the current version, as far as the catalog knows. PUBLISHING re-reads those that were
        built, and compares a replace with the current ones.
        """
        if job.audience_id is None:
            return 0
        if shown == "BUILDING" and job.segment is None:  # a snapshot is merged with nothing
            return self.jobs.last_members(job.audience_id)
        if shown == "PUBLISHING" and job.mode == "replace":
            return self.jobs.last_members(job.audience_id) // COMPARED
        # Not with `VersionBuild`, which wants all of a part: only its rows are needed here.
        built = job.build.get("parts", ()) if job.build is not None and shown == "PUBLISHING" else ()
        return sum(int(part["rows"]) for part in built)

    def _size(self, job: Job) -> int:
        """Bytes of the file, or of the members that workers have written. To open another file counts, too."""
        if job.segment is None:
            return int(job.source.get("size", 0)) + FILE_BYTES * (job.files - 1)
        rows = (row for row in self.progress.partitions(job.job_id) if row.attempt == job.attempt)
        return CUT_MEMBER_BYTES * sum(int(row.record.get("distinct", 0)) for row in rows)


@dataclass(frozen=True, slots=True)
class ExportRecords(JobRecords[Export]):
    """Records of exports."""

    waiting: ClassVar[Set[str]] = frozenset({"AWAITING"})
    exports: ExportStore
    settings: Settings

    @property
    def store(self) -> ExportStore:
        """The store of exports."""
        return self.exports

    def view(self, job: Export, *, state: str | None = None) -> View:
        """While WRITING, with the groups that are still to be written, and how many at once."""
        shown = state or job.state
        waiting = [g for g in self.exports.groups(job.job_id) if g.record is None] if shown == "WRITING" else []
        return {
            "export_id": job.job_id,
            "state": shown,
            "groups": [self._item(group) for group in waiting],
            "at_once": self.settings.units_side_by_side,
            "user_error": job.error is not None and job.error.kind == "user",
        }

    def _notices(self, notices: "Notices", job: Export, outcome: "Outcome", now: int) -> "list[Notification]":
        return notices.write_for_export(job, outcome, now)

    def _item(self, group: ExportGroup) -> dict[str, object]:
        target = compute_target(self.settings, group.bytes)
        return {
            "number": str(group.number),  # arguments of containers are strings
            "place": target,
            "timeout_s": group_timeout_s(group.bytes, target),
        }
