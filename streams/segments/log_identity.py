"""Checks that a checkpoint belongs to the current log: in a recreated Kafka, its offsets mean other records."""

from schemas.errors import FatalError
from schemas.segment_messages import OwnerStarted
from schemas.topics import MEMBERSHIP_CHANGES
from segmentation.partitions.checkpoint import Checkpoint
from streams.segments.change_records import change_of
from streams.segments.environment import Log


async def log_matches(changes: Log, found: Checkpoint, end: int) -> bool:
    """True if a checkpoint belongs to this log of changes, whose end is now the offset `end`.

    The end must lie at or after everything the checkpoint knows, and the owner that wrote the checkpoint must be at its
    recorded offset, unless that has expired.
    """
    if found.generation < 0:
        return True
    if end < found.changes:
        return False
    return found.started_at_us is None or await _has_owner(changes, found.generation, found.started_at_us)


async def started_later(changes: Log, found: Checkpoint, generation: int) -> bool:
    """True if the owner that wrote a checkpoint started in this log, after the owner of a generation."""
    if found.generation <= generation:
        return False
    try:
        await changes.start(found.generation)
        if await changes.end() <= found.generation:
            return False
        async for record in changes.read_to(found.generation + 1):
            message = change_of(record)
            is_owner = isinstance(message, OwnerStarted) and message.started_at_us == found.started_at_us
            return is_owner and record.offset == found.generation
        return False
    finally:
        await changes.stop()


def foreign_log(found: Checkpoint) -> FatalError:
    """The error for a checkpoint that belongs to another log."""
    partition = found.segments.partition
    return FatalError(
        "OTHER_LOG",
        f"{MEMBERSHIP_CHANGES}/{partition}: the checkpoint of generation {found.generation} belongs to another log, "
        "as if Kafka had been recreated: its offsets refer to other records here. Restore the old Kafka; if it is "
        "lost, run muster segments rebase",
        partition=partition,
        generation=found.generation,
        changes=found.changes,
    )


async def _has_owner(changes: Log, generation: int, started_at_us: int) -> bool:
    try:
        await changes.start(generation)
        async for record in changes.read_to(generation + 1):
            message = change_of(record)
            is_owner = isinstance(message, OwnerStarted) and message.started_at_us == started_at_us
            return is_owner or record.offset > generation  # the owner's record has expired
        return True  # expired too, with no later record yet
    finally:
        await changes.stop()
