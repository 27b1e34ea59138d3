"""A broker with TLS, users and an authorizer: rejected clients end soon and say why; no password is printed.

It checks the retention of its topics twice a second, so the lifetime of records is tested here too.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connectors.kafka import iam_tokens
from connectors.kafka.log_offsets import log_ends
from connectors.kafka.topic_ids import TopicIds
from connectors.kafka.topics import ensure_topics, topic_differences
from connectors.kafka.worker_group import WorkerGroup
from connectors.publishing.producer import KafkaTopicLog
from orchestration.answers.dead_letters import DeadLetterLog
from orchestration.catalog import migrate
from orchestration.composition.context import Context
from orchestration.operations.workers import running_workers
from orchestration.platform.settings import Secret, Settings
from schemas import topics
from schemas.errors import FatalError, MusterError, RetriableError
from schemas.topics import DEAD_LETTERS, IMPORTS, SEGMENT_WORKER_GROUP, TOPICS, WORKER_GROUP
from streams.segments.log_reader import LogReader
from tests.conftest import StartStack
from tests.integration.whole_imports import TENANT, assert_published, ended, job_of, upload, write_file
from tests.integration.workers import ROOT, Workers
from tests.servers.certificates import make_certificate
from tests.servers.ports import free_port
from tests.servers.secure_kafka import PLAIN_USER, SecureKafka, secure_kafka, unsigned_token
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
PARTITIONS = 2
PASSWORD, WRONG, NEW, PLAIN = "first-hush", "wrong-hush", "second-hush", "plain-hush"
SECRETS = (PASSWORD, WRONG, NEW, PLAIN)
SHORT_MS: Final = 1_000
NO_OP: Final = bytes.fromhex("01 08 01140000 00")
"""A record without key or headers whose value is a NoOpRecord, as a controller writes to show it is alive."""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(tmp_path_factory.mktemp("kafka"), PLAIN) as running:
        running.set_password(PASSWORD)
        for group in (WORKER_GROUP, SEGMENT_WORKER_GROUP):
            running.allow_group(group)
        ensure_topics(Settings(kafka_bootstrap=running.plaintext, partitions=PARTITIONS))
        yield running


@pytest.fixture(scope="module")
def logon(kafka: SecureKafka) -> Path:
    """The stack's password file; it follows `set_password`."""
    return kafka.credentials("stack", PASSWORD)


@pytest.fixture
def settings(stack: Settings, kafka: SecureKafka, logon: Path, tmp_path: Path) -> Settings:
    """S3 of the session, a catalog, and the broker with the user's logon."""
    url = Secret(f"sqlite:///{tmp_path / 'catalog.db'}")
    migrate.upgrade(url)
    return stack.with_(
        kafka_bootstrap=kafka.address(logon), partitions=PARTITIONS, catalog_url=url, home=tmp_path, engine_url=""
    )


@pytest.fixture(scope="module")
def whole(kafka: SecureKafka, logon: Path, start_module_stack: StartStack) -> Settings:
    """Everything but the broker, with TLS, a user and SCRAM-SHA-512."""
    parts = ("s3", "catalog", "engine", "relay", "worker")
    settings = start_module_stack(parts=parts, kafka_bootstrap=kafka.address(logon), partitions=PARTITIONS)
    Context(settings).audiences.add_tenant(TENANT, 1)
    return settings


async def _read_by_aiokafka(bootstrap: str) -> int:
    reader = LogReader(bootstrap, IMPORTS, 0)
    try:
        await reader.start(0)
        return await reader.end()
    finally:
        await reader.stop()


CLIENTS: dict[str, Callable[[str], object]] = {
    "producer": lambda bootstrap: KafkaTopicLog(bootstrap, IMPORTS).partitions(),
    "offsets": lambda bootstrap: log_ends(bootstrap, IMPORTS, PARTITIONS),
    "topic ids": lambda bootstrap: TopicIds(bootstrap).topic_id(IMPORTS),
    "group": lambda bootstrap: WorkerGroup(bootstrap, PARTITIONS, name="anybody", topics=(IMPORTS,)).members(),
    "doctor": lambda bootstrap: topic_differences(Settings(kafka_bootstrap=bootstrap, partitions=PARTITIONS)),
    "aiokafka": lambda bootstrap: asyncio.run(_read_by_aiokafka(bootstrap)),
}


def says_no_secret(text: str) -> str:
    assert not any(secret in text for secret in SECRETS)
    return text


