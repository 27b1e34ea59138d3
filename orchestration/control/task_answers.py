"""Answers the task tokens of jobs that wait for admission or for workers, again and again until the job has moved on.

So an answer may be lost, come before the wait has begun, or go to an old token.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from orchestration.catalog.records import Job
from orchestration.control.archive_watch import ArchiveWatch
from orchestration.control.liveness import WorkerLiveness
from orchestration.kinds.materialised import completion_of
from orchestration.kinds.records import ImportRecords
from orchestration.kinds.snapshot.cuts import cut_completion_of
from orchestration.workflow.engine import WorkflowEngine
from schemas import tracing
from schemas.errors import FatalError, RetriableError
from schemas.messages import JobState
from segmentation.completion import Broken, Complete, Completion, Waiting

HEARTBEAT_MS: Final = 20_000
"""One fifteenth of the state's HeartbeatSeconds, so several may be lost."""
_log = logging.getLogger(__name__)


class TaskAnswers:
    """Remembers when each token had its last heartbeat, so that not every tick sends one."""

    def __init__(
        self,
        records: ImportRecords,
        engine: WorkflowEngine,
        archive: ArchiveWatch,
        liveness: WorkerLiveness,
        activity_liveness: WorkerLiveness,
    ) -> None:
        self._records = records
        self._liveness = liveness
        self._activity_liveness = activity_liveness
        self._engine = engine
        self._archive = archive
        self._heartbeat_ms: dict[str, int] = {}

    def forget_all_but(self, jobs: Iterable[Job]) -> None:
        """Forget tokens that no job waits for any more."""
        jobs = list(jobs)
        self._archive.forget_all_but(jobs)
        waiting = {job.task_token for job in jobs}
        self._heartbeat_ms = {token: at for token, at in self._heartbeat_ms.items() if token in waiting}

    def answer(self, job: Job, now_ms: int) -> None:
        """Answer the token of a waiting job with success, failure or a heartbeat."""
        if job.task_token is None:
            return
        if job.state in {"VERIFYING", "IMPORTING"}:  # admitted; the first step drops the token
            send(self._engine.succeed, job.task_token, self._records.view(job))
        if job.state != "AWAITING":
            return
        if job.segment is not None:
            self._answer_completion(
                job, job.task_token, cut_completion_of(self._records.progress, job), "BUILDING", now_ms
            )
            return
        if job.kind != "audience":
            self._answer_activity(job, job.task_token, now_ms)
            return
        after: JobState = "PUBLISHING" if job.mode == "replace" else "BUILDING"
        self._answer_completion(job, job.task_token, completion_of(self._records.progress, job), after, now_ms)

    def _answer_completion(self, job: Job, token: str, found: Completion, after: JobState, now_ms: int) -> None:
        match found:
            case Complete():
                self._resume(job, token, after)
            case Broken(fault=fault):
                send(self._engine.fail, token, "MaterialisationFailed", fault)
            case Waiting():
                liveness = self._liveness if job.segment is None else self._activity_liveness
                self._send_heartbeat(job.job_id, token, liveness, now_ms)

    def _answer_activity(self, job: Job, token: str, now_ms: int) -> None:
        """As `answer`, for a job that waits until the archive has its events or profile changes."""
        if self._archive.has_all(job, now_ms):
            self._resume(job, token, "PUBLISHING")
        elif (fault := self._archive.lost(job, now_ms)) is not None:
            send(self._engine.fail, token, "MaterialisationFailed", fault)
        else:
            self._send_heartbeat(job.job_id, token, self._activity_liveness, now_ms)

    def _resume(self, job: Job, token: str, state: JobState) -> None:
        with tracing.span("reconcile"):
            send(self._engine.succeed, token, self._records.view(job, state=state))

    def _send_heartbeat(self, job_id: str, token: str, liveness: WorkerLiveness, now_ms: int) -> None:
        if now_ms - self._heartbeat_ms.get(token, 0) < HEARTBEAT_MS:
            return
        if (stalled := liveness.fault(now_ms)) is not None:
            _log.error("cannot send a heartbeat for job %s: %s", job_id, stalled)
            if liveness.on_demand:  # without a heartbeat it would wait again
                send(self._engine.fail, token, "WorkersStalled", stalled)
            return
        if send(self._engine.heartbeat, token):
            self._heartbeat_ms[token] = now_ms


def send(answer: Callable[..., None], *arguments: object) -> bool:
    """Give an answer to a token; returns whether the engine took it."""
    try:
        answer(*arguments)
    except FatalError as exc:
        # TaskTimedOut, TaskDoesNotExist, InvalidToken: the wait is over or has not begun; the next tick will show.
        _log.debug("%s", exc)
        return False
    except RetriableError as exc:
        _log.warning("cannot answer a waiting job: %s", exc)
        return False
    return True
