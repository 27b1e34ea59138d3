"""Kafka's topic ids, which are unique forever: a recreated topic with the same name has another id."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from connectors.kafka.clients import admin_client
from connectors.kafka.errors import kafka_error
from connectors.kafka.logon import answer
from schemas.errors import RetriableError

TIMEOUT_S: Final = 5.0


class TopicIds:
    """Asks Kafka for topic ids."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = admin_client(bootstrap)

    def topic_id(self, topic: str) -> str:
        """The current id of a topic.

        Raises `RetriableError` KAFKA_UNAVAILABLE, and TOPIC_MISSING, which lasts until the topic is recreated;
        `FatalError` KAFKA_REFUSED, LOGON_REFUSED.
        """
        request = self._admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT_S)
        try:
            return str(answer(self._admin, request[topic], TIMEOUT_S + 1).topic_id)
        except KafkaException as exc:
            if exc.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise RetriableError("TOPIC_MISSING", f"topic {topic} does not exist", topic=topic) from exc
            raise kafka_error(exc, f"reading the id of {topic}") from exc
