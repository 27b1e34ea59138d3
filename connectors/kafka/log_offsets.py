"""Current start and end offsets of topics."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from connectors.kafka.clients import Isolation, RenewedClient, asking_consumer
from connectors.kafka.errors import kafka_error, without_errors
from connectors.kafka.logon import metadata

TIMEOUT_S: Final = 10.0
_LATEST: Final = -1
_EARLIEST: Final = -2
"""Timestamps with a meaning of their own in Kafka's ListOffsets request."""
_GROUP: Final = "muster-offsets"
"""A consumer must name one. Nothing is committed to it."""
PartitionKey = tuple[str, int]
"""Topic and partition."""


class LogOffsets:
    """Asks the leaders of partitions, with a consumer.

    Every question first asks for the leaders: librdkafka would keep asking a dead one for minutes, and one that has
    another epoch by now. Its admin client, moreover, reconnects to a dead leader thousands of times a second.
    """

    def __init__(self, bootstrap: str, isolation: Isolation = "read_uncommitted") -> None:
        """With "read_committed", a log ends where its first open transaction begins."""
        self._consumer = RenewedClient(lambda: asking_consumer(bootstrap, _GROUP, isolation))

    def ends(self, partitions: Iterable[PartitionKey], timeout_s: float) -> Mapping[PartitionKey, int]:
        """The offset of the next message. Raises `KafkaException`, and `FatalError` LOGON_REFUSED."""
        return self._ask(partitions, _LATEST, timeout_s)

    def starts(self, partitions: Iterable[PartitionKey], timeout_s: float) -> Mapping[PartitionKey, int]:
        """The offset of the first message, or of the next one if the partition is empty. Raises as `ends`."""
        return self._ask(partitions, _EARLIEST, timeout_s)

    def _ask(self, partitions: Iterable[PartitionKey], which: int, timeout_s: float) -> Mapping[PartitionKey, int]:
        wanted = [TopicPartition(topic, partition, which) for topic, partition in partitions]
        with self._consumer.asked() as consumer:
            for topic in sorted({one.topic for one in wanted}):
                metadata(consumer, topic, timeout_s)
            found = without_errors(consumer.offsets_for_times(wanted, timeout=timeout_s) if wanted else [])
        return {(one.topic, one.partition): one.offset for one in found}


def log_ends(bootstrap: str, topic: str, partitions: int) -> tuple[int, ...]:
    """The offset of the next message, for each partition.

    Raises `RetriableError` KAFKA_UNAVAILABLE, `FatalError` KAFKA_REFUSED, LOGON_REFUSED.
    """
    return _by_partition(LogOffsets(bootstrap).ends, topic, partitions)


def log_starts(bootstrap: str, topic: str, partitions: int) -> tuple[int, ...]:
    """The offset of the first message, or of the next one if empty, for each partition. Raises as `log_ends`."""
    return _by_partition(LogOffsets(bootstrap).starts, topic, partitions)


def _by_partition(
    ask: Callable[[Iterable[PartitionKey], float], Mapping[PartitionKey, int]], topic: str, partitions: int
) -> tuple[int, ...]:
    keys = [(topic, partition) for partition in range(partitions)]
    try:
        found = ask(keys, TIMEOUT_S)
    except KafkaException as exc:
        raise kafka_error(exc, f"reading the start and end offsets of {topic}") from exc
    return tuple(found[key] for key in keys)
