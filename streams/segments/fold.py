"""Folds records and rule messages into the segments of a partition; pure, except that a new rule reads the past."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.codec import CODEC, UndecodableError
from schemas.dead_letters import dead_letter
from schemas.errors import UserError
from schemas.messages import DeadLetter
from schemas.segment_messages import AudienceActivated, CutRequested, RuleActivated, SegmentDeleted, SegmentPaused
from schemas.topics import EVENTS, PROFILES, SEGMENT_ACTIVATIONS
from segmentation.intake.events import EventIntake, ingest_events
from segmentation.intake.profiles import ProfileIntake, ingest_profiles
from segmentation.intake.tenants import Existed
from segmentation.intake.topic_records import Move
from segmentation.partitions.partition import Emission, PartitionSegments
from segmentation.partitions.tenant import PartitionHistory
from streams.segments.inputs import Drained, Input
from streams.segments.snapshots import PendingSnapshots


@dataclass(slots=True)
class FoldResult:
    """Output of a fold besides the state. `folded`: topic, records, rows."""

    folded: list[tuple[str, int, int]] = field(default_factory=list)
    emitted: list[Emission] = field(default_factory=list)
    moves: list[tuple[str, Move]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


def fold_records(
    segments: PartitionSegments,
    batches: Mapping[str, Drained],
    inputs: Mapping[str, Input],
    partitions: int,
    now_us: int,
    existed: Existed,
) -> FoldResult:
    """Take records of both topics, then advance time to now. Raises what `existed` raises."""
    out = FoldResult()
    if (end := batches[EVENTS].end) > inputs[EVENTS].position:
        event_intake = ingest_events(batches[EVENTS].records, partitions, existed)
        out.emitted += segments.apply_events(event_intake.rows, end, now_us)
        inputs[EVENTS].processed(batches[EVENTS], event_intake.rows)
        out.folded.append((EVENTS, event_intake.records, event_intake.rows.num_rows))
        out.moves += [(EVENTS, move) for move in event_intake.moves]
        out.letters += _letters(event_intake, now_us, inputs[EVENTS].base)
    if (end := batches[PROFILES].end) > inputs[PROFILES].position:
        profile_intake = ingest_profiles(batches[PROFILES].records, partitions, existed)
        out.emitted += segments.apply_profiles(profile_intake.rows, end, now_us)
        inputs[PROFILES].processed(batches[PROFILES], profile_intake.rows)
        out.folded.append((PROFILES, profile_intake.records, profile_intake.rows.num_rows))
        out.letters += _letters(profile_intake, now_us, inputs[PROFILES].base)
    out.emitted += segments.advance(now_us)
    return out


def fold_activation(
    segments: PartitionSegments, snapshots: PendingSnapshots, record: Any, history: PartitionHistory, now_us: int
) -> FoldResult:
    """Apply one record of the activations. An invalid one becomes a dead letter and is skipped."""
    out = FoldResult(emitted=segments.advance(now_us))  # separate: a refused message does not take these along
    try:
        message = CODEC.decode(record.value)
        match message:
            case CutRequested():
                snapshots.request(message, record.offset, segments.position)
                segments.skip_to(activations=record.offset + 1)
            case RuleActivated() | SegmentPaused() | SegmentDeleted() | AudienceActivated():
                out.emitted += segments.activate(message, record.offset, history, now_us)
            case _:
                raise UndecodableError(f"a {type(message).__name__} does not belong in {SEGMENT_ACTIVATIONS}")
    except (UndecodableError, UserError) as exc:
        segments.skip_to(activations=record.offset + 1)
        out.letters.append(
            dead_letter(
                topic=SEGMENT_ACTIVATIONS,
                partition=segments.partition,
                offset=record.offset,
                key=record.key,
                value=record.value,
                reason=str(exc),
                now_us=now_us,
            )
        )
    return out


def _letters(intake: EventIntake | ProfileIntake, now_us: int, base: int) -> list[DeadLetter]:
    """Dead letters with the offset of the record in the log, which people look up."""
    letters = [
        record.dead_letter(refusal, now_us) for record, refusal in zip(intake.refused, intake.refusals, strict=True)
    ]
    return [replace(letter, offset=letter.offset - base) for letter in letters] if base else letters
