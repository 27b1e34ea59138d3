"""Asks every partition for the members of a segment at one instant, and waits for the answers."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.kafka.errors import kafka_error
from connectors.kafka.logon import librdkafka_config, raise_refusals
from connectors.publishing.activations import ActivationSender
from schemas.codec import CODEC, UndecodableError
from schemas.errors import RetriableError
from schemas.ids import Partition
from schemas.segment_messages import CutRequested, SegmentCut
from schemas.topics import SEGMENT_STATUS

if TYPE_CHECKING:
    from orchestration.platform.settings import Settings

POLL_S: Final = 0.2
KAFKA_S: Final = 10.0


def ask_for_cuts(
    settings: "Settings",
    request: CutRequested,
    deadline: float,
    *,
    only: Partition | None = None,
    each: Callable[[], None] = lambda: None,
) -> list[SegmentCut]:
    """The answers by partition, of all or of `only` one; of one that answered twice, the last.

    `deadline`: in monotonic seconds. `each` is called while it waits, and may raise.

    Raises `RetriableError` CUT_TIMEOUT, KAFKA_UNAVAILABLE; `FatalError` TOPIC_PARTITIONS_CHANGED.
    """
    consumer = Consumer({**librdkafka_config(settings.kafka_bootstrap), "group.id": "muster-check", "log_level": 2})
    requested = set(range(settings.partitions)) if only is None else {int(only)}
    found: dict[int, SegmentCut] = {}
    try:
        # Read from the present end, so that an answer that precedes the first poll is not missed.
        wait_s = min(KAFKA_S, max(POLL_S, deadline - time.monotonic()))
        with raise_refusals(consumer):
            _, end = consumer.get_watermark_offsets(TopicPartition(SEGMENT_STATUS, 0), timeout=wait_s)
        consumer.assign([TopicPartition(SEGMENT_STATUS, 0, end)])
        ActivationSender(settings.kafka_bootstrap, settings.partitions).send(request, only)
        while missing := sorted(requested - found.keys()):
            each()
            if time.monotonic() > deadline:
                raise RetriableError(
                    "CUT_TIMEOUT",
                    f"no answer from partitions {', '.join(map(str, missing))}: are the segment workers running?",
                    partitions=missing,
                )
            for record in consumer.consume(500, POLL_S):
                if record.error() is None and (cut := _cut(record.value())) and cut.cut_id == request.cut_id:
                    found[cut.partition] = cut
    except KafkaException as exc:
        raise kafka_error(exc, "requesting a cut") from exc
    finally:
        consumer.close()
    return [found[partition] for partition in sorted(found)]


def _cut(value: bytes | None) -> SegmentCut | None:
    try:
        message = CODEC.decode(value or b"")
    except UndecodableError:
        return None
    return message if isinstance(message, SegmentCut) else None
