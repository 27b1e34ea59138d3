"""Connection options for every aiokafka client, and the handling of a refused logon.

aiokafka treats a refusal as an outage: it logs a line and retries forever. Here a refusal raises our own error, which
aiokafka passes on because it does not recognise it as an outage. It is raised by `start` and by later calls that need a
connection. aiokafka's background tasks end on it silently, so a callback reports it as well.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiokafka import client, errors
from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator

from connectors.kafka.iam_tokens import BEARER, iam_tokens
from schemas.errors import FatalError
from schemas.kafka_address import KafkaAddress, KafkaCredentials, broker_not_trusted, logon_refused, unusable

_CLOSING_S: Final = 1.0
_REFUSED: Final = (
    errors.AuthenticationFailedError,
    errors.SaslAuthenticationFailed,
    errors.IllegalSaslStateError,
    errors.UnsupportedSaslMechanismError,
)


@dataclass(slots=True)
class _ProcessState:
    """A process has one Kafka and at most one worker. aiokafka does not say which client a connection is for."""

    address: KafkaAddress | None = None
    report: Callable[[FatalError], None] | None = None


_STATE: Final = _ProcessState()
_OPENED: Final = ContextVar[list[AIOKafkaConnection] | None]("_OPENED", default=None)


def aiokafka_options(bootstrap: str) -> dict[str, Any]:
    """Options of a client that is created now; each call reads the files again.

    Raises `UserError` BAD_SETTINGS, `FatalError` CREDENTIALS_UNUSABLE. The result holds the password: never print it.
    """
    address = KafkaAddress.parse(bootstrap)
    options: dict[str, Any] = {"bootstrap_servers": list(address.hosts), "security_protocol": address.protocol.upper()}
    watch_refusals(address)
    if address.with_tls:
        options["ssl_context"] = tls_context(address)
    if address.region is not None:
        options |= {"sasl_mechanism": BEARER, "sasl_oauth_token_provider": iam_tokens(address.region)}
    if address.credentials is not None:
        found = KafkaCredentials.read(address.credentials, Path(address.credentials).read_bytes)
        options |= {
            "sasl_mechanism": address.mechanism,
            "sasl_plain_username": found.username,
            "sasl_plain_password": found.password,
        }
    return options


def report_refusals(report: Callable[[FatalError], None]) -> None:
    """Call `report` at each refusal (any thread): `FatalError` LOGON_REFUSED, BROKER_NOT_TRUSTED. Last call wins."""
    _STATE.report = report


def watch_refusals(address: KafkaAddress) -> None:
    """Let connections of aiokafka clients to this address raise and report refusals."""
    _STATE.address = address
    client.create_conn = _create_conn


async def _create_conn(host: str, port: int, **options: Any) -> AIOKafkaConnection:
    address = _STATE.address
    assert address is not None  # noqa: S101  # `watch_refusals` has put this in place
    broker = f"{host}:{port}"
    cause: Exception
    connection = _Connection(host, port, **options)
    try:
        await connection.connect()
    except ssl.SSLCertVerificationError as exc:
        refusal, cause = broker_not_trusted(address, broker, exc.verify_message), exc
    except _REFUSED as exc:
        # The text of an unsupported mechanism is the name of an object.
        unsupported = isinstance(exc, errors.UnsupportedSaslMechanismError)
        refusal = logon_refused(address, broker, "Unsupported SASL mechanism" if unsupported else str(exc))
        cause = exc
        await _closed(connection)
    except BaseException:  # also if the caller gives up
        await _closed(connection)
        raise
    else:
        if (opened := _OPENED.get()) is not None:
            opened.append(connection)
        return connection
    if _STATE.report is not None:
        _STATE.report(refusal)
    raise refusal from cause


class _Bearer(OAuthAuthenticator):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka takes a refused token for an accepted one, and the broken connection that follows for an outage.

    The broker refuses with a challenge and waits for its acknowledgement before it says why (RFC 7628, 3.2.3).
    """

    _refused = False

    async def step(self, payload: bytes | None) -> Any:
        """The token; then, if there is a challenge, its acknowledgement."""
        if payload and not self._refused:
            self._refused = True
            return b"\x01", True
        return await super().step(payload)


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # likewise
    def authenticator_oauth(self) -> OAuthAuthenticator:
        return _Bearer(sasl_oauth_token_provider=self._sasl_oauth_token_provider)


@asynccontextmanager
async def connections_closed() -> AsyncIterator[None]:
    """Close every connection that clients have opened within, in this task and those that it starts.

    A client that is cancelled while it bootstraps loses its connection without closing it.
    """
    opened: list[AIOKafkaConnection] = []
    before = _OPENED.set(opened)
    try:
        yield
    finally:
        _OPENED.reset(before)
        for connection in opened:
            await _closed(connection)


async def _closed(connection: AIOKafkaConnection) -> None:
    """Wait until a connection is closed, if it was ever open.

    Over TLS this takes a few messages; a loop that ends before leaves the socket open.
    """
    if connection._protocol is not None:  # noqa: SLF001
        await asyncio.wait([connection.close()], timeout=_CLOSING_S)


def tls_context(address: KafkaAddress) -> ssl.SSLContext:
    """A context that checks certificates and host names, which is Python's default.

    Raises `FatalError` CREDENTIALS_UNUSABLE.
    """
    try:
        return ssl.create_default_context(cafile=address.ca)
    except OSError as exc:  # also `ssl.SSLError`
        raise unusable(str(address.ca), exc.strerror or str(exc)) from exc
