"""Dead letters: records that no worker could decode, read from the topic without a group and resent on request."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from connectors.kafka.errors import kafka_error
from connectors.kafka.logon import librdkafka_config, metadata, raise_refusals
from orchestration.platform.clock import iso, now_ms
from schemas.codec import CODEC, UndecodableError
from schemas.errors import RetriableError, UserError
from schemas.messages import DeadLetter
from schemas.topics import DEAD_LETTERS

TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.2
PARTITION: Final = 0
"""The topic has one partition (`schemas.topics`)."""

Numbered = tuple[int, DeadLetter]
"""(offset in the dead-letter topic, dead letter)"""


def read(bootstrap: str, *, limit: int | None = None, offsets: Sequence[int] | None = None) -> list[Numbered]:
    """The newest `limit` dead letters, or those at `offsets`, oldest first. Bounded by the topic's end at the call.

    Raises `RetriableError` KAFKA_UNAVAILABLE, `FatalError` LOGON_REFUSED.
    """
    consumer = Consumer(
        {
            **librdkafka_config(bootstrap),
            "group.id": f"muster-dead-letters-{now_ms()}",  # required by the client; nothing is ever committed
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
    try:
        metadata(consumer, DEAD_LETTERS, TIMEOUT_S)  # fails here within a second if the logon is refused
        with raise_refusals(consumer):
            low, high = consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, PARTITION), timeout=TIMEOUT_S)
        first = low if limit is None else max(low, high - limit)
        if offsets is not None:
            first = max(low, min(offsets, default=high))
        if first >= high:
            return []
        consumer.assign([TopicPartition(DEAD_LETTERS, PARTITION, first)])
        return _until(consumer, high, None if offsets is None else frozenset(offsets))
    except KafkaException as exc:
        raise kafka_error(exc, f"reading {DEAD_LETTERS}") from exc
    finally:
        consumer.close()


def _until(consumer: Consumer, high: int, wanted: frozenset[int] | None) -> list[Numbered]:
    letters: list[Numbered] = []
    last_heard = time.monotonic()
    while True:
        message = consumer.poll(POLL_S)
        if message is None:
            if time.monotonic() - last_heard > TIMEOUT_S:
                raise RetriableError("KAFKA_UNAVAILABLE", f"{DEAD_LETTERS} does not answer")
            continue
        if (error := message.error()) is not None:
            raise kafka_error(KafkaException(error), f"reading {DEAD_LETTERS}")
        last_heard = time.monotonic()
        offset = message.offset() or 0
        if wanted is None or offset in wanted:
            letters += _decoded(offset, message.value())
        if offset + 1 >= high:
            return letters


def _decoded(offset: int, value: bytes | None) -> list[Numbered]:
    try:
        letter = CODEC.decode(value)
    except UndecodableError:
        return []  # not ours: something else wrote to the topic
    return [(offset, letter)] if isinstance(letter, DeadLetter) else []


def replay(bootstrap: str, letters: Iterable[Numbered]) -> int:
    """Send the original bytes to the original topic and partition again; returns how many.

    A worker may reject them again.

    Raises `RetriableError` KAFKA_UNAVAILABLE if a delivery report is missing or negative.
    """
    failed: list[str] = []
    producer = Producer({**librdkafka_config(bootstrap), "enable.idempotence": True, "acks": "all", "log_level": 2})
    sent = 0
    try:
        for _, letter in letters:
            producer.produce(
                letter.topic,
                letter.value,
                key=letter.key,
                partition=letter.partition,
                on_delivery=lambda error, _: failed.append(error.str()) if error is not None else None,
            )
            producer.poll(0)
            sent += 1
    except KafkaException as exc:
        raise kafka_error(exc, "resending dead letters") from exc
    left = producer.flush(TIMEOUT_S)
    if left or failed:
        raise RetriableError(
            "KAFKA_UNAVAILABLE",
            f"{left + len(failed)} of {sent} dead letters were not accepted: {failed[:1]}",
            sent=sent,
        )
    return sent


def select(letters: Sequence[Numbered], offsets: Sequence[int]) -> list[Numbered]:
    """The dead letters at `offsets`. Raises `UserError` NO_SUCH_DEAD_LETTER naming the missing ones."""
    found = dict(letters)
    if missing := [offset for offset in offsets if offset not in found]:
        raise UserError(
            "NO_SUCH_DEAD_LETTER",
            f"no dead letter {', '.join(map(str, missing))}; `muster dead-letters list` lists them",
            missing=missing,
        )
    return [(offset, found[offset]) for offset in sorted(set(offsets))]


def letter_record(offset: int, letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as plain JSON data, without its bytes."""
    return {
        "dead_letter": offset,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "bytes": len(letter.value),
        "reason": letter.reason,
        "failed_at": iso(letter.failed_at_us // 1000),
        "starts_with": letter.value[:32].hex(),
    }
