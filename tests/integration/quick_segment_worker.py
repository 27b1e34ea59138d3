"""`python -m tests.integration.quick_segment_worker`: a quick segment worker, which may be killed once."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from orchestration.entrypoints import segment_worker
from orchestration.platform.ending import end
from schemas.segment_messages import MembershipChanges
from streams.segments import checkpoints
from streams.segments import partition_task as owner
from streams.segments.environment import send_all
from tests.integration.quick import quick, reached

ARCHIVE_AFTER_S: Final = 1.0
"""Each file is a commit to the lake, which costs more than all other work on its rows."""
EMITTED_BEHIND_CHECKPOINTS: Final = "changes are emitted behind the checkpoints of all partitions, and not archived"


def main() -> int:
    """Exit code of the worker."""
    configure, save = segment_worker.segment_worker_config, checkpoints.save
    kept: set[int] = set()
    partitions = 0

    def config(*given: Any) -> Any:
        nonlocal partitions
        made = configure(*given)
        partitions = made.partitions
        return replace(quick(made, "status_after_s", "gap_after_s"), archive_after_s=ARCHIVE_AFTER_S)

    def saves(store: Any, bucket: str, checkpoint: Any) -> int:
        size = save(store, bucket, checkpoint)
        kept.add(checkpoint.segments.partition)
        return size

    async def sends(ports: Any, sent: Iterable[Any]) -> list[int]:
        messages = list(sent)
        offsets = await send_all(ports, messages)
        if len(kept) == partitions and any(isinstance(message, MembershipChanges) for *_, message in messages):
            reached(EMITTED_BEHIND_CHECKPOINTS)
        return offsets

    vars(segment_worker)["segment_worker_config"] = config
    vars(checkpoints)["save"] = saves
    vars(owner)["send_all"] = sends
    return segment_worker.main()


if __name__ == "__main__":
    end(main())
