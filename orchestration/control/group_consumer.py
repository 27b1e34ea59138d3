"""A consumer of the control plane: in a group, from its committed offsets, which the caller commits."""

import logging
from typing import Final

from confluent_kafka import Consumer, KafkaError

from connectors.kafka.logon import librdkafka_config
from schemas.errors import FatalError

SESSION_MS: Final = 10_000
"""How long the next instance waits for one that was killed."""
FETCH_WAIT_MS: Final = 5_000
"""A fetch is answered as soon as there is a record; without one, this long after it was sent."""
_log = logging.getLogger(__name__)


def group_consumer(bootstrap: str, group: str) -> Consumer:
    """A consumer; it connects when it subscribes.

    Its `consume` and `poll` raise `FatalError` LOGON_REFUSED, BROKER_NOT_TRUSTED.
    """
    return Consumer(
        {
            **librdkafka_config(bootstrap),
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": SESSION_MS,
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "reconnect.backoff.max.ms": 500,
            "topic.metadata.refresh.interval.ms": 5000,
            "log_level": 2,  # outages are retried; one line per try would flood the log
        }
    )


def raise_if_fatal(error: KafkaError, topic: str) -> None:
    """Handle an error that came in place of a message. Raises `FatalError` KAFKA_REFUSED; other errors are logged."""
    if error.fatal():
        raise FatalError("KAFKA_REFUSED", f"reading {topic}: {error.str()}")
    _log.warning("reading %s: %s", topic, error.str())
