"""The one place that translates librdkafka's errors."""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.errors import FatalError, MusterError, RetriableError

_PERMANENT_ERRORS: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        # librdkafka's own error names begin with an underscore, but are public.
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._INVALID_ARG,  # noqa: SLF001
    }
)


def delivery_error(error: KafkaError, what: str) -> MusterError:
    """`FatalError` KAFKA_REFUSED if no retry can help, otherwise `RetriableError` KAFKA_UNAVAILABLE.

    An error that is fatal to an idempotent producer (`error.fatal()`) counts as an outage: the next attempt has a new
    producer.
    """
    message = f"{what}: {error.str()} ({error.name()})"
    if error.code() in _PERMANENT_ERRORS:
        return FatalError("KAFKA_REFUSED", message, kafka_error=error.name())
    return RetriableError("KAFKA_UNAVAILABLE", message, kafka_error=error.name())


def kafka_error(exc: KafkaException, what: str) -> MusterError:
    """Like `delivery_error`, for an exception that carries a `KafkaError`."""
    error = exc.args[0] if exc.args else None
    if isinstance(error, KafkaError):
        return delivery_error(error, what)
    return RetriableError("KAFKA_UNAVAILABLE", f"{what}: {exc}")


def without_errors(partitions: Sequence[TopicPartition]) -> Sequence[TopicPartition]:
    """The partitions of an answer, each of which may have failed by itself. Raises `KafkaException`."""
    for partition in partitions:
        if partition.error is not None:
            raise KafkaException(partition.error)
    return partitions
