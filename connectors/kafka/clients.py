"""Clients of librdkafka, with their common settings.

A client can lose all its brokers for good. While its controller takes a cluster's only broker for dead, that broker
answers metadata without naming any. librdkafka 2.16 then drops the broker and begins again with the bootstrap servers;
but if one with the same address is not gone yet, it adds none, and none is left to ask (`rd_kafka_find_or_add_broker`).
So clients that live long are replaced when they get no answer: `RenewedClient` here, and `GroupConsumer` and
`ControlPlaneProducer` in the control plane.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Literal, TypeVar

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka.logon import PollableClient, librdkafka_config, raise_refusals

_COMMON: Final = {"reconnect.backoff.max.ms": 500, "socket.timeout.ms": 10_000, "log_level": 2}
Isolation = Literal["read_committed", "read_uncommitted"]
C = TypeVar("C", bound=PollableClient)


def admin_client(bootstrap: str) -> AdminClient:
    """An admin client. Keep it until its futures are done: without it they never are.

    For topics alone. While a broker is dead, librdkafka's admin client may kill the process when it asks for a group
    (https://github.com/confluentinc/librdkafka/issues/4605, 5040), and asks without a pause for offsets of topics: see
    `groups`, `committed` and `log_offsets`.
    """
    return AdminClient({**librdkafka_config(bootstrap), **_COMMON})


def asking_consumer(bootstrap: str, group: str, isolation: Isolation) -> Consumer:
    """A consumer that never joins its group and reads nothing: it only asks for offsets."""
    config: dict[str, Any] = {
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": isolation,
        "session.timeout.ms": 6_000,  # how long a commit waits for a coordinator
    }
    return Consumer({**librdkafka_config(bootstrap), **_COMMON, **config})


class RenewedClient(Generic[C]):
    """A client for questions: made with the first one, replaced after one without an answer. For several threads."""

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._client: C | None = None

    @contextmanager
    def asked(self) -> Iterator[C]:
        """For one question. Passes on its `KafkaException`, and raises `FatalError` as `raise_refusals` does."""
        client = self._client
        if client is None:  # an admin client without requests is false
            client = self._client = self._make()
        try:
            with raise_refusals(client):
                yield client
        except KafkaException as exc:
            # Errors below zero are librdkafka's own; one of a broker shows that there is one.
            if exc.args[0].code() < 0 and self._client is client:
                self._client = None
            raise
