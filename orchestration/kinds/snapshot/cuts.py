"""The partitions' answers to a snapshot, kept like the announcements of an import, with their log positions."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from orchestration.catalog.jobs import JobStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import Job, PartitionProgress
from orchestration.kinds.builds import CutAsked
from orchestration.kinds.materialised import as_row, from_row
from schemas.segment_messages import SegmentCut
from segmentation.completion import Completion
from segmentation.cuts import announcement, cut_completion

POSITION_FIELDS: Final = ("at_us", "events", "profiles", "activations", "changes", "generation")
"""Log position of a cut: the offsets that it includes, and from which generation and offset on changes follow it."""


def put_cuts(jobs: JobStore, progress: ProgressStore, cuts: Iterable[SegmentCut], now_ms: int) -> None:
    """Keep answers to waiting snapshots; the first answer of a partition wins. Cuts of other requesters are ignored."""
    waiting = {}
    for job in jobs.live():
        if job.segment is not None and job.build is not None:
            waiting[CutAsked.of(job).cut_id] = job
    if rows := [_row(waiting[cut.cut_id], cut, now_ms) for cut in cuts if cut.cut_id in waiting]:
        progress.put_partitions(rows)


def cut_completion_of(progress: ProgressStore, job: Job) -> Completion:
    """Whether every partition has answered the newest attempt, as far as the catalog knows."""
    announced = [from_row(row) for row in progress.partitions(job.job_id)]
    return cut_completion(job.attempt, job.partitions, announced)


def cut_positions(progress: ProgressStore, job: Job) -> list[dict[str, Any]]:
    """Log position of each partition's cut: {partition, and the names in `POSITION_FIELDS`}."""
    return [
        {"partition": row.partition, **row.record["cut"]}
        for row in progress.partitions(job.job_id)
        if row.attempt == job.attempt
    ]


def _row(job: Job, cut: SegmentCut, now_ms: int) -> PartitionProgress:
    message = announcement(cut, job.job_id, job.attempt, rule_version=CutAsked.of(job).rule_version)
    row = as_row(message, now_ms)
    return replace(row, record={**row.record, "cut": {name: getattr(cut, name) for name in POSITION_FIELDS}})
