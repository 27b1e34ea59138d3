"""Reads the membership changes of all partitions from given offsets.

An offset that the topic no longer has is an error, never a reason to go on after the gap. The consumer joins no group:
positions are the feed's own.
"""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.kafka.errors import delivery_error, kafka_error
from connectors.kafka.logon import librdkafka_config, raise_refusals
from schemas.errors import RetriableError
from schemas.topics import MEMBERSHIP_CHANGES

MOST: Final = 500
"""Records of one read."""
SILENCE_S: Final = 10.0
"""Without records, the connection is looked at this often: a client may have lost its brokers for good (`clients`)."""
LOOK_S: Final = 5.0
_LOST: Final = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001  # public, as in `errors`


class LostPositionError(Exception):
    """The topic no longer has what follows the position."""


class Record(NamedTuple):
    """One record of the topic."""

    partition: int
    offset: int
    value: bytes | None


class ChangesReader:
    """For one thread. Raises `LostPositionError`; `RetriableError` KAFKA_UNAVAILABLE; `FatalError` LOGON_REFUSED."""

    def __init__(self, bootstrap: str, offsets: Mapping[int, int]) -> None:
        self._partitions = sorted(offsets)
        self._consumer = Consumer(
            {
                **librdkafka_config(bootstrap),
                "group.id": "muster-feeds",
                "client.id": "muster-feeder",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": 4096,  # of each feed
                "fetch.wait.max.ms": 500,
                "reconnect.backoff.max.ms": 500,
                "topic.metadata.refresh.interval.ms": 5000,
                "log_level": 2,
            }
        )
        self._consumer.assign([TopicPartition(MEMBERSHIP_CHANGES, p, offset) for p, offset in sorted(offsets.items())])
        self._heard_s = time.monotonic()

    def read(self, timeout_s: float) -> list[Record]:
        """What there is, without waiting for more than the first record."""
        with raise_refusals(self._consumer):
            first = self._consumer.poll(timeout_s)
            found = [] if first is None else [first, *self._consumer.consume(MOST - 1, 0)]
        if not found and time.monotonic() - self._heard_s > SILENCE_S:
            self._look()
        records = []
        for message in found:
            error = message.error()
            if error is None:
                records.append(Record(message.partition() or 0, message.offset() or 0, message.value()))
            elif error.code() in _LOST:
                raise LostPositionError(f"partition {message.partition()}: {error.str()}")
            elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
                raise delivery_error(error, f"reading {MEMBERSHIP_CHANGES}")
        if records:
            self._heard_s = time.monotonic()
        return records

    def behind(self, offsets: Mapping[int, int]) -> int | None:
        """How many records follow these offsets, as far as the consumer knows; None before its first answers."""
        total = 0
        for partition in self._partitions:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(MEMBERSHIP_CHANGES, partition), cached=True)
            if end < 0:
                return None
            total += max(0, end - offsets[partition])
        return total

    def close(self) -> None:
        """End the connections."""
        self._consumer.close()

    def _look(self) -> None:
        self._heard_s = time.monotonic()
        try:
            found = self._consumer.list_topics(MEMBERSHIP_CHANGES, timeout=LOOK_S).topics[MEMBERSHIP_CHANGES]
        except KafkaException as exc:
            raise kafka_error(exc, f"reading {MEMBERSHIP_CHANGES}") from exc
        if found.error is not None:
            raise RetriableError("KAFKA_UNAVAILABLE", f"reading {MEMBERSHIP_CHANGES}: {found.error.str()}")
