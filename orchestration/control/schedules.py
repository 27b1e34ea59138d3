"""Recurring imports and exports: runs start when they are due, here and on AWS.

1. A due schedule starts its workflow under a name derived from the schedule and the due time, so that two instances, or
   one that died before 2, start a single execution. Of several missed times only the latest is run.
2. The run and the next due time are recorded, unless another instance has done so.
3. A started run is watched until its job or export is registered: a lost execution is started again; one that ended
   without registering was refused, and the schedule shows why.
A start that fails is retried until the next run is due; the schedule shows why meanwhile.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from orchestration.catalog.exports import ExportStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.schedules import Schedule, ScheduleStore
from orchestration.control.periodic import REST_S
from orchestration.notifications.outbox import Outbox
from orchestration.operations.schedules import registered, start_run
from orchestration.workflow.engine import WorkflowEngine
from schemas.errors import FatalError, MusterError
from schemas.ids import JobId
from schemas.log_ids import bind

RETRY_AFTER_MS: Final = 15_000
"""Delay before a failed start is retried."""
SOON_MS: Final = int(2 * REST_S * 1000)
_log = logging.getLogger(__name__)


class Schedules:
    """Runs all schedules. Steps are numbered as in the module docstring."""

    def __init__(
        self,
        schedules: ScheduleStore,
        *,
        jobs: JobStore,
        exports: ExportStore,
        outbox: Outbox,
        engine: WorkflowEngine,
    ) -> None:
        self._schedules = schedules
        self._jobs = jobs
        self._exports = exports
        self._outbox = outbox
        self._engine = engine
        self._not_before_ms: dict[JobId, int] = {}

    def tick(self, now_ms: int) -> bool:
        """Start what is due; returns True if a run is due soon, or one has no outcome yet.

        Raises `RetriableError` CATALOG_UNAVAILABLE; other errors are logged and retried.
        """
        soon = self._schedules.due(now_ms + SOON_MS)
        for schedule in soon:
            bind(tenant=schedule.tenant)
            due_ms = max(schedule.next_due_ms or 0, self._not_before_ms.get(schedule.schedule_id, 0))
            if now_ms >= due_ms:
                self._run(schedule, now_ms)
        started = self._schedules.without_outcome()
        for schedule in started:
            bind(tenant=schedule.tenant)
            self._record_outcome(schedule)
        return bool(soon or started)

    def _run(self, schedule: Schedule, now_ms: int) -> None:
        try:
            due = schedule.times.until(now_ms)
            if due is None:
                raise FatalError("SCHEDULE_DAMAGED", f"schedule {schedule.name} is due, but has no run time before now")
            execution = start_run(self._engine, schedule, due)  # 1
            next_due = schedule.times.after(due)
        except MusterError as exc:
            _log.warning("cannot start schedule %s: %s", schedule.name, exc)
            self._not_before_ms[schedule.schedule_id] = now_ms + RETRY_AFTER_MS
            self._schedules.put_trouble(schedule.schedule_id, schedule.next_due_ms, exc.as_record())
            return
        self._not_before_ms.pop(schedule.schedule_id, None)
        recorded = self._schedules.record_run(  # 2
            schedule.schedule_id,
            seen_ms=schedule.next_due_ms,
            due_ms=due,
            execution=execution,
            next_due_ms=next_due,
        )
        if recorded:
            _log.info("schedule %s: the run due at %d is %s", schedule.name, due, execution)

    def _record_outcome(self, schedule: Schedule) -> None:  # 3
        due = schedule.last_due_ms
        if due is None:
            return
        try:
            outcome = registered(self._jobs, self._exports, schedule, due)
            if outcome is None:
                ended = self._ended(schedule)
                # It may have registered its job between the two queries.
                outcome = None if ended is None else registered(self._jobs, self._exports, schedule, due) or ended
        except MusterError as exc:
            if exc.code == "CATALOG_UNAVAILABLE":
                raise
            _log.warning("cannot look up the last run of schedule %s: %s", schedule.name, exc)
            return
        if outcome is not None:
            self._schedules.record_outcome(schedule.schedule_id, due, outcome)

    def _ended(self, schedule: Schedule) -> Mapping[str, Any] | None:
        """Why the last run ended without a job. None if it is running or has to be started again."""
        found = self._engine.describe(schedule.last_execution)
        if found is None and schedule.last_due_ms is not None:
            _log.warning("restarting the lost run of schedule %s", schedule.name)
            start_run(self._engine, schedule, schedule.last_due_ms)
        if found is None or found.running:
            return None
        causes = [row.body["cause"] for row in self._outbox.by_subject(str(schedule.last_execution))]
        ended = {"kind": "system", "code": "NOT_REGISTERED", "message": f"the execution is {found.status}"}
        return {"refused": next(iter(causes), None) or ended}
