"""How an address configures aiokafka, and Faust with it, and how a refused logon is reported."""

import asyncio
import gc
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka import errors
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.structs import BrokerMetadata
from confluent_kafka import KafkaException

from connectors.kafka import aiokafka_logon as logon
from connectors.kafka.aiokafka_logon import aiokafka_options, report_refusals
from connectors.kafka.groups import describe_group
from schemas.errors import FatalError, UserError
from streams.logon import faust_options
from tests.servers.certificates import make_certificate

pytestmark = pytest.mark.anyio


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "kafka.json"
    path.write_text('{"username": "muster", "password": "hush-hush"}')
    return path


def scram(credentials: Path) -> str:
    return f"sasl_ssl://a:1,b:2?mechanism=SCRAM-SHA-512&credentials={credentials}"


def test_plain_configuration_has_only_servers() -> None:
    assert aiokafka_options("a:1,b:2") == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}
    assert faust_options("a:1,b:2") == {"broker": ["kafka://a:1", "kafka://b:2"]}


def test_aiokafka_logs_on_over_tls_that_checks_certificate_and_name(credentials: Path) -> None:
    options = aiokafka_options(scram(credentials))
    context = options.pop("ssl_context")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert options == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "muster",
        "sasl_plain_password": "hush-hush",
    }


