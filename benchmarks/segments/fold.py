"""The fold of one partition, without a broker: chunks of events -> rows -> who enters and leaves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from benchmarks.segments.events import BEGIN_US, TENANT, Messages, rules
from schemas.ids import Partition
from schemas.topics import EVENTS, PROFILES
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.intake.events import take_events
from segmentation.intake.profiles import take_profiles
from segmentation.intake.topic_record import TopicRecord
from segmentation.partitions.partition import PartitionSegments
from segmentation.partitions.place import Place
from segmentation.partitions.tenant import TenantSegments
from segmentation.rules.parser import parse_rule

STEP_CHUNKS: Final = 16
"""Chunks that are taken together: 8 MiB, as `SegmentWorkerConfig.step_bytes` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a fold, so that two of them can be compared."""

    events: int
    entered: int
    left: int


def new_segments(number: int) -> PartitionSegments:
    """A partition with so many rules, and nothing else yet."""
    active = {name: ActiveRule(version=1, rule=parse_rule(text)) for name, text in rules(number).items()}
    tenant = TenantSegments(tenant=TENANT, evaluator=Evaluator(active, at_us=BEGIN_US))
    return PartitionSegments(Partition(0), Place(at_us=BEGIN_US), {TENANT: tenant})


def steps(messages: Messages, topic: str, offset: int = 0) -> Iterator[Sequence[TopicRecord]]:
    """Records as a worker takes them together."""
    numbered = enumerate(messages, start=offset)
    while some := list(islice(numbered, STEP_CHUNKS)):
        yield [
            TopicRecord(topic=topic, partition=Partition(0), offset=at, key=None, value=value, received_at_us=at_us)
            for at, (value, at_us) in some
        ]


def take_all_profiles(segments: PartitionSegments, messages: Messages) -> None:
    """All profiles."""
    for records in steps(messages, PROFILES):
        taken = take_profiles(records, 1)
        assert not taken.refusals
        segments.take_profiles(taken.rows, records[-1].offset + 1, records[-1].received_at_us)


def take_all_events(segments: PartitionSegments, messages: Messages) -> Outcome:
    """All events; their time is the time."""
    events = entered = left = 0
    for records in steps(messages, EVENTS):
        taken = take_events(records, 1)
        assert not taken.refusals
        events += taken.rows.num_rows
        for told in segments.take_events(taken.rows, records[-1].offset + 1, records[-1].received_at_us):
            came = int(told.changes.entered.sum())
            entered += came
            left += len(told.changes.entered) - came
    return Outcome(events=events, entered=entered, left=left)
