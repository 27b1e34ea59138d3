"""How every client of aiokafka, and Faust, reaches Kafka, and what becomes of a logon that Kafka refuses.

aiokafka takes a refusal for an outage: it writes a line, and tries again for ever. Here it is an error of its own that
aiokafka passes on, since it is none of those that it takes for one. It comes out of `start`, and of what needs a
connection later. Tasks of aiokafka's own end by it without a word, so whoever has to know is told besides.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faust
from aiokafka import client, errors

from schemas.errors import FatalError
from schemas.kafka_address import KafkaAddress, KafkaCredentials, broker_not_trusted, logon_refused, unusable

_connect: Final = client.create_conn
_REFUSED: Final = (
    errors.AuthenticationFailedError,
    errors.SaslAuthenticationFailed,
    errors.IllegalSaslStateError,
)


@dataclass(slots=True)
class _OfThisProcess:
    """A process has one Kafka, and at most one worker. aiokafka does not say which client a connection is for."""

    address: KafkaAddress | None = None
    told: Callable[[FatalError], None] | None = None


_ours: Final = _OfThisProcess()


def aiokafka_options(bootstrap: str) -> dict[str, Any]:
    """What the address comes to for a client that is made now: each one reads the files anew.

    Raises `UserError` BAD_SETTINGS, `FatalError` CREDENTIALS_UNUSABLE. The result holds the password: never print it.
    """
    address = KafkaAddress.parse(bootstrap)
    options: dict[str, Any] = {"bootstrap_servers": list(address.hosts), "security_protocol": address.protocol.upper()}
    _watch(address)
    if address.with_tls:
        options["ssl_context"] = _trust(address)
    if address.with_logon:
        found = _credentials(address)
        options |= {
            "sasl_mechanism": address.mechanism,
            "sasl_plain_username": found.username,
            "sasl_plain_password": found.password,
        }
    return options


def faust_options(bootstrap: str) -> dict[str, Any]:
    """As `aiokafka_options`, for an app. It keeps the password: who wants to use a new one begins anew."""
    address = KafkaAddress.parse(bootstrap)
    options: dict[str, Any] = {"broker": [f"kafka://{server}" for server in address.hosts]}
    _watch(address)
    trust = _trust(address) if address.with_tls else None
    if address.with_logon:
        found = _credentials(address)
        options["broker_credentials"] = faust.SASLCredentials(
            username=found.username, password=found.password, mechanism=address.mechanism, ssl_context=trust
        )
    elif trust is not None:
        options["broker_credentials"] = faust.SSLCredentials(trust)
    return options


def tell_refusals(told: Callable[[FatalError], None]) -> None:
    """Call this at each refusal: `FatalError` LOGON_REFUSED, BROKER_NOT_TRUSTED. In any thread. The last one counts."""
    _ours.told = told


def _watch(address: KafkaAddress) -> None:
    _ours.address = address
    client.create_conn = _create_conn


async def _create_conn(host: str, port: int, **options: Any) -> Any:
    address = _ours.address
    assert address is not None  # noqa: S101  # `_watch` has put this in place
    broker = f"{host}:{port}"
    cause: Exception
    try:
        return await _connect(host, port, **options)
    except ssl.SSLCertVerificationError as exc:
        refusal, cause = broker_not_trusted(address, broker, exc.verify_message), exc
    except errors.UnsupportedSaslMechanismError as exc:  # whose own text is the name of an object
        refusal, cause = logon_refused(address, broker, "Unsupported SASL mechanism"), exc
    except _REFUSED as exc:
        refusal, cause = logon_refused(address, broker, str(exc)), exc
    if _ours.told is not None:
        _ours.told(refusal)
    raise refusal from cause


def _trust(address: KafkaAddress) -> ssl.SSLContext:
    """Certificates and names are checked, which is Python's default."""
    try:
        return ssl.create_default_context(cafile=address.ca)
    except OSError as exc:  # also `ssl.SSLError`
        raise unusable(str(address.ca), exc.strerror or str(exc)) from exc


def _credentials(address: KafkaAddress) -> KafkaCredentials:
    assert address.credentials is not None  # noqa: S101  # the address has a logon
    return KafkaCredentials.read(address.credentials, lambda path: Path(path).read_bytes())
