"""How long jobs waited, stayed in each stage, and took in all: observed at each state change that is announced.

The history of a job in the catalog has all of it, whatever process ran a stage. A repeated announcement observes again.
"""

from collections.abc import Sequence
from typing import Final

from orchestration.catalog.records import Job, Transition
from orchestration.kinds.compute_target import size_class
from orchestration.platform.settings import Settings
from schemas.counters import Counters
from schemas.messages import JobState
from schemas.metrics import QUEUE_WAIT, READY_SECONDS, STAGE_SECONDS

STAGES: Final[dict[JobState, str]] = {
    "VERIFYING": "verify",
    "IMPORTING": "import",
    "AWAITING": "materialise",
    "BUILDING": "build",
    "PUBLISHING": "publish",
}
STOPPED: Final = frozenset({"FAILED", "CANCELLED"})


class JobDurations:
    """Puts durations of jobs into histograms."""

    def __init__(self, counters: Counters, settings: Settings) -> None:
        self._counters = counters
        self._settings = settings

    def observe(self, job: Job, history: Sequence[Transition], sequence: int) -> None:
        """Observe what ended with the change `sequence` of a history. A stage that was stopped is left out."""
        upto = [one for one in history if one.sequence <= sequence]
        if len(upto) < 2 or upto[-1].state in STOPPED or upto[-1].state == upto[-2].state:
            return
        new, left = upto[-1], upto[-2].state
        entered = upto[-2]
        for one in reversed(upto[:-1]):  # each attempt adds a line in the same state
            if one.state != left:
                break
            entered = one
        size, seconds = size_class(self._settings, job), max(0, new.at_ms - entered.at_ms) / 1000
        if left == "REGISTERED":
            self._counters.observe(QUEUE_WAIT, seconds, size=size)
        elif left in STAGES:
            archived = left == "AWAITING" and job.kind != "audience"
            self._counters.observe(STAGE_SECONDS, seconds, stage="archive" if archived else STAGES[left], size=size)
        if new.state == "READY":
            self._counters.observe(READY_SECONDS, max(0, new.at_ms - job.created_at_ms) / 1000, size=size)
