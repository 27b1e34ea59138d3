"""Clients of librdkafka, with what all of them share."""

from typing import Final

from confluent_kafka.admin import AdminClient

from connectors.kafka.logon import librdkafka_config

ADMIN: Final = {"reconnect.backoff.max.ms": 500, "socket.timeout.ms": 10_000, "log_level": 2}


def admin_client(bootstrap: str) -> AdminClient:
    """A client for administration. Keep it until its futures are done: without their client they never are."""
    return AdminClient({**librdkafka_config(bootstrap), **ADMIN})
