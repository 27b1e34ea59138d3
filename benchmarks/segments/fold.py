"""The fold of one partition: chunks of events -> rows -> users entering and leaving. Runs on a file and on a broker."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.segments.events import BEGIN_US, TENANT, Messages, rules
from connectors.kafka.logon import librdkafka_config
from schemas.codec import CODEC
from schemas.ids import Partition
from schemas.topics import EVENTS, PROFILES
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import TopicRecord
from segmentation.partitions.change_log import messages
from segmentation.partitions.checkpoint import Checkpoint, decode, encode
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import Emission, PartitionSegments
from segmentation.partitions.tenant import TenantSegments
from segmentation.rules.parser import parse_rule

STEP_CHUNKS: Final = 16
"""Chunks processed together: 8 MiB, as in `SegmentWorkerConfig.step_bytes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a fold."""

    entered: int
    left: int
    users: int
    state_bytes: int


def new_segments(number: int) -> PartitionSegments:
    """A partition with `number` rules and no data."""
    active = {name: ActiveRule(version=1, rule=parse_rule(text)) for name, text in rules(number).items()}
    tenant = TenantSegments(tenant=TENANT, evaluator=Evaluator(active, at_us=BEGIN_US))
    return PartitionSegments(Partition(0), LogPosition(at_us=BEGIN_US), {TENANT: tenant})


def steps(chunks: Messages, topic: str, offset: int = 0) -> Iterator[Sequence[TopicRecord]]:
    """Records in steps of the size that a worker takes."""
    numbered = enumerate(chunks, start=offset)
    while some := list(islice(numbered, STEP_CHUNKS)):
        yield [
            TopicRecord(topic=topic, partition=Partition(0), offset=at, key=None, value=value, received_at_us=at_us)
            for at, (value, at_us) in some
        ]


def take_all_profiles(segments: PartitionSegments, profiles: Messages) -> None:
    """Take all profiles."""
    for records in steps(profiles, PROFILES):
        taken = ingest_profiles(records, 1)
        assert not taken.refusals
        segments.apply_profiles(taken.rows, records[-1].offset + 1, records[-1].received_at_us)


def take_all_events(segments: PartitionSegments, records: Iterable[Sequence[TopicRecord]]) -> Iterator[list[Emission]]:
    """Take all events, step by step. The clock follows the arrival time of the records."""
    for some in records:
        taken = ingest_events(some, 1)
        assert not taken.refusals
        yield segments.apply_events(taken.rows, some[-1].offset + 1, some[-1].received_at_us)


_prepared: list[PartitionSegments] = []
"""The state that this process prepares before the clock starts."""


def prepare(number: int, profiles: Messages) -> None:
    """Set up `number` rules and take all profiles."""
    segments = new_segments(number)
    take_all_profiles(segments, profiles)
    _prepared.append(segments)


def fold_file(events: Messages, kept: Path) -> int:
    """Take all events and write down the result."""
    (segments,) = _prepared
    entered = left = 0
    for told in take_all_events(segments, steps(events, EVENTS)):
        for one in told:
            came = int(one.changes.entered.sum())
            entered += came
            left += len(one.changes.entered) - came
    evaluator = segments.tenants[TENANT].evaluator
    outcome = Outcome(entered=entered, left=left, users=len(evaluator.state.index), state_bytes=evaluator.nbytes)
    kept.write_text(json.dumps(asdict(outcome)), encoding="ascii")
    return events.rows


def keep(events: Messages, number: int, profiles: Messages, checkpoint: Path) -> int:
    """Take all events and write a checkpoint of the state."""
    prepare(number, profiles)
    (segments,) = _prepared
    for _ in take_all_events(segments, steps(events, EVENTS)):
        pass
    checkpoint.write_bytes(encode(Checkpoint(segments=segments, generation=0, changes=0, next_seq=0)))
    return events.rows


def restart(checkpoint: Path, missed: Messages) -> int:
    """Decode a checkpoint and take the events since then."""
    segments = decode(checkpoint.read_bytes()).segments
    for _ in take_all_events(segments, steps(missed, EVENTS, segments.position.events)):
        pass
    return missed.rows


def fold_topic(bootstrap: str, topic: str, changes: str, events: Messages) -> int:
    """Like `fold_file`, with the first rule, from a topic into a topic."""
    consumer = Consumer(
        {
            **librdkafka_config(bootstrap),
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 8 << 20,
            "queued.max.messages.kbytes": 64 << 10,
            "log_level": 2,
        }
    )
    producer = Producer({**librdkafka_config(bootstrap), "enable.idempotence": True, "log_level": 2})
    consumer.assign([TopicPartition(topic, 0, 0)])
    seq = 0
    for told in take_all_events(new_segments(1), _consumed(consumer, events)):
        for one in told:
            for message in messages(one, partition=Partition(0), generation=0, first_seq=seq):
                producer.produce(changes, CODEC.encode(message))
                seq += 1
        producer.poll(0)
    if producer.flush(60) or not seq:
        raise RuntimeError("changes were not delivered, or there were none")
    consumer.close()
    return events.rows


def _consumed(consumer: Consumer, events: Messages) -> Iterator[Sequence[TopicRecord]]:
    seen = 0
    while seen < len(events.ends):
        some = consumer.consume(STEP_CHUNKS, timeout=0.2)
        if failed := [record.error() for record in some if record.error()]:
            raise RuntimeError(str(failed[0]))
        values = [record.value() for record in some]
        if values:
            yield [
                TopicRecord(
                    topic=EVENTS,
                    partition=Partition(0),
                    offset=offset,
                    key=None,
                    value=value,
                    received_at_us=events.times[offset],
                )
                for offset, value in enumerate(values, start=seen)
            ]
        seen += len(values)
