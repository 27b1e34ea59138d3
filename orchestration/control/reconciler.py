"""Executions of live jobs: one that was lost is replaced, one that somebody stopped ends its job.

1. The engine does not know the execution, or it ended without ending the job: the job goes on in a new one.
2. It is ABORTED: somebody called StopExecution, and meant it. The job is CANCELLED with EXECUTION_STOPPED; one that can
   no longer be cancelled may have committed already and rolls forward in a new execution.
3. It runs, and its work does not (a group of an export without a heartbeat): the job goes on in a new execution, and
   the old one is stopped.
4. The job is older than `MAX_JOB_AGE_S`: it fails with JOB_TOO_OLD, since what it depends on will soon be gone.
Of many live jobs, some are asked about at each tick, in turns (`fair_queue`).
"""

import logging
import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, Generic, TypeVar

from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.auditing import record_automatic
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.life_cycle import LifeCycleStore
from orchestration.catalog.records import Export, Job, JobError
from orchestration.control.fair_queue import FairQueue
from orchestration.kinds.records import ImportRecords
from orchestration.workflow.engine import EXPORT_MACHINE, IMPORT_MACHINE, Execution, WorkflowEngine
from schemas.errors import FatalError, RetriableError
from schemas.log_ids import bind
from schemas.topics import MAX_JOB_AGE_S
from segmentation.life_cycle import Change

ORPHAN_AFTER_MS: Final = 10_000
"""A job younger than this may have an execution that does not know of itself yet."""
REPLACE_EVERY_MS: Final = 60_000
"""An execution that fails as soon as it begins is not replaced more often than this."""
HEARTBEAT_MS: Final = 300_000
"""A heartbeat of a group is due every two seconds; so long without one, and nobody writes any more."""
_REPLACED_AT: Final = re.compile(r"-r(\d+)$")
_log = logging.getLogger(__name__)


JobT = TypeVar("JobT", Job, Export)


class Reconciler(ABC, Generic[JobT]):
    """Looks at all live jobs of one store. Its steps are numbered as in the module's docstring."""

    machine: ClassVar[str]
    noun: ClassVar[str]
    remedy: ClassVar[str]
    """What a person does about a job that was too old."""
    action: ClassVar[str]
    """Follows the verb in the audit trail."""

    def __init__(self, store: LifeCycleStore[JobT, Any], engine: WorkflowEngine, audit: AuditTrail) -> None:
        self._store: LifeCycleStore[JobT, Any] = store
        self._engine = engine
        self._audit = audit
        self._queue = FairQueue()

    @abstractmethod
    def _end_execution(self, job: JobT, verdict: Change) -> None:
        """Let the execution of a job that was too old know of its end."""

    def _stuck(self, job: JobT, now_ms: int) -> str | None:  # noqa: ARG002  # for those that can tell
        """Why a job with a running execution makes no progress. None if it does."""
        return None

    def tick(self, now_ms: int) -> None:
        """Do what is due. What the engine refuses is logged, and the next tick tries again."""
        live = self._store.live()
        chosen = self._queue.take(job.job_id for job in live if now_ms - job.created_at_ms > ORPHAN_AFTER_MS)
        for job in live:
            bind(**job.log_ids)
            if now_ms - job.created_at_ms > MAX_JOB_AGE_S * 1000 and self._cancellable(job):
                self._end_old(job, now_ms)  # 4
            elif job.job_id in chosen:
                self._check(job, now_ms)

    def _check(self, job: JobT, now_ms: int) -> None:
        try:
            execution = self._engine.describe(job.execution)
        except (RetriableError, FatalError) as exc:
            _log.warning("cannot look up the execution of %s %s: %s", self.noun, job.job_id, exc)
            return
        if execution is not None and execution.running:
            if (why := self._stuck(job, now_ms)) is not None:
                _log.warning("%s %s is stuck: %s", self.noun, job.job_id, why)
                self._replace(job, now_ms)  # 3
                stop_execution(self._engine, job, why)
        elif execution is not None and execution.status == "ABORTED" and self._cancellable(job):
            self._cancel(job, execution, now_ms)  # 2
        elif execution is None or now_ms - replaced_ms(job.execution) > REPLACE_EVERY_MS:
            self._replace(job, now_ms)  # 1

    def _cancellable(self, job: JobT) -> bool:
        return job.state in self._store.life_cycle.cancellable

    def _cancel(self, job: JobT, execution: Execution, now_ms: int) -> None:
        why = f" ({execution.cause})" if execution.cause else ""
        verdict, _ = self._store.move(
            job.job_id,
            "CANCELLED",
            now_ms=now_ms,
            cause=f"EXECUTION_STOPPED: the execution was stopped from outside{why}"[:2000],
            expecting={"execution": job.execution},  # not when it has a new one since
        )
        if verdict is Change.APPLIED:
            _log.warning("%s %s is cancelled: its execution was stopped", self.noun, job.job_id)
            self._record(f"cancel{self.action}", job, state="CANCELLED", cause=execution.cause)

    def _replace(self, job: JobT, now_ms: int) -> None:
        name = f"{job.job_id}-r{now_ms}"
        execution = self._engine.execution_arn(name, self.machine)
        # The job belongs to the new execution before that begins: of several reconcilers, one starts one. If the start
        # fails, nobody finds the execution, and the next tick takes the job over once more.
        if not self._store.adopt(job.job_id, previous=job.execution, execution=execution):
            return
        try:
            self._engine.start(self.machine, name, {"resume": job.job_id})
        except (RetriableError, FatalError) as exc:
            _log.warning("cannot start a new execution of %s %s: %s", self.noun, job.job_id, exc)
            return
        _log.warning("%s %s was %s and continues in a new execution", self.noun, job.job_id, job.state)
        self._record("replace execution", job, execution=execution)

    def _end_old(self, job: JobT, now_ms: int) -> None:
        error = JobError(
            kind="system",
            code="JOB_TOO_OLD",
            message=f"the {self.noun} was {job.state} for more than {MAX_JOB_AGE_S // 3600} hours; {self.remedy}",
            detail={"state": job.state},
        )
        verdict, ended = self._store.fail(job.job_id, error, now_ms=now_ms)
        if verdict is Change.APPLIED:
            _log.error("%s %s failed: %s", self.noun, job.job_id, error.message)
            self._record(f"fail{self.action}", job, state="FAILED", code=error.code)
        self._end_execution(ended, verdict)

    def _record(self, action: str, job: JobT, **after: str) -> None:
        record_automatic(self._audit, "sweeper", action, job, after)


