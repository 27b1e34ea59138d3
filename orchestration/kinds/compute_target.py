"""Where a stage runs: in a function, in its own task, or on a machine that is started for it.

It depends on the bytes that the stage processes (`kinds.records`). The state machine chooses by it; the stage reports
where it actually ran (`orchestration.kinds.stage_reports`).
"""

from typing import Final, Literal

from orchestration.catalog.records import Job
from orchestration.platform.settings import Settings

ComputeTarget = Literal["function", "task", "machine"]
"""`function`: AWS Lambda. `task`: Amazon ECS on Fargate. `machine`: ECS on EC2, by a capacity provider. Here, all three
are processes of this machine, or the latter two containers."""

MEMBER_BYTES: Final = 64
"""Bytes that a member of a merged or published version counts for: about its row in a file, a user_id of 36 characters
and a few attributes. 256 MiB are four million members, 64 GiB a billion."""
FILE_BYTES: Final = 1024 * 1024
"""Read in the time that it takes to open one more file, at the rates of `kinds.timeouts`: half a second."""
COMPARED: Final = 8
"""Members that are compared in the time in which one is merged."""


def compute_target(settings: Settings, work_bytes: int) -> ComputeTarget:
    """Where a stage that processes this many bytes runs."""
    if work_bytes <= settings.lambda_file_bytes:
        return "function"
    return "task" if work_bytes <= settings.fargate_file_bytes else "machine"


def size_class(settings: Settings, job: Job) -> Literal["small", "medium", "large", "segment"]:
    """The class by which durations of jobs are compared: the lane of small files, what fits into a function, the rest.

    A snapshot of a segment has no file.
    """
    if job.segment is not None:
        return "segment"
    if job.small:
        return "small"
    return "medium" if int(job.source.get("size", 0)) <= settings.lambda_file_bytes else "large"
