"""Current start and end offsets of a topic."""

from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from connectors.kafka.clients import admin_client
from connectors.kafka.errors import kafka_error
from connectors.kafka.logon import answer

TIMEOUT_S: Final = 10.0


def log_ends(bootstrap: str, topic: str, partitions: int) -> tuple[int, ...]:
    """The offset of the next message, for each partition.

    Raises `RetriableError` KAFKA_UNAVAILABLE, `FatalError` LOGON_REFUSED.
    """
    return _offsets(bootstrap, topic, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]


def log_starts(bootstrap: str, topic: str, partitions: int) -> tuple[int, ...]:
    """The offset of the first message, or of the next one if empty, for each partition. Raises as `log_ends`."""
    return _offsets(bootstrap, topic, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]


def _offsets(bootstrap: str, topic: str, partitions: int, which: OffsetSpec) -> tuple[int, ...]:
    admin = admin_client(bootstrap)
    wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
    try:
        found = admin.list_offsets(
            dict.fromkeys(wanted, which),
            request_timeout=TIMEOUT_S,
        )
        return tuple(answer(admin, found[partition], TIMEOUT_S + 1).offset for partition in wanted)
    except KafkaException as exc:
        raise kafka_error(exc, f"reading the start and end offsets of {topic}") from exc
