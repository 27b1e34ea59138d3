"""How long jobs waited, stayed in each stage, and took in all: histograms, and the spans of a job and its stages.

The history of a job in the catalog has all of it, whatever process ran a stage. Durations are observed at each state
change that is announced, spans at the last one. A repeated announcement observes again; its spans have the same ids.
Exports announce nothing: all of theirs is observed when what they leave has been removed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from orchestration.catalog.records import Export, ExportTransition, Job, Transition
from orchestration.kinds.compute_target import size_class
from orchestration.platform.settings import Settings
from schemas.counters import Counters
from schemas.log_ids import caller_trace
from schemas.messages import JobState
from schemas.metrics import QUEUE_WAIT, READY_SECONDS, STAGE_SECONDS
from schemas.tracing import Span, record_past, trace_of
from segmentation.export_jobs import ExportState
from segmentation.jobs import FINAL

STAGES: Final[dict[JobState, str]] = {
    "REGISTERED": "queue",
    "VERIFYING": "verify",
    "IMPORTING": "import",
    "AWAITING": "materialise",
    "BUILDING": "build",
    "PUBLISHING": "publish",
}
EXPORT_STAGES: Final[dict[ExportState, str]] = {
    "AWAITING": "snapshot",
    "REGISTERED": "queue",
    "WRITING": "write",
    "FINISHING": "finish",
}
EXPORT: Final = "export"
STOPPED: Final = frozenset({"FAILED", "CANCELLED"})
MS: Final = 1_000_000
"""Nanoseconds."""
Change = TypeVar("Change", Transition, ExportTransition)


@dataclass(frozen=True, slots=True)
class Stay(Generic[Change]):
    """The time of a job in one state, from the change with this number in its history to the one that ended it."""

    number: int
    entered: Change
    left: Change

    @property
    def seconds(self) -> float:
        """How long it was; clocks can step back."""
        return max(0, self.left.at_ms - self.entered.at_ms) / 1000


def stays(history: Sequence[Change]) -> Iterator[Stay[Change]]:
    """The states of a job that has left them. Each attempt adds a line in the same state."""
    number = 0
    for n, one in enumerate(history):
        if one.state != history[number].state:
            yield Stay(number + 1, history[number], one)
            number = n


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
                self._observe(job, stay, _stage(job, stay.entered.state), size_class(self._settings, job))
            if stay.left.state in FINAL:
                named = [(each, _stage(job, each.entered.state), each.left.attempt) for each in stays(history)]
                _record(job, job.shown_kind, job.source, named)

    def observe_export(self, export: Export, history: Sequence[ExportTransition]) -> None:
        """Observe an export that has ended. Stopped stages are left out, and ends that a restored backup undid."""
        known = [stay for stay in stays(history) if stay.entered.state in EXPORT_STAGES]
        named = [(stay, EXPORT_STAGES[stay.entered.state], 1) for stay in known]
        for stay, stage, _ in named:
            if stay.left.state not in STOPPED:
                self._observe(export, stay, stage, EXPORT)
        if named:
            _record(export, EXPORT, export.request, named)

    def _observe(self, job: Job | Export, stay: Stay[Any], stage: str, size: str) -> None:
        if stay.entered.state == "REGISTERED":
            self._counters.observe(QUEUE_WAIT, stay.seconds, size=size)
        else:
            self._counters.observe(STAGE_SECONDS, stay.seconds, stage=stage, size=size)
        if stay.left.state == "READY":
            took_s = max(0, stay.left.at_ms - job.created_at_ms) / 1000
            self._counters.observe(READY_SECONDS, took_s, size=size)


def _stage(job: Job, state: JobState) -> str:
    return "archive" if state == "AWAITING" and job.kind != "audience" else STAGES[state]


def _record(
    job: Job | Export, kind: str, caller: Mapping[str, Any], stages: Sequence[tuple[Stay[Any], str, int]]
) -> None:
    """Record the span of a job, and below it one for each stage. Their ids follow from that of the job.

    `caller`: the record with the request that has started it; `stages`: with the name and the attempt of each.
    """
    parent = caller_trace(caller)
    own, end = trace_of(job.job_id, parent), stages[-1][0].left
    attributes = {"muster.job": job.job_id, "muster.kind": kind, "muster.tenant": job.tenant}
    span = Span(
        name=f"{kind} job",
        start_ns=job.created_at_ms * MS,
        end_ns=end.at_ms * MS,
        context=own,
        parent=parent,
        attributes={**attributes, "muster.state": end.state},
        error=job.error.code if end.state == "FAILED" and job.error is not None else None,
    )
    record_past(span)
    for stay, name, attempt in stages:
        record_past(
            Span(
                name=name,
                start_ns=stay.entered.at_ms * MS,
                end_ns=stay.left.at_ms * MS,
                context=trace_of(f"{job.job_id}/{stay.number}", own),
                parent=own,
                attributes={"muster.job": job.job_id, "muster.attempt": attempt},
            )
        )
