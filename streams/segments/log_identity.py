"""Whether a checkpoint is of the log that is there: where Kafka was made anew, its offsets mean other records."""

from schemas.codec import CODEC
from schemas.errors import FatalError
from schemas.segment_messages import OwnerStarted
from schemas.topics import MEMBERSHIP_CHANGES
from segmentation.partitions.checkpoint import Checkpoint
from streams.segments.ports import Log


async def check_log(changes: Log, found: Checkpoint, generation: int) -> None:
    """By the log of changes, in which whoever takes over has just begun at the offset `generation`.

    That lies behind all that the checkpoint knows of, and the owner that wrote it lies where it says, unless it has
    expired. Raises `FatalError` OTHER_LOG.
    """
    known = found.generation < 0 or generation >= found.changes
    if known and found.started_at_us is not None:
        known = await _has_owner(changes, found.generation, found.started_at_us)
    if not known:
        partition = found.segments.partition
        raise FatalError(
            "OTHER_LOG",
            f"{MEMBERSHIP_CHANGES}/{partition}: the checkpoint of generation {found.generation} is of another log, as "
            "if Kafka had been made anew: its offsets mean other records here. Bring the old Kafka back.",
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
