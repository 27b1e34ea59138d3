"""A topic through librdkafka: idempotent, acks=all, every delivery report checked."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka.errors import delivery_error, kafka_error
from connectors.kafka.logon import librdkafka_config, metadata
from connectors.publishing.ports import Delivery
from schemas.errors import FatalError, MusterError
from schemas.ids import Partition
from schemas.log_ids import Headers

QUEUE_MAX_KIB: Final = 64 * 1024
"""Bound of the chunks that wait for the broker before `offer` returns False: 64 MiB."""

LINGER_MS: Final = 100
"""Long, since chunks come by the hundred: a full batch is sent at once, and `flush` does not wait."""

BATCH_MAX_BYTES: Final = 1_000_000
"""Uncompressed size of a record batch: including its overhead below the topic's `max.message.bytes` of 1,048,588, even
if nothing in it can be compressed."""

METADATA_TIMEOUT_S: Final = 10.0
METADATA_TRIES: Final = 8
METADATA_PAUSE_S: Final = 0.25
"""A broker learns of a topic a moment after its creation: a missing one is looked up again for two seconds."""


class KafkaTopicLog:
    """`TopicLog` over a confluent-kafka producer.

    `delivery_timeout_s` bounds how long a message may stay unacknowledged while the broker is away; after that the
    attempt fails and the workflow decides when to retry. A logon that Kafka refuses ends it at once: every call that
    polls raises `FatalError` LOGON_REFUSED. Every message has the same `headers`.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        client_id: str = "muster-importer",
        delivery_timeout_s: float = 120.0,
        headers: Headers = (),
    ) -> None:
        self._topic = topic
        self._headers: list[tuple[str, str | bytes | None]] = [*headers]
        self._delivered: list[Delivery] = []
        self._failure: MusterError | None = None
        self._queued = 0
        self._producer = Producer(
            {
                **librdkafka_config(bootstrap),
                "client.id": client_id,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "zstd",
                "compression.level": 1,  # the default, 3, takes twice the time for the same size on ids
                "linger.ms": LINGER_MS,
                "batch.size": BATCH_MAX_BYTES,
                "queue.buffering.max.kbytes": QUEUE_MAX_KIB,
                "delivery.timeout.ms": int(delivery_timeout_s * 1000),
                "reconnect.backoff.max.ms": 500,
                "allow.auto.create.topics": False,
                "log_level": 2,  # outages are raised as errors; the log lines would only repeat them
            }
        )

    @property
    def topic(self) -> str:
        """Name of the topic."""
        return self._topic

    def partitions(self) -> int:
        """Current number of partitions of the topic. Raises `FatalError` TOPIC_MISSING, LOGON_REFUSED."""
        for _ in range(METADATA_TRIES):
            try:
                found = metadata(self._producer, self._topic, METADATA_TIMEOUT_S).topics[self._topic]
            except KafkaException as exc:
                raise kafka_error(exc, f"reading the partitions of {self._topic}") from exc
            if found.error is None:
                return len(found.partitions)
            if found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise delivery_error(found.error, f"reading the partitions of {self._topic}")
            self._producer.poll(METADATA_PAUSE_S)
        raise FatalError("TOPIC_MISSING", f"topic {self._topic} does not exist", topic=self._topic)

    def offer(self, partition: Partition, value: bytes | None, key: bytes | None = None) -> bool:
        """Queue a message; False if the queue is full."""
        self._raise_failure()
        try:
            self._producer.produce(
                self._topic, value, key, partition, on_delivery=self._on_delivery, headers=self._headers
            )
        except BufferError:
            return False
        except KafkaException as exc:
            raise kafka_error(exc, f"sending to {self._topic}") from exc
        self._queued += 1
        return True

    def poll(self, timeout_s: float) -> tuple[Delivery, ...]:
        """Messages acknowledged since the last call."""
        self._producer.poll(timeout_s)
        return self._drain()

    def flush(self, timeout_s: float) -> tuple[Delivery, ...]:
        """Like `poll`, without waiting for fuller batches."""
        self._producer.flush(timeout_s)
        return self._drain()

    def unacknowledged(self) -> int:
        """Messages without a delivery report: counted here, not by the client, so that none goes unnoticed."""
        return self._queued

    def abandon(self) -> None:
        """Drop messages that are queued but not in flight."""
        self._producer.purge(in_queue=True, in_flight=False, blocking=True)
        self._producer.flush(1.0)

    def _drain(self) -> tuple[Delivery, ...]:
        self._raise_failure()
        delivered, self._delivered = tuple(self._delivered), []
        return delivered

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        self._queued -= 1
        if error is None:
            partition, offset = message.partition(), message.offset()
            assert partition is not None and offset is not None  # noqa: S101, PT018  # an acknowledged message has both
            self._delivered.append(Delivery(partition=Partition(partition), offset=offset, size=len(message)))
        elif self._failure is None:  # the first one is the cause; later ones are its consequences
            self._failure = delivery_error(error, f"sending to {self._topic} partition {message.partition()}")
