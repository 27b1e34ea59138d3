"""How long jobs waited, stayed in each stage, and took in all: histograms, and the spans of a job and its stages.

The history of a job in the catalog has all of it, whatever process ran a stage. Durations are observed at each state
change that is announced, spans at the last one. A repeated announcement observes again; its spans have the same ids.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from orchestration.catalog.records import Job, Transition
from orchestration.kinds.compute_target import size_class
from orchestration.platform.settings import Settings
from schemas.counters import Counters
from schemas.log_ids import caller_trace
from schemas.messages import JobState
from schemas.metrics import QUEUE_WAIT, READY_SECONDS, STAGE_SECONDS
from schemas.tracing import Span, record_past, trace_of
from segmentation.jobs import FINAL

STAGES: Final[dict[JobState, str]] = {
    "REGISTERED": "queue",
    "VERIFYING": "verify",
    "IMPORTING": "import",
    "AWAITING": "materialise",
    "BUILDING": "build",
    "PUBLISHING": "publish",
}
STOPPED: Final = frozenset({"FAILED", "CANCELLED"})
MS: Final = 1_000_000
"""Nanoseconds."""


@dataclass(frozen=True, slots=True)
class Stay:
    """The time of a job in one state; `left` is the change that ended it."""

    state: JobState
    entered: Transition
    left: Transition

    @property
    def seconds(self) -> float:
        """How long it was; clocks can step back."""
        return max(0, self.left.at_ms - self.entered.at_ms) / 1000


def stays(history: Sequence[Transition]) -> Iterator[Stay]:
    """The states of a job that has left them. Each attempt adds a line in the same state."""
    entered: Transition | None = None
    for one in history:
        if entered is None:
            entered = one
        elif one.state != entered.state:
            yield Stay(entered.state, entered, one)
            entered = one


class JobDurations:
    """Puts durations of jobs into histograms, and records their spans."""

    def __init__(self, counters: Counters, settings: Settings) -> None:
        self._counters = counters
        self._settings = settings

    def observe(self, job: Job, history: Sequence[Transition], sequence: int) -> None:
        """Observe what ended with the change `sequence` of a history. A stage that was stopped is left out."""
        for stay in stays(history):
            if stay.left.sequence != sequence:
                continue
            if stay.left.state not in STOPPED:
                self._observe(job, stay)
            if stay.left.state in FINAL:
                _record(job, history, stay.left)

    def _observe(self, job: Job, stay: Stay) -> None:
        size = size_class(self._settings, job)
        if stay.state == "REGISTERED":
            self._counters.observe(QUEUE_WAIT, stay.seconds, size=size)
        else:
            self._counters.observe(STAGE_SECONDS, stay.seconds, stage=_stage(job, stay.state), size=size)
        if stay.left.state == "READY":
            took_s = max(0, stay.left.at_ms - job.created_at_ms) / 1000
            self._counters.observe(READY_SECONDS, took_s, size=size)


def _stage(job: Job, state: JobState) -> str:
    return "archive" if state == "AWAITING" and job.kind != "audience" else STAGES[state]


def _record(job: Job, history: Sequence[Transition], end: Transition) -> None:
    """Record the span of a job, and below it one for each stage. Their ids follow from that of the job."""
    parent = caller_trace(job.source)
    own = trace_of(job.job_id, parent)
    attributes = {"muster.job": job.job_id, "muster.kind": job.shown_kind, "muster.tenant": job.tenant}
    span = Span(
        name=f"{job.shown_kind} job",
        start_ns=job.created_at_ms * MS,
        end_ns=end.at_ms * MS,
        context=own,
        parent=parent,
        attributes={**attributes, "muster.state": end.state},
        error=job.error.code if end.state == "FAILED" and job.error is not None else None,
    )
    record_past(span)
    for stay in stays(history):
        record_past(
            Span(
                name=_stage(job, stay.state),
                start_ns=stay.entered.at_ms * MS,
                end_ns=stay.left.at_ms * MS,
                context=trace_of(f"{job.job_id}/{stay.entered.sequence}", own),
                parent=own,
                attributes={"muster.job": job.job_id, "muster.attempt": stay.left.attempt},
            )
        )