def refusal(client: str, bootstrap: str) -> MusterError:
    with pytest.raises(FatalError) as refused:
        CLIENTS[client](bootstrap)
    says_no_secret(f"{refused.value.as_record()} {refused.value.__cause__!r}")
    return refused.value


@pytest.mark.parametrize("client", CLIENTS)
def test_every_logon_mechanism_is_accepted(kafka: SecureKafka, client: str) -> None:
    plain = kafka.credentials("plain", PLAIN, PLAIN_USER)
    scram = kafka.credentials("scram", PASSWORD)
    ways = [
        kafka.address(scram),
        kafka.address(plain, "PLAIN"),
        f"ssl://{kafka.tls}?ca={kafka.ca}",
        f"sasl_plaintext://{kafka.sasl_plaintext}?mechanism=SCRAM-SHA-512&credentials={scram}",
    ]
    first, *others = [CLIENTS[client](way) for way in (kafka.plaintext, *ways)]
    assert others == [first] * len(ways)


@pytest.mark.parametrize("client", ["producer", "aiokafka"])
def test_broker_takes_a_token_where_roles_log_on(
    kafka: SecureKafka, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amazon MSK alone can check a token that AWS has signed; how clients pass it on is the same."""
    expires_at_s = time.time() + 900
    address = f"sasl_ssl://{kafka.sasl_ssl}?mechanism=AWS_MSK_IAM&region=eu-central-1&ca={kafka.ca}"

    def signed(text: str) -> None:
        iam_tokens.iam_tokens.cache_clear()
        monkeypatch.setattr(iam_tokens, "_signed", lambda _: iam_tokens.Token(text=text, expires_at_s=expires_at_s))

    signed(unsigned_token("muster", expires_at_s))
    assert CLIENTS[client](address) == CLIENTS[client](kafka.plaintext)
    signed("nonsense")
    error = refusal(client, address)
    assert (error.code, "role of this process, for eu-central-1" in error.message) == ("LOGON_REFUSED", True)
    iam_tokens.iam_tokens.cache_clear()


EACH_LIBRARY: Final = ("producer", "aiokafka")
WRONG_LOGONS: Final = {
    ("SCRAM-SHA-512", "muster"): "invalid credentials",
    ("SCRAM-SHA-512", "nobody"): "invalid credentials",
    ("PLAIN", PLAIN_USER): "Invalid username or password",
    ("SCRAM-SHA-256", "muster"): "Unsupported SASL mechanism",
}
OTHERS = pytest.mark.faults("the same of every client of a library", seconds=3)


@pytest.mark.parametrize(
    ("client", "mechanism", "user", "why"),
    [
        pytest.param(client, *wrong, why, marks=[] if first or client in EACH_LIBRARY else OTHERS)
        for client in CLIENTS
        for first, (wrong, why) in zip((True, False, False, False), WRONG_LOGONS.items(), strict=True)
    ],
)
def test_refused_logon_is_not_an_outage(kafka: SecureKafka, client: str, mechanism: str, user: str, why: str) -> None:
    credentials = kafka.credentials("wrong", WRONG, user)
    refused = refusal(client, kafka.address(credentials, mechanism))
    assert refused.code == "LOGON_REFUSED"
    assert f"Kafka at {kafka.sasl_ssl} refuses the logon with {mechanism}: " in refused.message
    assert why in refused.message
    assert str(credentials) in refused.message


@pytest.mark.parametrize(
    ("client", "host"),
    [
        pytest.param(client, host, marks=[] if host == "127.0.0.1" or client in EACH_LIBRARY else OTHERS)
        for client in CLIENTS
        for host in ("127.0.0.1", "localhost")
    ],
)
def test_untrusted_or_mismatched_certificate_is_not_an_outage(
    kafka: SecureKafka, tmp_path: Path, client: str, host: str
) -> None:
    ca = kafka.ca if host == "localhost" else _stranger(tmp_path)
    refused = refusal(client, kafka.address(kafka.credentials("right", PASSWORD), host=host, ca=str(ca)))
    assert refused.code == "BROKER_NOT_TRUSTED"
    assert f"the certificate of Kafka at {host}:" in refused.message
    assert f"It must be trusted by the certificates in {ca}" in refused.message


@pytest.mark.parametrize("client", ["producer", "offsets", "topic ids"])
def test_absent_broker_is_an_outage(kafka: SecureKafka, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for waits in (
        "connectors.publishing.producer.METADATA_TIMEOUT_S",
        "connectors.kafka.log_offsets.TIMEOUT_S",
        "connectors.kafka.topic_ids.TIMEOUT_S",
    ):
        monkeypatch.setattr(waits, 0.5)
    address = kafka.address(kafka.credentials("right", PASSWORD)).replace(kafka.sasl_ssl, f"127.0.0.1:{free_port()}")
    with pytest.raises(RetriableError) as away:
        CLIENTS[client](address)
    assert away.value.code == "KAFKA_UNAVAILABLE"


@pytest.mark.faults("a stack of its own; each client of it logs on in a test here")
def test_whole_import_runs_over_tls_with_a_user(whole: Settings, tmp_path: Path) -> None:
    context = Context(whole)
    users = write_file(tmp_path / "a.csv", 1, 20_000)
    upload(context, tmp_path / "a.csv", "secure")
    assert_published(context, ended(context, job_of(context, "secure")), users)


@pytest.mark.faults("a stack of its own; a unit test shows that each client rereads the file")
def test_wrong_password_fails_the_job_and_the_next_importer_reads_the_new_one(
    whole: Settings, kafka: SecureKafka, logon: Path, tmp_path: Path
) -> None:
    context = Context(whole)
    users = write_file(tmp_path / "a.csv", 2, 1_000)
    kafka.credentials(logon.stem, WRONG)
    try:
        upload(context, tmp_path / "a.csv", "refused")
        job = ended(context, job_of(context, "refused"))
        assert job.error is not None
        assert (job.state, job.error.kind, job.error.code) == ("FAILED", "system", "LOGON_REFUSED")
        assert kafka.sasl_ssl in says_no_secret(job.error.message)
        kafka.set_password(NEW)
        kafka.credentials(logon.stem, NEW)
        upload(context, tmp_path / "a.csv", "with-the-next-one")
        assert_published(context, ended(context, job_of(context, "with-the-next-one")), users)
    finally:
        kafka.set_password(PASSWORD)
        kafka.credentials(logon.stem, PASSWORD)


WORKERS = {
    "orchestration.entrypoints.worker": WORKER_GROUP,
    "orchestration.entrypoints.segment_worker": SEGMENT_WORKER_GROUP,
}
AGAIN = pytest.mark.faults("the same of another program, which takes seconds to load", seconds=10)


def _joined(settings: Settings, pid: int) -> bool:
    """Compare process ids: the stack of this file may have a worker in the group as well."""
    try:
        return pid in {worker.pid for worker in running_workers(settings)}
    except RetriableError:  # the group's coordinator is being elected
        return False


@pytest.mark.parametrize(
    "module",
    ["orchestration.entrypoints.worker", pytest.param("orchestration.entrypoints.segment_worker", marks=AGAIN)],
)
def test_authorised_worker_joins_its_group(settings: Settings, tmp_path: Path, module: str) -> None:
    workers = Workers(settings, tmp_path, module)
    try:
        workers.start("a")
        until(lambda: _joined(settings, workers.pid("a")))
        assert workers.stop("a") == 0
    finally:
        workers.close()
    says_no_secret(workers.log("a"))


@pytest.mark.parametrize(
    ("module", "code"),
    [
        pytest.param("orchestration.entrypoints.worker", "LOGON_REFUSED", marks=AGAIN),
        ("orchestration.entrypoints.segment_worker", "LOGON_REFUSED"),
        pytest.param("orchestration.entrypoints.worker", "BROKER_NOT_TRUSTED", marks=AGAIN),
        pytest.param("orchestration.entrypoints.segment_worker", "CREDENTIALS_UNUSABLE", marks=AGAIN),
    ],
)
def test_worker_refused_by_kafka_ends_with_the_reason(
    settings: Settings, kafka: SecureKafka, tmp_path: Path, module: str, code: str
) -> None:
    said = _ends(settings.with_(kafka_bootstrap=_bad_address(kafka, code, tmp_path)), tmp_path, module)
    assert f"the worker stops: {code}: " in says_no_secret(said)


@pytest.mark.parametrize(
    "module",
    ["orchestration.entrypoints.worker", pytest.param("orchestration.entrypoints.segment_worker", marks=AGAIN)],
)
def test_worker_refused_by_its_group_ends_with_the_remedy(
    settings: Settings, kafka: SecureKafka, tmp_path: Path, module: str
) -> None:
    group = WORKERS[module]
    said = _ends(settings.with_(kafka_bootstrap=kafka.plaintext), tmp_path, module)
    assert f"GROUP_REFUSED: the group {group} does not accept the worker: GroupAuthorizationFailedError" in said
    assert f"Allow its user to read the group {group}" in said


@pytest.mark.parametrize("code", ["LOGON_REFUSED", pytest.param("CREDENTIALS_UNUSABLE", marks=AGAIN)])
def test_relay_refused_by_kafka_ends_with_the_reason(
    settings: Settings, kafka: SecureKafka, tmp_path: Path, code: str
) -> None:
    refused = settings.with_(kafka_bootstrap=_bad_address(kafka, code, tmp_path), metrics_port=free_port())
    environment = os.environ | refused.environment() | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "orchestration.entrypoints.control_plane"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 1
    assert f"{code}: " in says_no_secret(ended.stderr)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("code", ["LOGON_REFUSED", "BROKER_NOT_TRUSTED"])
def test_program_refused_by_kafka_reports_the_reason(kafka: SecureKafka, tmp_path: Path, code: str) -> None:
    with pytest.raises(MusterError, match=f"^{code}: ") as refused:
        DeadLetterLog(_bad_address(kafka, code, tmp_path))
    says_no_secret(str(refused.value.as_record()))


def test_existing_user_topic_is_altered_to_delete_records_near_their_retention(
    kafka: SecureKafka,
) -> None:
    settings = Settings(kafka_bootstrap=kafka.plaintext, partitions=PARTITIONS)
    admin = AdminClient({"bootstrap.servers": kafka.plaintext})
    producer = Producer({"bootstrap.servers": kafka.plaintext})
    consumer = Consumer({"bootstrap.servers": kafka.plaintext, "group.id": "looks"})
    declared = next(spec for spec in TOPICS if spec.name == DEAD_LETTERS)
    assert declared.holds_users
    spec = replace(declared, retention_ms=SHORT_MS)
    of_before = {name: value for name, value in spec.config().items() if name != "segment.ms"}
    entries = [ConfigEntry(n, v, incremental_operation=AlterConfigOpType.SET) for n, v in of_before.items()]
    entries.append(ConfigEntry("segment.ms", "", incremental_operation=AlterConfigOpType.DELETE))
    changed = [ConfigResource(ResourceType.TOPIC, spec.name, incremental_configs=entries)]
    for done in (
        *admin.incremental_alter_configs(changed).values(),
        *admin.create_topics([NewTopic("of-before", 1, 1, config=of_before)]).values(),
    ):
        done.result(30)
    assert {d.setting for d in topic_differences(settings) if d.topic == spec.name} >= {"segment.ms"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topics, "USERS_SEGMENT_MS", SHORT_MS)
        ensure_topics(settings, [spec])

    began = time.monotonic()

    def first() -> int:  # both topics are busy all the time
        for topic in (spec.name, "of-before"):
            producer.produce(topic, b"ann")
        assert producer.flush(10) == 0
        return _first(consumer, spec.name)

    try:
        assert until(first) > 0
        assert time.monotonic() - began > SHORT_MS / 1000
        assert _first(consumer, "of-before") == 0  # its only segment stays open for a week
        assert NO_OP not in (kafka.folder / "data" / "__cluster_metadata-0" / f"{0:020}.log").read_bytes()
    finally:
        consumer.close()
        ensure_topics(settings, [declared])


def _first(consumer: Consumer, topic: str) -> int:
    """The oldest available offset."""
    return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[0])


def _ends(settings: Settings, logs: Path, module: str) -> str:
    """Log of a worker that is expected to end."""
    workers = Workers(settings, logs, module)
    try:
        workers.start("a")
        assert workers.wait_exit("a") == 70
    finally:
        workers.close()
    return workers.log("a")


def _stranger(folder: Path) -> Path:
    """A certificate unrelated to the broker's, with the same name."""
    return make_certificate(folder)[0]


def _bad_address(kafka: SecureKafka, code: str, folder: Path) -> str:
    if code == "LOGON_REFUSED":
        return kafka.address(kafka.credentials("wrong", WRONG))
    if code == "BROKER_NOT_TRUSTED":
        return kafka.address(kafka.credentials("right", PASSWORD), ca=str(_stranger(folder)))
    return kafka.address(folder / "missing.json")
