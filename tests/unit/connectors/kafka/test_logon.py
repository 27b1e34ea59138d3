"""How an address configures librdkafka, and how a refused logon is reported."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.logon import answer, librdkafka_config, metadata, raise_refusals
from schemas.errors import FatalError, UserError
from tests.servers.certificates import make_certificate

REFUSAL = FatalError("LOGON_REFUSED", "no")
AWAY = KafkaException(KafkaError(KafkaError._TRANSPORT, "away"))


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "kafka.json"
    path.write_text('{"username": "muster", "password": "hush-hush"}')
    return path


def scram(credentials: Path, more: str = "") -> str:
    return f"sasl_ssl://a:1,b:2?mechanism=SCRAM-SHA-512&credentials={credentials}{more}"


class Client:
    """Calls back when polled, as librdkafka does."""

    def __init__(self, *fails: Exception, refuses: bool = False) -> None:
        self.fails = list(fails)
        self.refuses = refuses
        self.asked: list[float] = []

    def poll(self, timeout: float) -> int:
        assert timeout == 0
        if self.refuses:
            raise REFUSAL
        return 0

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> str:
        self.asked.append(timeout)
        if self.fails:
            raise self.fails.pop(0)
        return f"metadata of {topic}"


def test_plain_librdkafka_configuration_has_only_servers() -> None:
    assert librdkafka_config("a:1, b:2") == {"bootstrap.servers": "a:1,b:2"}


def test_logon_trusts_the_system_certificates_by_default(credentials: Path) -> None:
    config = librdkafka_config(scram(credentials))
    assert callable(config.pop("error_cb"))
    assert Path(config.pop("ssl.ca.location")).exists()
    assert config == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "muster",
        "sasl.password": "hush-hush",
    }


def test_client_reads_credentials_when_created(credentials: Path) -> None:
    assert librdkafka_config(scram(credentials))["sasl.password"] == "hush-hush"
    credentials.write_text(json.dumps({"username": "muster", "password": "another"}))
    assert librdkafka_config(scram(credentials))["sasl.password"] == "another"


def test_own_certificates_replace_the_systems(tmp_path: Path) -> None:
    ca, _ = make_certificate(tmp_path)
    config = librdkafka_config(f"ssl://a:1?ca={ca}")
    assert (config["security.protocol"], config["ssl.ca.location"]) == ("ssl", str(ca))
    assert "sasl.mechanism" not in config


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        (lambda path: path.write_bytes(b"\xff"), "it is not UTF-8"),
        (lambda path: path.write_text("hush-hush"), "it is not JSON"),
    ],
)
def test_unusable_file_is_named_with_the_fault(credentials: Path, spoil: Callable[[Path], object], why: str) -> None:
    spoil(credentials)
    with pytest.raises(FatalError) as refused:
        librdkafka_config(scram(credentials))
    assert refused.value.code == "CREDENTIALS_UNUSABLE"
    assert f"{credentials} (from the setting kafka_bootstrap) cannot be used: {why}" in refused.value.message


@pytest.mark.parametrize(("content", "why"), [(None, "No such file or directory"), ("no certificate", "NO_CERT")])
def test_unusable_certificates_are_refused_before_a_client_is_created(
    credentials: Path, tmp_path: Path, content: str | None, why: str
) -> None:
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_text(content)
    with pytest.raises(FatalError, match=why) as refused:
        librdkafka_config(scram(credentials, f"&ca={ca}"))
    assert (refused.value.code, refused.value.detail["path"]) == ("CREDENTIALS_UNUSABLE", str(ca))


def test_invalid_address_is_refused() -> None:
    with pytest.raises(UserError, match="BAD_SETTINGS"):
        librdkafka_config("sasl_ssl://a:1")


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (
            KafkaError._AUTHENTICATION,
            "sasl_ssl://a:1/bootstrap: SASL authentication error: No (after 46ms in state AUTH_REQ)",
            ("LOGON_REFUSED", "Kafka at a:1 refuses the logon with SCRAM-SHA-512: SASL authentication error: No. "),
        ),
        (
            KafkaError._AUTHENTICATION,
            "something new",
            ("LOGON_REFUSED", "Kafka at a:1,b:2 refuses the logon with SCRAM-SHA-512: something new. "),
        ),
        (
            KafkaError._SSL,
            "sasl_ssl://b:2/7: SSL handshake failed: certificate verify failed: x",
            ("BROKER_NOT_TRUSTED", "the certificate of Kafka at b:2 is rejected: SSL handshake failed: "),
        ),
    ],
)
def test_callback_raises_a_refusal(credentials: Path, code: int, text: str, expected: tuple[str, str]) -> None:
    with pytest.raises(FatalError) as refused:
        librdkafka_config(scram(credentials))["error_cb"](KafkaError(code, text))
    assert refused.value.code == expected[0]
    assert refused.value.message.startswith(expected[1])


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"),
        (KafkaError._TRANSPORT, "sasl_ssl://a:1/bootstrap: Connection refused"),
        (
            KafkaError._AUTHENTICATION,
            "GroupCoordinator: SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure",
        ),
        (KafkaError._SSL, "sasl_ssl://a:1/bootstrap: SSL handshake failed: Disconnected"),
    ],
)
def test_callback_ignores_an_outage(credentials: Path, code: int, text: str) -> None:
    librdkafka_config(scram(credentials))["error_cb"](KafkaError(code, text))


def test_failed_call_raises_the_refusal_or_an_outage() -> None:
    for refuses, expected in ((True, REFUSAL), (False, AWAY)):
        with pytest.raises(type(expected)) as raised, raise_refusals(Client(refuses=refuses)):
            raise AWAY
        assert raised.value is expected


def test_metadata_is_retried_until_the_deadline() -> None:
    patient = Client(AWAY, AWAY)
    assert metadata(patient, "t", 10) == "metadata of t"
    assert patient.asked[:2] == [1.0, 2.0]
    refused = Client(AWAY, refuses=True)
    with pytest.raises(FatalError):
        metadata(refused, "t", 10)
    assert refused.asked == [1.0]
    away = Client(AWAY)
    with pytest.raises(KafkaException):
        metadata(away, None, 0.5)
    assert len(away.asked) == 1


def _future(result: object = None) -> "Future[Any]":
    future: Future[Any] = Future()
    if isinstance(result, Exception):
        future.set_exception(result)
    elif result is not None:
        future.set_result(result)
    return future


def test_answers_and_refusals_do_not_wait_for_the_deadline() -> None:
    assert answer(Client(), _future("yes"), 5) == "yes"
    with pytest.raises(KafkaException):
        answer(Client(), _future(AWAY), 5)
    with pytest.raises(FatalError):
        answer(Client(refuses=True), _future(AWAY), 5)
    with pytest.raises(FatalError):
        answer(Client(refuses=True), _future(), 3600)
    with pytest.raises(KafkaException, match="_TIMED_OUT"):
        answer(Client(), _future(), 0.3)
