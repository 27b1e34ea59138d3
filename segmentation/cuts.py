"""Converts the cuts of a segment to partition announcements of a job, and checks each one.

The parts of the version are compared with the members that a cut reports, as with the verification of a file.
"""

from collections.abc import Sequence
from typing import Final

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition
from schemas.messages import PartitionFailed, PartitionMaterialised, ProgressMessage
from schemas.segment_messages import SegmentCut
from segmentation.completion import Broken, Complete, Completion, Waiting

CUT_ROWS: Final = RowSchema()
"""Columns of members: only user_id."""


def announcement(cut: SegmentCut, job_id: JobId, attempt: Attempt, *, rule_version: int) -> ProgressMessage:
    """The announcement of a partition's cut, for a job that requested members by one version of the rule."""
    if cut.rule_version != rule_version:
        has = f"rule version {cut.rule_version}" if cut.rule_version else "no such segment"
        fault = f"partition {cut.partition} has {has}, but version {rule_version} was requested"
    elif cut.digest.schema_id != CUT_ROWS.schema_id or cut.digest.count != cut.members:
        fault = f"partition {cut.partition} reports {cut.members} members, but its digest is {cut.digest}"
    elif (cut.part is None) != (cut.members == 0):
        fault = f"partition {cut.partition} reports {cut.members} members in {cut.part or 'no file'}"
    else:
        return PartitionMaterialised(
            import_id=job_id,
            attempt=attempt,
            partition=cut.partition,
            partitions=cut.partitions,
            chunks=0,
            records=cut.members,
            digest=cut.digest,
            distinct=cut.members,
            distinct_digest=cut.digest,
            part=cut.part,
            part_bytes=0,
        )
    return PartitionFailed(
        import_id=job_id,
        attempt=attempt,
        partition=cut.partition,
        partitions=cut.partitions,
        reason=fault,
        missing_count=0,
        missing=(),
        expected=cut.digest,
        actual=cut.digest,
    )


def cut_completion(attempt: Attempt, partitions: int, announced: Sequence[ProgressMessage]) -> Completion:
    """Complete if the newest attempt has a valid cut of every partition."""
    parts: dict[Partition, PartitionMaterialised] = {}
    for message in announced:
        if message.attempt != attempt:
            continue
        if message.partitions != partitions:
            fault = f"partition {message.partition} of {message.partitions} was cut, but the job has {partitions}"
            return Broken(attempt=attempt, fault=fault)
        if isinstance(message, PartitionFailed):
            return Broken(attempt=attempt, fault=message.reason)
        parts[message.partition] = message
    if len(parts) < partitions:
        return Waiting(done=len(parts))
    return Complete(attempt=attempt, partitions=tuple(parts[partition] for partition in sorted(parts)))


def members_of(found: Complete) -> tuple[Digest, ...]:
    """The digest of each partition's members, as reported."""
    return tuple(message.digest for message in found.partitions)