class JobReconciler(Reconciler[Job]):
    """Of imports and snapshots."""

    machine = IMPORT_MACHINE
    noun = "job"
    remedy = "upload the file again"
    action = ""

    def __init__(self, records: ImportRecords, engine: WorkflowEngine, audit: AuditTrail) -> None:
        super().__init__(records.jobs, engine, audit)
        self._records = records

    def _end_execution(self, job: Job, verdict: Change) -> None:  # noqa: ARG002  # a token is answered in any case
        if job.task_token is None:
            return
        try:  # its execution goes on and tells the operators; one that waits for something else finds out by itself
            self._engine.succeed(job.task_token, self._records.view(job))
        except (RetriableError, FatalError) as exc:
            _log.warning("cannot report the end of job %s to its execution: %s", job.job_id, exc)


class ExportReconciler(Reconciler[Export]):
    """Of exports."""

    machine = EXPORT_MACHINE
    noun = "export"
    remedy = "export again"
    action = " export"

    def __init__(self, exports: ExportStore, engine: WorkflowEngine, audit: AuditTrail) -> None:
        super().__init__(exports, engine, audit)
        self._exports = exports

    def _stuck(self, job: Export, now_ms: int) -> str | None:
        if job.state != "WRITING" or now_ms - replaced_ms(job.execution) <= HEARTBEAT_MS:
            return None
        writing = [g for g in self._exports.groups(job.job_id) if g.record is None and g.error is None]
        late = any(g.beat_at_ms is not None and now_ms - g.beat_at_ms > HEARTBEAT_MS for g in writing)
        return "a group had no heartbeat" if late else None

    def _end_execution(self, job: Export, verdict: Change) -> None:
        if verdict is Change.APPLIED:  # else it is about to tell of another end
            stop_execution(self._engine, job, "the export was too old")


def stop_execution(engine: WorkflowEngine, job: Job | Export, cause: str) -> None:
    """Stop the execution of a job if it still runs. What the engine refuses is logged."""
    try:
        found = engine.describe(job.execution)
        if job.execution is not None and found is not None and found.running:
            engine.stop(job.execution, cause)
    except (RetriableError, FatalError) as exc:
        _log.warning("cannot stop the execution of job %s: %s", job.job_id, exc)


def replaced_ms(execution: str | None) -> int:
    """When an execution took over a job, 0 when it is the job's first."""
    found = _REPLACED_AT.search(execution or "")
    return int(found[1]) if found else 0
