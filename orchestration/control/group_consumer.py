"""A consumer of the control plane: one topic, in a group, from its committed offsets, which the caller commits."""

import logging
import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from connectors.kafka.logon import librdkafka_config
from connectors.kafka.worker_group import broker_answers
from orchestration.platform.worker_identity import client_id
from schemas.errors import FatalError

SESSION_MS: Final = 10_000
"""How long the next instance waits for one that was killed."""
FETCH_WAIT_MS: Final = 5_000
"""A fetch is answered as soon as there is a record; without one, this long after it was sent."""
SILENCE_S: Final = 10.0
"""Without records, the connection is looked at this often."""
LOOK_S: Final = 0.1
PATIENCE_S: Final = 5.0
"""Several times what a client needs to connect to a broker that answers."""
_log = logging.getLogger(__name__)


class GroupConsumer:
    """For one thread. Begins when made.

    `consume` and `commit` raise `FatalError` LOGON_REFUSED, BROKER_NOT_TRUSTED.

    A client that is connected to no broker, although one answers others, is replaced: it would never connect again (see
    `connectors.kafka.clients`). The next one begins at the committed offsets, so records may be consumed twice. In an
    outage it stays: a new member would have to wait until the session of the former one is over.
    """

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._topic = topic
        self._consumer = self._begun()

    def consume(self, number: int, timeout_s: float) -> list[Message]:
        """Up to `number` records, or errors in their place, within `timeout_s` seconds."""
        found = self._consumer.consume(number, timeout_s)
        if found:
            self._heard_s = time.monotonic()
        elif time.monotonic() - self._heard_s > SILENCE_S:
            self._replace_if_lost()
        return found

    def commit(self) -> None:
        """Commit the offsets of all that was consumed. Raises `KafkaException` too."""
        self._consumer.commit(asynchronous=False)

    def assigned(self) -> bool:
        """Whether this instance consumes the topic, and not another one."""
        return bool(self._consumer.assignment())

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _replace_if_lost(self) -> None:
        # Looked at again, since the broker may have come back in between.
        if not self._connected(LOOK_S) and broker_answers(self._bootstrap) and not self._connected(PATIENCE_S):
            _log.warning("reading %s: this client lost its brokers and is replaced", self._topic)
            self._consumer.close()
            self._consumer = self._begun()
        self._heard_s = time.monotonic()

    def _connected(self, timeout_s: float) -> bool:
        try:
            self._consumer.list_topics(self._topic, timeout=timeout_s)
        except KafkaException as exc:
            # Otherwise it was sent to a broker, which answers after the fetch that waits there.
            return bool(exc.args[0].code() != KafkaError._TRANSPORT)  # noqa: SLF001  # public, as in `errors`
        return True

    def _begun(self) -> Consumer:
        consumer = Consumer(
            {
                **librdkafka_config(self._bootstrap),
                "group.id": self._group,
                "client.id": client_id("relay"),
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": SESSION_MS,
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "reconnect.backoff.max.ms": 500,
                "topic.metadata.refresh.interval.ms": 5000,
                "log_level": 2,  # outages are retried; one line per try would flood the log
            }
        )
        consumer.subscribe([self._topic])
        self._heard_s = time.monotonic()
        return consumer


def raise_if_fatal(error: KafkaError, topic: str) -> None:
    """Handle an error that came in place of a message. Raises `FatalError` KAFKA_REFUSED; other errors are logged."""
    if error.fatal():
        raise FatalError("KAFKA_REFUSED", f"reading {topic}: {error.str()}")
    _log.warning("reading %s: %s", topic, error.str())
