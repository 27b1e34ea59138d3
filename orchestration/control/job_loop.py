"""Admission of waiting jobs, and answers to those whose executions wait."""

from collections.abc import Sequence

from orchestration.catalog.admission import WAITING_STATE
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Job
from orchestration.control.task_answers import TaskAnswers
from schemas.log_ids import bound
from segmentation.admission import Lanes


class JobLoop:
    """Admits jobs and answers those that wait. `live`: the live jobs as of the last round."""

    def __init__(self, jobs: JobStore, lanes: Lanes, answers: TaskAnswers) -> None:
        self.live: Sequence[Job] = ()
        self._jobs = jobs
        self._lanes = lanes
        self._answers = answers

    def tick(self, now: int) -> bool:
        """Admit waiting jobs and answer every live job; returns True if there are any. Raises as the catalog does."""
        jobs = self._jobs
        self.live = jobs.live()
        if any(job.state == WAITING_STATE for job in self.live) and jobs.admit(self._lanes, now_ms=now):
            self.live = jobs.live()
        for job in self.live:
            with bound(**job.log_ids):
                self._answers.answer(job, now)
        self._answers.forget_all_but(self.live)
        return bool(self.live)
