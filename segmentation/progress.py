"""Tracks the messages of one partition of one attempt of an import, and whether they add up: a fold.

Rules (numbered as in docs/delivery-guarantees.md):
1. Completeness is the *set* of seqs 0..chunks-1; counts and digests must equal those of the end marker, exactly.
   Duplicates are recognised by seq, attempts never mix, order does not matter.
2. The end marker decides once: missing chunks stay missing, since the marker is sent after the broker has acknowledged
   every chunk. A redelivered marker gets the same decision.
3. An abort drops all state of the attempt; later messages are skipped.

The fold holds no rows. `step` returns the effect of a message; the caller carries it out and keeps the new state.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Self, assert_never

from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition, Seq
from schemas.messages import ImportAborted, ImportEnded, ImportMessage, ImportStarted, PartitionFailed, UserChunk

MISSING_LISTED: Final = 100
"""Maximum number of missing seqs that a PartitionFailed lists; `missing_count` counts all."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class GroupKey:
    """One partition of one attempt of one import: the unit that is reconciled."""

    import_id: JobId
    attempt: Attempt
    partition: Partition

    @classmethod
    def of(cls, message: ImportMessage) -> Self:
        """The group that a message belongs to."""
        return cls(import_id=message.import_id, attempt=message.attempt, partition=message.partition)


Outcome = Literal["open", "reconciled", "failed", "finished", "aborted"]
"""open: no end marker yet; reconciled: all chunks are here, the part is not announced yet; finished: it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """State of one group: the digest of every chunk seen, by seq, and the decision of the end marker."""

    key: GroupKey
    seen: Mapping[Seq, Digest] = field(default_factory=dict)
    conflicts: frozenset[Seq] = frozenset()  # seqs that came with two different contents
    outcome: Outcome = "open"

    @classmethod
    def resume(
        cls,
        key: GroupKey,
        *,
        staged: Iterable[tuple[Seq, Digest]] = (),
        finished: bool = False,
        aborted: bool = False,
    ) -> Self:
        """State of a group as a new owner finds it: `staged` lists the chunks in the footers of its runs."""
        seen: dict[Seq, Digest] = {}
        conflicts: set[Seq] = set()
        for seq, digest in staged:
            if seen.setdefault(seq, digest) != digest:
                conflicts.add(seq)
        outcome: Outcome = "aborted" if aborted else "finished" if finished else "open"
        return cls(key=key, seen=seen, conflicts=frozenset(conflicts), outcome=outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """The chunk is new: make its rows durable, then acknowledge it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Do nothing; the message may be acknowledged after those before it."""

    why: Literal["start", "duplicate", "conflict", "settled", "aborted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """All chunks have arrived: make the runs and the merge intent durable, then acknowledge the marker."""

    marker: ImportEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The partition does not reconcile: announce that, then acknowledge the marker."""

    failure: PartitionFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceAgain:
    """The part exists: announce it again, since the first announcement may have been missed, then acknowledge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Drop the buffered rows, remove runs and intents, then acknowledge the message."""


Effect = Keep | Skip | Merge | Report | AnnounceAgain | Drop


def step(state: Progress, message: ImportMessage) -> tuple[Progress, Effect]:
    """Fold one message into the state. Raises ValueError for a message of another group."""
    if GroupKey.of(message) != state.key:
        raise ValueError(f"{type(message).__name__} of {GroupKey.of(message)} does not belong to {state.key}")
    match message:
        case ImportStarted():
            return state, Skip(why="start")
        case UserChunk():
            return _add(state, message)
        case ImportEnded():
            return _end(state, message)
        case ImportAborted():
            return Progress(key=state.key, outcome="aborted"), Drop()
        case _:
            assert_never(message)


def failure(state: Progress, marker: ImportEnded) -> PartitionFailed | None:
    """Why a group does not reconcile with its end marker, or None if it does (rule 1)."""
    expected = range(marker.chunks)
    missing = [Seq(seq) for seq in expected if seq not in state.seen]
    unexpected = sorted(seq for seq in state.seen if seq not in expected)
    foreign = [seq for seq, digest in state.seen.items() if digest.schema_id != marker.digest.schema_id]
    actual = Digest.total(
        marker.digest.schema_id, (d for d in state.seen.values() if d.schema_id == marker.digest.schema_id)
    )
    reasons = []
    if missing:
        reasons.append(f"{len(missing)} of {marker.chunks} chunks are missing")
    if unexpected:
        reasons.append(f"{len(unexpected)} chunks have a seq past the {marker.chunks} that were sent")
    if state.conflicts:
        reasons.append(f"seq {min(state.conflicts)} came with two different contents")
    if foreign:
        reasons.append(f"{len(foreign)} chunks have another schema than {marker.digest.schema_id}")
    if marker.records != marker.digest.count:
        reasons.append(f"the marker declares {marker.records} records, but its digest {marker.digest.count}")
    if actual.count != marker.records:
        reasons.append(f"{actual.count} records, but the marker declares {marker.records}")
    elif actual != marker.digest:
        reasons.append("the digest differs from the marker's")
    if not reasons:
        return None
    return PartitionFailed(
        import_id=marker.import_id,
        attempt=marker.attempt,
        partition=marker.partition,
        partitions=marker.partitions,
        reason="; ".join(reasons),
        missing_count=len(missing),
        missing=tuple(missing[:MISSING_LISTED]),
        expected=marker.digest,
        actual=actual,
    )


def _add(state: Progress, chunk: UserChunk) -> tuple[Progress, Effect]:
    match state.outcome:
        case "aborted":
            return state, Skip(why="aborted")
        case "reconciled" | "failed" | "finished":
            return state, Skip(why="settled")
        case "open":
            known = state.seen.get(chunk.seq)
            if known is None:
                return replace(state, seen={**state.seen, chunk.seq: chunk.digest}), Keep()
            if known == chunk.digest:
                return state, Skip(why="duplicate")
            return replace(state, conflicts=state.conflicts | {chunk.seq}), Skip(why="conflict")
        case _:
            assert_never(state.outcome)


def _end(state: Progress, marker: ImportEnded) -> tuple[Progress, Effect]:
    match state.outcome:
        case "aborted":
            return state, Skip(why="aborted")
        case "finished":
            return state, AnnounceAgain()
        case "open" | "reconciled" | "failed":
            if (report := failure(state, marker)) is not None:
                return replace(state, outcome="failed"), Report(failure=report)
            return replace(state, outcome="reconciled"), Merge(marker=marker)
        case _:
            assert_never(state.outcome)
