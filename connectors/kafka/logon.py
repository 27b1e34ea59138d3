"""How every librdkafka client reaches Kafka, and how a refused logon is reported.

librdkafka retries a refused logon forever and reports it only to `error_cb`, which it calls while it is polled. What
the callback raises here propagates out of that call: `poll`, `consume` or `flush`. Calls that do not poll fail as if
Kafka were down; `metadata`, `answer` and `raise_refusals` then check for a refused logon.
"""

import re
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.iam_tokens import BEARER, iam_tokens
from schemas.kafka_address import KafkaAddress, KafkaCredentials, broker_not_trusted, logon_refused, unusable

FIRST_WAIT_S: Final = 1.0
POLL_INTERVAL_S: Final = 0.2
BROKER: Final = re.compile(r"\w+://([^/\s]+)/\S*: (.*?)(?: \(after \d+ms in state \w+\))?", re.DOTALL)
"""librdkafka's errors: `sasl_ssl://HOST:PORT/ID: what happened (after 12ms in state AUTH_REQ)`."""
NOT_VERIFIED: Final = "certificate verify failed"
NOT_ANSWERED: Final = "mechanism handshake failed: Local: "
"""The connection broke while librdkafka asked for the mechanisms: an outage, although it has the code of a refusal."""
NOT_SIGNED: Final = "Failed to acquire SASL OAUTHBEARER token"
"""AWS did not sign a token: an outage, with the code of a refusal too."""
T = TypeVar("T")


class PollableClient(Protocol):
    """A client that runs its callbacks while it is polled. A consumer must not have partitions yet."""

    def poll(self, timeout: float) -> object:
        """Serve pending events."""
        ...


class MetadataClient(PollableClient, Protocol):
    """A client for metadata requests."""

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """See librdkafka."""
        ...


def librdkafka_config(bootstrap: str) -> dict[str, Any]:
    """The client configuration for an address. Files are read again for each client.

    Raises `UserError` BAD_SETTINGS, `FatalError` CREDENTIALS_UNUSABLE, `RetriableError` NO_KAFKA_TOKEN. The result
    contains the password: never print it.
    """
    address = KafkaAddress.parse(bootstrap)
    config: dict[str, Any] = {"bootstrap.servers": address.servers}
    if address.protocol == "plaintext":
        return config
    config |= {"security.protocol": address.protocol, "error_cb": _on_error(address)}
    if address.with_tls and (trusted := _trusted(address)):
        config["ssl.ca.location"] = trusted
    if address.region is not None:
        tokens = iam_tokens(address.region)
        tokens.current()  # without one, the constructor of the client would wait for 10 s and not say why
        config |= {"sasl.mechanism": BEARER, "oauth_cb": tokens.for_librdkafka}
    if address.credentials is not None:
        found = KafkaCredentials.read(address.credentials, Path(address.credentials).read_bytes)
        config |= {
            "sasl.mechanism": address.mechanism,
            "sasl.username": found.username,
            "sasl.password": found.password,
        }
    return config


def metadata(client: MetadataClient, topic: str | None, timeout_s: float) -> Any:
    """Metadata of a topic, or of all topics. Raises `KafkaException`, and immediately what `raise_refusals` raises."""
    deadline = time.monotonic() + timeout_s
    wait_s = FIRST_WAIT_S
    while True:
        left_s = deadline - time.monotonic()
        try:
            with raise_refusals(client):
                return client.list_topics(topic=topic, timeout=max(0.1, min(wait_s, left_s)))
        except KafkaException:
            if left_s <= wait_s:
                raise
        wait_s *= 2


def answer(client: PollableClient, future: "Future[T]", timeout_s: float) -> T:
    """The result of an admin request. Raises `KafkaException`, also at `timeout_s`, and as `raise_refusals` does."""
    deadline = time.monotonic() + timeout_s
    while not future.done() and (left_s := deadline - time.monotonic()) > 0:
        client.poll(0)
        try:
            return future.result(min(POLL_INTERVAL_S, left_s))
        except TimeoutError:
            continue
    with raise_refusals(client):
        if not future.done():  # librdkafka's own time-out, which is a little shorter, was not delivered
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # public, as in `errors`
        return future.result()


@contextmanager
def raise_refusals(client: PollableClient) -> Iterator[None]:
    """Raise `FatalError` LOGON_REFUSED or BROKER_NOT_TRUSTED if a refusal made the call fail."""
    try:
        yield
    except KafkaException:
        client.poll(0)
        raise


def _on_error(address: KafkaAddress) -> Callable[[KafkaError], None]:
    def on_error(error: KafkaError) -> None:
        """Raise refusals. Outages pass: librdkafka keeps trying, and the waiting call reports its failure."""
        broker, what = _broker(error.str(), address)
        outage = NOT_ANSWERED in what or NOT_SIGNED in what
        if error.code() == KafkaError._AUTHENTICATION and not outage:  # noqa: SLF001  # public, as in `errors`
            raise logon_refused(address, broker, what)
        if error.code() == KafkaError._SSL and NOT_VERIFIED in what:  # noqa: SLF001
            raise broker_not_trusted(address, broker, what)

    return on_error


def _broker(text: str, address: KafkaAddress) -> tuple[str, str]:
    found = BROKER.fullmatch(text)
    return (found[1], found[2]) if found else (address.servers, text)


def _trusted(address: KafkaAddress) -> str | None:
    """A file or, failing that, a folder of certificates; by default the one that Python trusts."""
    if address.ca is None:
        default = ssl.get_default_verify_paths()
        return default.cafile or default.capath
    try:
        ssl.create_default_context(cafile=address.ca)
    except OSError as exc:  # includes `ssl.SSLError`
        raise unusable(address.ca, exc.strerror or str(exc)) from exc
    return address.ca
