"""Connection options for Faust."""

from pathlib import Path
from typing import Any

import faust

from connectors.kafka.aiokafka_logon import tls_context, watch_refusals
from connectors.kafka.iam_tokens import iam_tokens
from schemas.kafka_address import KafkaAddress, KafkaCredentials


def faust_options(bootstrap: str) -> dict[str, Any]:
    """Options of an app. It keeps the password; a new one takes effect after a restart.

    Raises `UserError` BAD_SETTINGS, `FatalError` CREDENTIALS_UNUSABLE.
    """
    address = KafkaAddress.parse(bootstrap)
    options: dict[str, Any] = {"broker": [f"kafka://{server}" for server in address.hosts]}
    watch_refusals(address)
    tls = tls_context(address) if address.with_tls else None
    if address.region is not None:
        options["broker_credentials"] = faust.auth.OAuthCredentials(
            oauth_cb=iam_tokens(address.region), ssl_context=tls
        )
    elif address.credentials is not None:
        found = KafkaCredentials.read(address.credentials, Path(address.credentials).read_bytes)
        options["broker_credentials"] = faust.SASLCredentials(
            username=found.username, password=found.password, mechanism=address.mechanism, ssl_context=tls
        )
    elif tls is not None:
        options["broker_credentials"] = faust.SSLCredentials(tls)
    return options
