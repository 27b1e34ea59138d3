"""Writes to the topic of a feed: one transaction for each batch.

The id of the transactions is the feed's, so a process that was frozen and replaced cannot write when it wakes. The
position is committed afterwards, by the caller: `send_offsets_to_transaction` never returns once its coordinator has
gone (https://github.com/confluentinc/librdkafka/issues/5456). So a batch may come twice, with equal bytes.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.kafka.errors import delivery_error
from connectors.kafka.logon import librdkafka_config, metadata, raise_refusals
from schemas.errors import MusterError, UserError
from schemas.feed_events import CONTENT_TYPE
from schemas.ids import JobId
from schemas.topics import FEED_TRANSACTIONS

KAFKA_S: Final = 15.0
"""For one request. Longer than a broker takes to elect another leader."""
MOST: Final = 5_000
"""Records of a transaction."""
BY_KEY: Final = -1
"""As partition: that where Kafka's Java producers put the key."""
TRANSACTION_MS: Final = 60_000
_HEADERS: Final[list[tuple[str, str | bytes | None]]] = [("content-type", CONTENT_TYPE)]
_MISSING: Final = "it does not exist, and Muster does not create topics of receivers: create it"
_OF_THE_TOPIC: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Muster has no right to use it",
    KafkaError.UNKNOWN_TOPIC_OR_PART: _MISSING,
    KafkaError._UNKNOWN_TOPIC: _MISSING,  # noqa: SLF001  # public, as in `errors`
    KafkaError.MSG_SIZE_TOO_LARGE: "its max.message.bytes is too small for an event",
    KafkaError.POLICY_VIOLATION: "a broker policy rejects the events",
    KafkaError.INVALID_RECORD: "it is compacted, and takes nothing without a key: choose the shape `state`",
}


class Keyed(NamedTuple):
    """A record to write. `value`: None for a tombstone."""

    key: bytes | None
    value: bytes | None
    partition: int = BY_KEY


class TopicWriter:
    """For one thread. After an error it is of no more use."""

    def __init__(self, bootstrap: str, topic: str, feed_id: JobId) -> None:
        """Fences whoever has delivered the feed before.

        Raises `UserError` DESTINATION_NOT_WRITABLE; `RetriableError` KAFKA_UNAVAILABLE; `FatalError` KAFKA_REFUSED,
        LOGON_REFUSED.
        """
        self._topic = topic
        self._failures: list[KafkaError] = []
        self._producer = Producer(
            {
                **librdkafka_config(bootstrap),
                "client.id": "muster-feeder",
                "transactional.id": f"{FEED_TRANSACTIONS}{feed_id}",
                "transaction.timeout.ms": TRANSACTION_MS,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": "zstd",
                "compression.level": 1,
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 500,
                "allow.auto.create.topics": False,
                "log_level": 2,
            }
        )
        try:
            with raise_refusals(self._producer):
                self._partitions()
                self._producer.init_transactions(KAFKA_S)
        except KafkaException as exc:
            raise topic_fault(topic, exc.args[0], "writing to") from exc

    def write(self, records: Iterable[Keyed]) -> None:
        """Returns once all records are committed. Raises as the constructor."""
        try:
            with raise_refusals(self._producer):
                self._producer.begin_transaction()
                for record in records:
                    self._send(record)
                self._producer.flush(KAFKA_S)
                if self._failures:
                    raise KafkaException(self._failures[0])
                self._producer.commit_transaction(KAFKA_S)
        except KafkaException as exc:
            with suppress(KafkaException, MusterError):
                self._producer.abort_transaction(KAFKA_S)
            raise topic_fault(self._topic, exc.args[0], "writing to") from exc

    def partitions(self) -> int:
        """How many the topic has. Raises as the constructor."""
        try:
            return self._partitions()
        except KafkaException as exc:
            raise topic_fault(self._topic, exc.args[0], "writing to") from exc

    def close(self) -> None:
        """Drop what is not committed."""
        with suppress(KafkaException):
            self._producer.purge()

    def _send(self, record: Keyed) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=self._on_delivery,
                    headers=_HEADERS,
                )
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    def _on_delivery(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._failures.append(error)

    def _partitions(self) -> int:
        found = metadata(self._producer, self._topic, KAFKA_S).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return len(found.partitions)


def topic_fault(topic: str, error: KafkaError, doing: str) -> MusterError:
    """The error of a topic of somebody else: whether its owner has to act, or Kafka is down."""
    if (why := _OF_THE_TOPIC.get(error.code())) is not None:
        return UserError("DESTINATION_NOT_WRITABLE", f"topic {topic}: {why}", topic=topic)
    return delivery_error(error, f"{doing} {topic}")
