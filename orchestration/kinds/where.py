"""Where a step runs: in a function, in a task of its own, or on a machine that is started for it.

By the bytes of the source that it has to do with, which the view reckons (`kinds.records`). The state machine's choices
go by the answer; the step writes down where it really ran (`orchestration.kinds.stage_reports`).
"""

from typing import Final, Literal

from orchestration.platform.settings import Settings

Place = Literal["function", "task", "machine"]
"""`function`: AWS Lambda. `task`: Amazon ECS on Fargate. `machine`: ECS on EC2, by a capacity provider. Here, all three
are processes of this machine, or the latter two containers."""

MEMBER_BYTES: Final = 64
"""What a member of the version that is merged or published counts for: about its row in a file that brings it anew, a
user_id of 36 characters and a few attributes. 256 MiB are four million members, 64 GiB a thousand million."""
COMPARED: Final = 8
"""Members that are only compared with those of the next version, for each one that is merged: they take as long."""


def place_of(settings: Settings, work_bytes: int) -> Place:
    """Where a step that has to do with so many bytes of source runs."""
    if work_bytes <= settings.lambda_file_bytes:
        return "function"
    return "task" if work_bytes <= settings.fargate_file_bytes else "machine"
