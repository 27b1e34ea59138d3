"""The producer of the control plane: a batch counts as sent once the broker has acknowledged all of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.kafka.errors import delivery_error, kafka_error
from connectors.kafka.logon import librdkafka_config
from schemas.codec import CODEC
from schemas.errors import MusterError, RetriableError
from schemas.ids import Partition
from schemas.messages import Message

FLUSH_S: Final = 10.0
BY_KEY: Final = -1
"""RD_KAFKA_PARTITION_UA: the partitioner decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message for a topic. Without a partition, its key decides, as in Java producers."""

    topic: str
    key: bytes
    message: Message
    partition: Partition | None = None


class ControlPlaneProducer:
    """For one thread. After a failure, the next batch gets a new producer."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: Producer | None = None

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Return once the broker has acknowledged all, in this order within each partition.

        Raises `RetriableError` KAFKA_UNAVAILABLE, `FatalError` KAFKA_REFUSED, LOGON_REFUSED; then any of them may have
        been sent.
        """
        try:
            self._send(messages)
        except MusterError:
            if self._producer is not None:
                self._producer.purge(in_queue=True, in_flight=True, blocking=False)
                self._producer = None
            raise

    def _send(self, messages: Iterable[Outgoing]) -> None:
        producer = self._producer = self._producer or _producer(self._bootstrap)
        failed: list[KafkaError] = []
        try:
            for out in messages:
                producer.produce(
                    out.topic,
                    CODEC.encode(out.message),
                    key=out.key,
                    partition=BY_KEY if out.partition is None else out.partition,
                    on_delivery=lambda error, _: failed.append(error) if error is not None else None,
                )
            left = producer.flush(FLUSH_S)
        except KafkaException as exc:
            raise kafka_error(exc, "sending") from exc
        if failed:
            raise delivery_error(failed[0], "sending")
        if left:
            raise RetriableError("KAFKA_UNAVAILABLE", f"{left} messages were not acknowledged in {FLUSH_S:g} s")


def _producer(bootstrap: str) -> Producer:
    return Producer(
        {
            **librdkafka_config(bootstrap),
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": int(FLUSH_S * 1000),
            "reconnect.backoff.max.ms": 500,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
