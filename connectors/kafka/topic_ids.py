"""Kafka's topic ids, which are unique forever: a recreated topic with the same name has another id."""

import time
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from connectors.kafka.clients import RenewedClient, admin_client
from connectors.kafka.errors import kafka_error
from connectors.kafka.logon import answer, metadata
from schemas.errors import RetriableError

TIMEOUT_S: Final = 5.0
TRY_S: Final = 1.0
"""librdkafka reconnects without a pause to a controller that is dead, and does not look for the next one by itself."""
_OUTAGES: Final = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}  # noqa: SLF001  # public, as in `errors`


class TopicIds:
    """Asks Kafka for topic ids."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = RenewedClient(lambda: admin_client(bootstrap))

    def topic_id(self, topic: str) -> str:
        """The current id of a topic.

        Raises `RetriableError` KAFKA_UNAVAILABLE, and TOPIC_MISSING, which lasts until the topic is recreated;
        `FatalError` KAFKA_REFUSED, LOGON_REFUSED.
        """
        try:
            with self._admin.asked() as admin:
                return _asked(admin, topic)
        except KafkaException as exc:
            if exc.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise RetriableError("TOPIC_MISSING", f"topic {topic} does not exist", topic=topic) from exc
            raise kafka_error(exc, f"reading the id of {topic}") from exc


def _asked(admin: AdminClient, topic: str) -> str:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        request = admin.describe_topics(TopicCollection([topic]), request_timeout=TRY_S)
        try:
            return str(answer(admin, request[topic], TRY_S + 1).topic_id)
        except KafkaException as exc:
            if time.monotonic() > deadline or exc.args[0].code() not in _OUTAGES:
                raise
        # Names another controller. Outside the handler, in which confluent-kafka would never free what it raises.
        metadata(admin, None, deadline - time.monotonic())
