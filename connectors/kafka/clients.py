"""Clients of librdkafka, with their common settings."""

from typing import Final

from confluent_kafka.admin import AdminClient

from connectors.kafka.logon import librdkafka_config

ADMIN: Final = {"reconnect.backoff.max.ms": 500, "socket.timeout.ms": 10_000, "log_level": 2}


def admin_client(bootstrap: str) -> AdminClient:
    """An admin client. Keep it until its futures are done: without it they never are."""
    return AdminClient({**librdkafka_config(bootstrap), **ADMIN})
