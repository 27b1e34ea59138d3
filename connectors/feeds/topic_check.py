"""Whether a topic can take a feed, before there is one."""

from confluent_kafka import KafkaError, KafkaException

from connectors.feeds.state_target import CLEANUP, require_policy
from connectors.feeds.topic_writer import KAFKA_S, topic_fault
from connectors.kafka.clients import admin_client
from connectors.kafka.logon import metadata
from connectors.kafka.topics import config_of


def check_topic(bootstrap: str, topic: str, *, compacted: bool) -> None:
    """Raises `UserError` DESTINATION_NOT_WRITABLE if the topic is missing, or should be compacted and is not.

    What this process may not see passes: the feeder has rights of its own, and reports what it finds. Also
    `RetriableError` KAFKA_UNAVAILABLE; `FatalError` KAFKA_REFUSED, LOGON_REFUSED.
    """
    admin, policy = admin_client(bootstrap), ""
    try:
        error = metadata(admin, topic, KAFKA_S).topics[topic].error
        if error is None and compacted:
            policy = config_of(admin, topic)[CLEANUP]
    except KafkaException as exc:
        error = exc.args[0]
    if error is not None:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return
        raise topic_fault(topic, error, "looking at")
    if compacted:
        require_policy(topic, policy)