def test_an_app_logs_on_over_tls_that_checks_certificate_and_name(credentials: Path) -> None:
    options = faust_options(scram(credentials))
    found = options["broker_credentials"]
    assert options["broker"] == ["kafka://a:1", "kafka://b:2"]
    assert (found.protocol.value, found.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (found.username, found.password) == ("muster", "hush-hush")
    assert (found.ssl_context.verify_mode, found.ssl_context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert "hush-hush" not in repr(found)


def test_tls_and_logon_can_be_configured_separately(credentials: Path, tmp_path: Path) -> None:
    ca, _ = make_certificate(tmp_path)
    tls = faust_options(f"ssl://a:1?ca={ca}")["broker_credentials"]
    assert isinstance(tls, faust.SSLCredentials)
    assert len(tls.context.get_ca_certs()) == 1
    assert aiokafka_options(f"ssl://a:1?ca={ca}")["security_protocol"] == "SSL"
    clear = f"sasl_plaintext://a:1?mechanism=PLAIN&credentials={credentials}"
    assert faust_options(clear)["broker_credentials"].protocol.value == "SASL_PLAINTEXT"
    assert "ssl_context" not in aiokafka_options(clear)


@pytest.mark.parametrize("options", [aiokafka_options, faust_options])
def test_client_reads_credentials_when_created(credentials: Path, options: Callable[[str], dict[str, Any]]) -> None:
    def password() -> str:
        made = options(scram(credentials))
        return str(made.get("sasl_plain_password") or made["broker_credentials"].password)

    assert password() == "hush-hush"
    credentials.write_text(json.dumps({"username": "muster", "password": "another"}))
    assert password() == "another"


@pytest.mark.parametrize("options", [aiokafka_options, faust_options])
def test_unusable_files_are_named_with_the_fault(
    credentials: Path, tmp_path: Path, options: Callable[[str], dict[str, Any]]
) -> None:
    no_certificate = tmp_path / "ca.pem"
    no_certificate.write_text("no certificate")
    not_text = tmp_path / "bytes.json"
    not_text.write_bytes(b"\xff")
    for address, path, why in (
        (scram(tmp_path / "missing"), tmp_path / "missing", "No such file or directory"),
        (scram(not_text), not_text, "it is not UTF-8"),
        (f"ssl://a:1?ca={no_certificate}", no_certificate, ""),
        (f"ssl://a:1?ca={tmp_path / 'missing'}", tmp_path / "missing", "No such file or directory"),
    ):
        with pytest.raises(FatalError) as refused:
            options(address)
        assert refused.value.code == "CREDENTIALS_UNUSABLE"
        assert f"{path} (from the setting kafka_bootstrap) cannot be used: {why}" in refused.value.message
    with pytest.raises(UserError, match="BAD_SETTINGS"):
        options("sasl_ssl://a:1")


def _refusing(monkeypatch: pytest.MonkeyPatch, cause: Exception) -> list[str]:
    """Reports of refusals. A refused connection closes two steps of the event loop later, and says so."""

    async def connect(connection: AIOKafkaConnection) -> None:
        loop = asyncio.get_running_loop()
        connection._protocol = object()
        closed = connection._closed_fut = loop.create_future()
        closed.add_done_callback(lambda _: reported.append("closed"))
        loop.call_soon(loop.call_soon, closed.set_result, None)
        raise cause

    reported: list[str] = []
    monkeypatch.setattr(AIOKafkaConnection, "connect", connect)
    monkeypatch.setattr(logon._STATE, "report", None)
    report_refusals(lambda error: reported.append(str(error)))
    return reported


@pytest.mark.parametrize(
    ("cause", "closed", "expected"),
    [
        (
            errors.SaslAuthenticationFailed("no such user"),
            ["closed"],
            "LOGON_REFUSED: Kafka at a:1 refuses the logon with SCRAM-SHA-512: [Error 58] SaslAuthenticationFailed: no",
        ),
        (
            errors.UnsupportedSaslMechanismError("<an object>"),
            ["closed"],
            "LOGON_REFUSED: Kafka at a:1 refuses the logon with SCRAM-SHA-512: Unsupported SASL mechanism. The user",
        ),
        (
            ssl.SSLCertVerificationError(1, "certificate verify failed"),
            [],
            "BROKER_NOT_TRUSTED: the certificate of Kafka at a:1 is rejected: ",
        ),
    ],
)
async def test_first_connection_raises_and_reports_a_refusal(
    credentials: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception, closed: list[str], expected: str
) -> None:
    """Once the connection is closed, unless there was none yet."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        cause.verify_message = "self-signed certificate"
    reported = _refusing(monkeypatch, cause)
    client = AIOKafkaClient(**aiokafka_options(scram(credentials).replace(",b:2", "")))
    with pytest.raises(FatalError) as refused:
        await client.bootstrap()
    assert str(refused.value).startswith(expected)
    assert reported == [*closed, str(refused.value)]


async def test_refusal_of_a_later_connection_is_reported(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = _refusing(monkeypatch, errors.SaslAuthenticationFailed("the password is another now"))
    client = AIOKafkaClient(**aiokafka_options(scram(credentials)))
    client.cluster._brokers = {7: BrokerMetadata(7, "b", 2, None)}
    with pytest.raises(FatalError):
        await client._get_conn(7)
    assert reported[0] == "closed"
    assert reported[1].startswith("LOGON_REFUSED: Kafka at b:2 refuses")


def test_abandoned_connection_is_closed_before_the_loop_ends(
    tmp_path: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open socket fails this test: its collection warns."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setattr(logon._STATE, "report", None)

    asked = threading.Event()

    def say_nothing() -> None:
        accepted, _ = listening.accept()
        with context.wrap_socket(accepted, server_side=True) as broker:
            asked.set()
            while broker.recv(1024):
                pass
            time.sleep(0.2)  # a busy broker answers a farewell late

    async def give_up(address: str) -> None:
        client = AIOKafkaClient(**aiokafka_options(address))
        asking = asyncio.ensure_future(client.bootstrap())
        while not asked.is_set():  # noqa: ASYNC110  # a thread sets it
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = threading.Thread(target=say_nothing)
        taken.start()
        address = f"sasl_ssl://127.0.0.1:{listening.getsockname()[1]}?mechanism=SCRAM-SHA-512&ca={certificate}"
        asyncio.run(give_up(f"{address}&credentials={credentials}"))
        taken.join()
    gc.collect()


def test_a_question_that_takes_too_long_leaves_no_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_nothing_up(_: AIOKafkaConnection) -> None:
        pass

    async def wait_for_ever(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaConnection, "_do_version_lookup", look_nothing_up)
    monkeypatch.setattr(AIOKafkaConnection, "send", wait_for_ever)
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(KafkaException, match=r"took 0\.2 s"):
        describe_group(f"127.0.0.1:{listening.getsockname()[1]}", "workers", timeout_s=0.2)
    gc.collect()  # an open connection would warn


async def test_outage_is_reported_as_an_outage(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = _refusing(monkeypatch, ConnectionResetError("away"))
    client = AIOKafkaClient(**aiokafka_options(scram(credentials).replace(",b:2", "")))
    with pytest.raises(errors.KafkaConnectionError):
        await client.bootstrap()
    assert reported == ["closed"]
