"""How third-party Java programs reach the broker: the properties file that clients read."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from schemas.kafka_address import KafkaAddress, KafkaCredentials

SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"


def client_properties(bootstrap: str) -> dict[str, str]:
    """Properties of a client. They contain the password: never print them."""
    address = KafkaAddress.parse(bootstrap)
    properties = {"bootstrap.servers": address.servers, "security.protocol": address.protocol.upper()}
    if address.credentials is None or address.mechanism is None:
        return properties
    user = KafkaCredentials.read(address.credentials, Path(address.credentials).read_bytes)
    jaas = f'{SCRAM} required username="{user.username}" password="{user.password}";'
    return properties | {"sasl.mechanism": address.mechanism, "sasl.jaas.config": jaas}


@contextmanager
def client_file(bootstrap: str, **more: object) -> Iterator[Path]:
    """A private file with these and further properties, for the duration of a run."""
    with tempfile.NamedTemporaryFile("w", prefix="muster-client-", suffix=".properties", encoding="utf-8") as file:
        file.write("".join(f"{name}={value}\n" for name, value in (client_properties(bootstrap) | more).items()))
        file.flush()
        yield Path(file.name)
