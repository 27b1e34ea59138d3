"""Decides when an import is complete: the stream's announcements are compared with verification's own counts.

Any fully reconciled attempt of the pinned object may be published; an older one may win.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.digest import Digest
from schemas.ids import Attempt
from schemas.messages import PartitionFailed, PartitionMaterialised, ProgressMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Every partition of `attempt` matches its markers and the verification."""

    attempt: Attempt
    partitions: tuple[PartitionMaterialised, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """`attempt`, the newest, can no longer become complete; `fault` names the partition and the difference."""

    attempt: Attempt
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not yet complete: `done` of P partitions of the newest attempt have materialised."""

    done: int


Completion = Complete | Broken | Waiting


def completion(attempt: Attempt, verified: Sequence[Digest], announced: Sequence[ProgressMessage]) -> Completion:
    """Decide from the newest attempt, the verified digest of each partition, and all announcements of the job."""
    by_attempt: dict[Attempt, dict[int, ProgressMessage]] = {}
    for message in announced:
        by_attempt.setdefault(message.attempt, {})[message.partition] = message
    for candidate in sorted(by_attempt, reverse=True):
        if parts := _reconciled(verified, by_attempt[candidate]):
            return Complete(attempt=candidate, partitions=parts)
    newest = by_attempt.get(attempt, {})
    for partition in sorted(newest):
        if (fault := _fault(verified, newest[partition])) is not None:
            return Broken(attempt=attempt, fault=fault)
    return Waiting(done=len(newest))


def complete_attempt(
    attempt: Attempt, verified: Sequence[Digest], announced: Sequence[ProgressMessage]
) -> Complete | None:
    """One attempt, if all of its partitions have reconciled."""
    parts = _reconciled(verified, {m.partition: m for m in announced if m.attempt == attempt})
    return None if parts is None else Complete(attempt=attempt, partitions=parts)


def _reconciled(
    verified: Sequence[Digest], announced: Mapping[int, ProgressMessage]
) -> tuple[PartitionMaterialised, ...] | None:
    parts = []
    for partition in range(len(verified)):
        message = announced.get(partition)
        if not isinstance(message, PartitionMaterialised) or _fault(verified, message) is not None:
            return None
        parts.append(message)
    return tuple(parts)


def _fault(verified: Sequence[Digest], message: ProgressMessage) -> str | None:
    if message.partitions != len(verified) or not 0 <= message.partition < len(verified):
        return f"partition {message.partition} of {message.partitions} was announced, but the job has {len(verified)}"
    if isinstance(message, PartitionFailed):
        missing = (
            f"; {message.missing_count} chunks missing, first {list(message.missing[:5])}" if message.missing else ""
        )
        return (
            f"partition {message.partition} did not reconcile: {message.reason}; expected {message.expected}, "
            f"arrived {message.actual}{missing}"
        )
    expected = verified[message.partition]
    if message.digest != expected or message.records != expected.count:
        return (
            f"partition {message.partition}: the stream has {message.records} records with digest {message.digest}, "
            f"but verification has {expected.count} with {expected}"
        )
    return None
