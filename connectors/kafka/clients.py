"""Clients of librdkafka, with their common settings."""

from typing import Any, Final, Literal

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from connectors.kafka.logon import librdkafka_config

_COMMON: Final = {"reconnect.backoff.max.ms": 500, "socket.timeout.ms": 10_000, "log_level": 2}
Isolation = Literal["read_committed", "read_uncommitted"]


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
