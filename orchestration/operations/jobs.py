"""Cancels imports and snapshots; `orchestration.operations.submit` retries them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.platform.clock import now_ms
from orchestration.records.fields import extended
from orchestration.records.jobs import CancelledImport
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import JobId
from segmentation.life_cycle import Change

if TYPE_CHECKING:
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.records import Job
    from orchestration.workflow.engine import WorkflowEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJobs:
    """Cancels imports and snapshots of segments."""

    engine: "WorkflowEngine"
    jobs: "JobStore"

    def cancel(self, job_id: JobId) -> CancelledImport:
        """Cancel a job before anything of it can be published.

        1. Make the guarded change to CANCELLED: from here on nothing of the job is ever published.
        2. Stop the execution, and with it the running step.

        The sweeper of the control plane sends the abort markers, so that the workers drop what they hold.

        Raises `UserError` UNKNOWN_JOB, IS_DUPLICATE, TOO_LATE.
        """
        found = self.jobs.get(job_id)
        if found.job_id != job_id:
            raise UserError(
                "IS_DUPLICATE",
                f"job {job_id} is a duplicate of {found.job_id} and never ran; to cancel the original, cancel "
                f"{found.job_id}",
                job=job_id,
                twin=found.job_id,
            )
        verdict, job = self.jobs.move(job_id, "CANCELLED", now_ms=now_ms(), cause="cancelled by an operator")  # 1
        if verdict is Change.REFUSED:
            why = "its version is being published" if job.state == "PUBLISHING" else "it has ended"
            raise UserError(
                "TOO_LATE",
                f"job {job_id} is {job.state}: {why}, so it is too late to cancel",
                job=job_id,
                state=job.state,
            )
        stopped = self._stop_execution(job)
        warnings = () if stopped is None else (stopped,)
        return extended(CancelledImport, job.shown, already=verdict is Change.ALREADY, warnings=warnings)

    def _stop_execution(self, job: "Job") -> str | None:  # 2
        if job.execution is None:
            return None
        try:
            self.engine.stop(job.execution, "cancelled by an operator")
        except (FatalError, RetriableError) as exc:
            return f"the execution could not be stopped ({exc.code}); it ends at its next step"
        return None
