"""The sweeper's share of exports: it ends what nobody else will end. What an ended export leaves is `cleaning`'s.

1. An execution that was lost is replaced; an export whose execution was stopped is cancelled (as `executions`).
2. A group whose heart has stopped (its process is frozen, or gone without a word): the export goes on in a new
   execution, and the old one is stopped.
3. An export older than `MAX_JOB_AGE_S` fails with JOB_TOO_OLD.
"""

import logging
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from orchestration.catalog.auditing import record
from orchestration.catalog.records import Export, JobError
from orchestration.context import EXPORT_MACHINE, Context
from orchestration.control.executions import (
    REPLACE_EVERY_MS,
    RUNNING,
    describe,
    is_grown,
    replaced_ms,
    start_execution,
    stop_execution,
)
from orchestration.control.taking_turns import TakingTurns
from schemas.log_ids import bind
from schemas.topics import MAX_JOB_AGE_S
from segmentation.export_jobs import STOPPABLE
from segmentation.life_cycle import Change

HEARTBEAT_MS: Final = 300_000
"""A beat is due every two seconds; so long without one, and nobody writes any more."""
_log = logging.getLogger(__name__)


class ExportSweeper:
    """Looks at all exports. Its steps are numbered as in the module's docstring."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._turns = TakingTurns()

    def tick(self, now: int) -> None:
        """Do what is due; what fails is logged, and the next tick tries again."""
        live = self._context.exports.live()
        asked = self._turns.take(export.job_id for export in live if is_grown(export, now))
        for export in live:
            bind(job=export.job_id, tenant=export.tenant, audience=export.audience)
            if now - export.created_at_ms > MAX_JOB_AGE_S * 1000 and export.state in STOPPABLE:
                self._end_old(export, now)  # 3
            elif export.job_id in asked:
                self._look_at_execution(export, now)

    def _look_at_execution(self, export: Export, now: int) -> None:
        try:
            status, cause = describe(self._context, export.execution)
        except (ClientError, BotoCoreError) as exc:
            _log.warning("the execution of export %s cannot be looked at: %s", export.job_id, exc)
            return
        if status in RUNNING:
            if self._is_frozen(export, now):
                _log.warning("export %s has a group without a heartbeat", export.job_id)
                self._replace(export, now)  # 2
                stop_execution(self._context, export.job_id, export.execution, "a group had no heartbeat")
        elif status == "ABORTED" and export.state in STOPPABLE:
            self._cancel(export, cause, now)
        elif status is None or now - replaced_ms(export.execution) > REPLACE_EVERY_MS:
            self._replace(export, now)  # 1

    def _is_frozen(self, export: Export, now: int) -> bool:
        if export.state != "WRITING" or now - replaced_ms(export.execution) <= HEARTBEAT_MS:
            return False
        writing = [g for g in self._context.exports.groups(export.job_id) if g.record is None and g.error is None]
        return any(g.beat_at_ms is not None and now - g.beat_at_ms > HEARTBEAT_MS for g in writing)

    def _cancel(self, export: Export, cause: str, now: int) -> None:
        verdict, _ = self._context.exports.move(
            export.job_id,
            "CANCELLED",
            now_ms=now,
            cause=f"EXECUTION_STOPPED: the execution was stopped from outside{f' ({cause})' if cause else ''}"[:2000],
            expecting={"execution": export.execution},
        )
        if verdict is Change.APPLIED:
            _log.warning("export %s is cancelled: its execution was stopped", export.job_id)
            self._record("cancel export", export, state="CANCELLED", cause=cause)

    def _replace(self, export: Export, now: int) -> None:
        name = f"{export.job_id}-r{now}"
        execution = self._context.execution_arn(name, EXPORT_MACHINE)
        # As in `executions`: it belongs to the new execution before that begins.
        if not self._context.exports.adopt(export.job_id, gone=export.execution, execution=execution):
            return
        try:
            start_execution(self._context, {"resume": export.job_id}, name, EXPORT_MACHINE)
            _log.warning("export %s was %s and goes on in a new execution", export.job_id, export.state)
            self._record("replace execution", export, execution=execution)
        except (ClientError, BotoCoreError) as exc:
            _log.warning("export %s gets no new execution: %s", export.job_id, exc)

    def _end_old(self, export: Export, now: int) -> None:
        error = JobError(
            kind="system",
            code="JOB_TOO_OLD",
            message=f"the export was {export.state} for more than {MAX_JOB_AGE_S // 3600} hours; export again",
            detail={"state": export.state},
        )
        verdict, _ = self._context.exports.fail(export.job_id, error, now_ms=now)
        if verdict is Change.APPLIED:
            _log.error("export %s failed: %s", export.job_id, error.message)
            self._record("fail export", export, state="FAILED", code=error.code)
            stop_execution(self._context, export.job_id, export.execution, "the export was too old")

    def _record(self, action: str, export: Export, **after: str) -> None:
        before = {"state": export.state, "execution": export.execution}
        name = f"{export.tenant}/{export.audience}"
        record(self._context.audit, "sweeper", action, name, job_id=export.job_id, before=before, after=after)
