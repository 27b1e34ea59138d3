"""Whether a checkpoint is of the log that is there: where Kafka was made anew, its offsets mean other records."""

from schemas.codec import CODEC
from schemas.errors import FatalError
from schemas.segment_messages import OwnerStarted
from schemas.topics import MEMBERSHIP_CHANGES
from segmentation.partitions.checkpoint import Checkpoint
from streams.segments.environment import Log


async def is_of(changes: Log, found: Checkpoint, end: int) -> bool:
    """Whether a checkpoint is of this log of changes, which has come to the offset `end` by now.

    That lies behind all that the checkpoint knows of, and the owner that wrote it lies where it says, unless it has
    expired.
    """
    if found.generation < 0:
        return True
    if end < found.changes:
        return False
    return found.started_at_us is None or await _has_owner(changes, found.generation, found.started_at_us)


def other_log(found: Checkpoint) -> FatalError:
    """What to say where it is not."""
    partition = found.segments.partition
    return FatalError(
        "OTHER_LOG",
        f"{MEMBERSHIP_CHANGES}/{partition}: the checkpoint of generation {found.generation} is of another log, as "
        "if Kafka had been made anew: its offsets mean other records here. Bring the old Kafka back; where it is lost: "
        "muster segments begin-anew",
        partition=partition,
        generation=found.generation,
        changes=found.changes,
    )


async def _has_owner(changes: Log, generation: int, started_at_us: int) -> bool:
    try:
        await changes.start(generation)
        async for record in changes.read_to(generation + 1):
            message = CODEC.decode(record.value)
            begun = isinstance(message, OwnerStarted) and message.started_at_us == started_at_us
            return begun or record.offset > generation  # it has expired
        return True  # as above, and what is behind it is not there yet
    finally:
        await changes.stop()
