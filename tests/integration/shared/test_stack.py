"""The embedded stack as a user meets it: up, down, restarts, kill -9, taken ports, and ports without a listener."""

import json
import os
import signal
import socket
import ssl
import stat
import sys
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from botocore.exceptions import ClientError
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from connectors.kafka.clients import admin_client
from connectors.kafka.logon import librdkafka_config, metadata
from connectors.kafka.topics import ensure_topics, topic_differences
from connectors.kafka.worker_group import broker_answers
from connectors.private_files import write_private
from orchestration.composition import administration
from orchestration.composition.context import Context
from orchestration.local import doctor, processes, s3_keys
from orchestration.local import stack as local_stack
from orchestration.local.home import Home, initialise
from orchestration.local.kafka.class_cache import cache_path
from orchestration.local.kafka.jars import classpath
from orchestration.local.ports import LOOPBACK, Ports, kafka_address
from orchestration.local.seaweedfs import ensure_buckets, missing_buckets, s3_client
from orchestration.local.status import PartState, PartStatus
from orchestration.platform.settings import Secret, Settings
from schemas.errors import FatalError, UserError
from schemas.ids import TenantName
from schemas.kafka_address import hosts
from schemas.topics import EVENTS, IMPORT_PROGRESS, IMPORTS, JOB_EVENTS, PROFILES, WORKER_GROUP
from tests.conftest import stack_environment, stop_and_check
from tests.integration.shared.former_home import RECORD, SECRET, make_former_home
from tests.integration.workers import read_values
from tests.servers.certificates import make_certificate
from tests.waiting import until

pytestmark = pytest.mark.integration


def produce(settings: Settings, value: bytes) -> None:
    producer = Producer({**librdkafka_config(settings.kafka_bootstrap), "acks": "all"})
    errors: list[object] = []
    producer.produce(JOB_EVENTS, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors == [None]


def assert_kept(settings: Settings, *values: bytes) -> None:
    """Check that the topic has these values, in this order, once each."""

    def read() -> list[bytes] | None:
        try:
            return read_values(settings, JOB_EVENTS)
        except KafkaException:  # a broker that has just started does not lead its partitions yet
            return None

    assert [value for value in until(read) if value in values] == list(values)


def put(settings: Settings, key: str) -> None:
    s3_client(settings).put_object(Bucket="lake", Key=key, Body=key.encode())


def assert_put(settings: Settings, key: str) -> None:
    assert s3_client(settings).get_object(Bucket="lake", Key=key)["Body"].read() == key.encode()


def part_of(settings: Settings, part: str) -> PartStatus:
    found = local_stack.status(settings).part(part)
    assert found is not None
    return found


def test_kafka_and_s3_come_up_with_their_topics_and_buckets(stack: Settings) -> None:
    assert topic_differences(stack) == ()
    assert missing_buckets(stack) == ()


def test_a_second_up_changes_nothing(stack: Settings) -> None:
    before = local_stack.status(stack)

    local_stack.up(stack.home)

    assert local_stack.status(stack) == before
    assert before.ready
    assert [p.name for p in before.parts] == ["s3", "kafka"]


def test_up_with_other_parts_is_refused_while_running(stack: Settings) -> None:
    with pytest.raises(UserError, match="is running without engine") as refused:
        local_stack.up(stack.home, parts=["kafka", "engine"])

    assert refused.value.code == "STACK_HAS_OTHER_PARTS"


def test_s3_refuses_a_wrong_secret(stack: Settings) -> None:
    stranger = s3_client(stack.with_(s3_secret_key=Secret("wrong")))

    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_buckets()


@pytest.mark.parametrize("listener", ["kafka", "kafka_controller"])
def test_kafka_refuses_clients_without_a_logon(stack: Settings, listener: str) -> None:
    port = getattr(Ports.load(Home(path=stack.home).ports_file, stack), listener)
    asks_for_metadata = bytes.fromhex("0003 0000 00000001 ffff 00000000")
    with socket.create_connection((LOOPBACK, port), timeout=30) as connection:
        connection.sendall(len(asks_for_metadata).to_bytes(4) + asks_for_metadata)
        assert connection.recv(1) == b""
    with pytest.raises(FatalError, match="LOGON_REFUSED"):
        metadata(Consumer(as_client(stack, port=port, password="guessed")), None, 30)


def as_client(settings: Settings, *, port: int = 0, password: str = "") -> dict[str, Any]:
    """Kafka settings for an outside program; it may guess a password, or try another port."""
    user = json.loads((settings.home / "kafka" / "client.json").read_text())
    guessed = settings.home / "guessed.json"
    write_private(guessed, json.dumps(user | {"password": password or user["password"]}).encode())
    server = f"{LOOPBACK}:{port}" if port else hosts(settings.kafka_bootstrap)[0]
    config = librdkafka_config(f"{kafka_address(server)}&credentials={guessed}")
    return {**config, "group.id": f"outside-{uuid.uuid4().hex}", "auto.offset.reset": "earliest", "log_level": 0}


def test_external_program_can_only_write_events_and_read_results(stack: Settings) -> None:
    client = {name: value for name, value in as_client(stack).items() if name not in {"group.id", "auto.offset.reset"}}
    producer, reports = Producer({**client, "enable.idempotence": True}), {}
    for topic in (EVENTS, PROFILES, IMPORTS, JOB_EVENTS, "muster.none"):
        producer.produce(topic, b"{}", on_delivery=lambda error, m: reports.update({m.topic(): error and error.code()}))
    assert producer.flush(30) == 0
    denied = KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert reports == {EVENTS: None, PROFILES: None, IMPORTS: denied, JOB_EVENTS: denied, "muster.none": denied}

    produce(stack, b"for everybody")
    with closing(Consumer(as_client(stack))) as consumer:
        consumer.subscribe([JOB_EVENTS])
        assert until(lambda: (found := consumer.poll(1)) and found.error() is None)
        consumer.commit(asynchronous=False)
    with closing(Consumer(as_client(stack) | {"group.id": WORKER_GROUP})) as consumer:
        consumer.subscribe([JOB_EVENTS])
        error = until(lambda: found.error() if (found := consumer.poll(1)) else None)
        assert error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
    admin = AdminClient(client)
    refused = [
        *admin.create_topics([NewTopic("outside", 1)]).values(),
        *admin.delete_topics([EVENTS]).values(),
        *admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion("muster", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), b"mine")]
        ).values(),
    ]
    codes = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
    for future in refused:
        with pytest.raises(KafkaException) as denial:
            future.result(30)
        assert denial.value.args[0].code() in codes


def test_stack_listens_only_on_loopback(stack: Settings) -> None:
    listening = [
        connection.laddr.ip
        for part in ("kafka", "s3")
        for connection in psutil.Process(part_of(stack, part).pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert len(listening) >= 10
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has mapped is known on Linux")
def test_broker_starts_from_the_cache_of_setup(stack: Settings) -> None:
    mapped = {m.path for m in psutil.Process(part_of(stack, "kafka").pid).memory_maps()}

    assert str(cache_path(classpath())) in mapped


def test_the_home_is_private(stack: Settings) -> None:
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [stack.home, stack.home / "settings.toml"]}

    assert modes == {"home": 0o700, "settings.toml": 0o600}
    open_to_others = {
        path.name: [secret for secret in secrets_of(stack) if secret.encode() in path.read_bytes()]
        for path in stack.home.rglob("*")
        if path.is_file() and "data" not in path.parts and stat.S_IMODE(path.stat().st_mode) & 0o077
    }
    assert "stack.json" in open_to_others
    assert not any(open_to_others.values())


def secrets_of(settings: Settings) -> list[str]:
    """Secrets of the store, inside and outside, and of Kafka's users."""
    files = [settings.home / "kafka" / f"{user}.json" for user in ("muster", "client")]
    key = (settings.home / "s3" / "key.pem").read_text().splitlines()[1]
    client = json.loads((settings.home / "s3" / "keys" / "client-default.json").read_text())["secret_key"]
    passwords = (json.loads(file.read_text())["password"] for file in files)
    return [key, client, settings.s3_secret_key.reveal(), *passwords]


def test_tenant_key_reaches_only_inbox_and_downloads(stack: Settings) -> None:
    directory, tenant = stack.home / "s3", TenantName("acme")
    held = s3_keys.key_of(directory, stack, tenant)  # made while the server runs
    client = s3_client(stack.with_(s3_access_key=held.access_key, s3_secret_key=Secret(held.secret_key)))
    for key in ("download/acme/x/a", "download/acme2/x/a", "uploads/acme/upload/x/a", "imports/x"):
        s3_client(stack).put_object(Bucket="staging", Key=key, Body=b"x")
    s3_client(stack).put_object(Bucket="lake", Key="audiences/acme/x", Body=b"x")

    client.put_object(Bucket="inbox", Key="acme/_unused/a.csv", Body=b"x")
    assert client.list_objects_v2(Bucket="inbox", Prefix="acme/")["KeyCount"] >= 1
    assert client.get_object(Bucket="staging", Key="download/acme/x/a")["Body"].read() == b"x"
    assert [one["Key"] for one in client.list_objects_v2(Bucket="staging", Prefix="download/acme/")["Contents"]] == [
        "download/acme/x/a"
    ]
    refused: list[Callable[[], object]] = [
        *(
            partial(client.get_object, Bucket="staging", Key=key)
            for key in ("download/acme2/x/a", "uploads/acme/upload/x/a", "imports/x")
        ),
        *(
            partial(client.list_objects_v2, Bucket=bucket, Prefix=prefix)
            for bucket, prefix in (
                ("lake", ""),
                ("lake", "audiences/acme/"),
                ("staging", ""),
                ("staging", "download/"),
                ("staging", "download/acme2/"),
                ("inbox", ""),
                ("inbox", "beta/"),
            )
        ),
        *(
            partial(client.put_object, Bucket=bucket, Key=key, Body=b"")
            for bucket, key in (
                ("lake", "audiences/acme/y"),
                ("lake", "exports/acme/y"),
                ("staging", "download/acme/y"),
                ("staging", "imports/y"),
                ("inbox", "beta/vip/a.csv"),
                ("inbox", "acme2/vip/a.csv"),
            )
        ),
        partial(client.get_object, Bucket="lake", Key="audiences/acme/x"),
        partial(client.delete_object, Bucket="lake", Key="audiences/acme/x"),
        partial(client.copy_object, Bucket="inbox", Key="acme/_unused/y", CopySource="lake/audiences/acme/x"),
        partial(client.copy_object, Bucket="inbox", Key="acme/_unused/y", CopySource="staging/download/acme2/x/a"),
        partial(client.create_bucket, Bucket="mine"),
    ]
    for call in refused:
        with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
            call()


def test_lake_key_reads_only_tables_of_one_tenant(stack: Settings) -> None:
    held = s3_keys.key_of(stack.home / "s3", stack, TenantName("acme"), lake=True)
    client = s3_client(stack.with_(s3_access_key=held.access_key, s3_secret_key=Secret(held.secret_key)))
    for key in ("audiences/acme/x", "audiences/acme2/x", "rejects/acme/x"):
        s3_client(stack).put_object(Bucket="lake", Key=key, Body=b"x")
    assert client.get_object(Bucket="lake", Key="audiences/acme/x")["Body"].read() == b"x"
    assert client.list_objects_v2(Bucket="lake", Prefix="audiences/acme/")["KeyCount"] >= 1
    for call in (
        partial(client.get_object, Bucket="lake", Key="audiences/acme2/x"),
        partial(client.get_object, Bucket="lake", Key="rejects/acme/x"),
        partial(client.put_object, Bucket="lake", Key="audiences/acme/x", Body=b""),
        partial(client.put_object, Bucket="inbox", Key="acme/vip/a.csv", Body=b""),
    ):
        with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
            call()


def test_only_the_inbox_keeps_versions(stack: Settings) -> None:
    client = s3_client(stack)

    states = {b: client.get_bucket_versioning(Bucket=b).get("Status") for b in ("inbox", "staging", "lake")}

    assert states == {"inbox": "Enabled", "staging": None, "lake": None}


def test_a_changed_number_of_partitions_is_refused(stack: Settings) -> None:
    with pytest.raises(FatalError, match=r"muster\.imports has 4 partitions, the settings say 6") as refused:
        ensure_topics(stack.with_(partitions=6))

    assert refused.value.code == "TOPIC_PARTITIONS_CHANGED"


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home of the previous release, whose servers let everyone in; none of them runs."""
    return make_former_home(tmp_path_factory.mktemp("former") / "home")


@pytest.fixture(scope="module")
def own(former: Settings) -> Iterator[Settings]:
    """The same home, brought up. Tests may kill and stop its servers, which run again at the end of each."""
    try:
        yield local_stack.up(former.home, parts=["kafka", "s3"], env=stack_environment({}))
        assert local_stack.down(former.home) is True
        assert processes.marked(former.home) == []
        assert local_stack.down(former.home) is False
    finally:
        stop_and_check(former.home)


@pytest.mark.slow("starts the servers of the release before, then those of this one")
def test_up_migrates_a_home_of_the_previous_release_with_its_data(former: Settings, own: Settings) -> None:
    assert_kept(own, RECORD)
    assert s3_client(own).get_object(Bucket="lake", Key="kept")["Body"].read() == RECORD
    kept = tomllib.loads((own.home / "settings.toml").read_text())
    assert kept["kafka_bootstrap"] == f"sasl_plaintext://{former.kafka_bootstrap}?mechanism=SCRAM-SHA-512"
    assert (kept["s3_secret_key"], kept["partitions"]) == (SECRET, 2)
    assert not broker_answers(former.kafka_bootstrap, timeout_s=2)
    for name in (
        "kafka/server.properties",
        "kafka/muster.json",
        "kafka/client.json",
        "s3/security.toml",
        "s3/s3.json",
        "s3/keys/client-default.json",
    ):
        assert stat.S_IMODE((own.home / name).stat().st_mode) == 0o600, name


@pytest.mark.parametrize("part", ["kafka", "s3"])
def test_killed_part_restarts_with_its_data(own: Settings, part: str) -> None:
    before, after = f"before {part}".encode(), f"after {part}".encode()
    produce(own, before)
    put(own, f"before-{part}")
    old = part_of(own, part)

    os.kill(old.pid or 0, signal.SIGKILL)
    until(lambda: (now := part_of(own, part)).state is PartState.READY and now.pid != old.pid)

    produce(own, after)
    assert_kept(own, before, after)
    assert_put(own, f"before-{part}")
    assert part_of(own, part).restarts == old.restarts + 1


def test_up_after_a_killed_supervisor_keeps_data_and_accepts_new_passwords(
    own: Settings,
) -> None:
    produce(own, b"before the supervisor")
    put(own, "before-the-supervisor")
    passwords = [own.home / "kafka" / f"{user}.json" for user in ("muster", "client")]
    old = [path.read_text() for path in passwords]
    supervisor = local_stack.status(own).supervisor_pid
    assert supervisor is not None

    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not local_stack.status(own).running)
    assert {p.state for p in local_stack.status(own).parts} == {PartState.STOPPED}
    for path in passwords:
        path.unlink()
    local_stack.up(own.home, parts=["kafka", "s3"], env=stack_environment({}))

    assert_kept(own, b"before the supervisor")
    assert_put(own, "before-the-supervisor")
    metadata(Consumer(as_client(own)), None, 30)
    for text in old:
        write_private(own.home / "old.json", text.encode())
        address = kafka_address(hosts(own.kafka_bootstrap)[0])
        with pytest.raises(FatalError, match="LOGON_REFUSED"):
            metadata(admin_client(f"{address}&credentials={own.home / 'old.json'}"), None, 30)


@pytest.mark.parametrize("part", ["kafka", "s3"])
def test_third_party_servers_run_without_settings_and_secrets(stack: Settings, part: str) -> None:
    status = local_stack.status(stack).part(part)
    assert status is not None
    assert status.pid is not None
    process = psutil.Process(status.pid)
    assert [name for name in process.environ() if name.startswith(("MUSTER_", "AWS_"))] == [processes.HOME_MARK]
    shown = [*process.environ().values(), *process.cmdline()]
    assert not [secret for secret in secrets_of(stack) if any(secret in text for text in shown)]


def test_two_homes_run_side_by_side(own: Settings, stack: Settings) -> None:
    produce(own, b"of one home")

    assert own.kafka_bootstrap != stack.kafka_bootstrap
    assert_kept(own, b"of one home")
    assert b"of one home" not in read_values(stack, JOB_EVENTS)


def test_occupied_port_is_named_with_its_program(tmp_path: Path) -> None:
    settings = initialise(Home(path=tmp_path), stack_environment({}), free_ports=True)
    port = Ports.load(tmp_path / "ports.toml", settings).kafka
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()

        with pytest.raises(UserError, match=f"port {port}, which kafka needs, is taken by process {os.getpid()} ") as e:
            local_stack.up(tmp_path, parts=["kafka"], env=stack_environment({}))

    assert e.value.code == "PORT_TAKEN"
    assert "muster up --free-ports" in e.value.message
    assert processes.marked(tmp_path) == []
    assert not local_stack.status(tmp_path).running


def test_the_doctor_finds_nothing_wrong_with_a_healthy_stack(stack: Settings) -> None:
    assert [found for found in doctor.stack(stack, local_stack.status(stack)) if found.severity == "wrong"] == []


def test_the_doctor_names_a_missing_bucket_and_a_missing_topic(own: Settings) -> None:
    s3_client(own).delete_bucket(Bucket="staging")
    admin = admin_client(own.kafka_bootstrap)
    admin.delete_topics([IMPORT_PROGRESS])[IMPORT_PROGRESS].result(10)
    until(lambda: any(d.topic == IMPORT_PROGRESS for d in topic_differences(own)))

    found = [*doctor.stack(own, local_stack.status(own)), *administration.service_checks(Context(own)).run()]
    codes = {diagnosis.code for diagnosis in found}

    assert {"BUCKET_MISSING", "TOPIC_MISSING"} <= codes
    ensure_buckets(own)
    ensure_topics(own)


@pytest.mark.parametrize(
    ("part", "path", "method", "answer"),
    [
        ("s3_filer", "/buckets/lake/inner", "GET", 404),
        ("s3_filer", "/buckets/lake/?limit=9", "GET", 404),
        ("s3_filer", "/buckets/lake/inner", "PUT", 404),
        ("s3_filer", "/buckets/lake/inner", "DELETE", 404),
        ("s3_master", "/dir/assign?collection=lake", "GET", 404),
        ("s3_master", "/dir/lookup?volumeId=1&fileId=1,01637037d6&read=yes", "GET", 404),
        ("s3_master", "/dir/status", "GET", 404),
        ("s3_master", "/col/delete?collection=lake", "GET", 404),
        ("s3_master", "/vol/grow?collection=lake&count=1", "GET", 404),
        ("s3_volume", "/1,01637037d6", "GET", 401),
        ("s3_volume", "/1,01637037d6", "POST", 401),
        ("s3_volume", "/1,01637037d6", "DELETE", 401),
        ("s3_volume", "/ui/index.html", "GET", 401),
    ],
)
def test_inner_s3_ports_refuse_http(stack: Settings, part: str, path: str, method: str, answer: int) -> None:
    put(stack, "inner")
    url = f"http://{LOOPBACK}:{getattr(Ports.load(Home(path=stack.home).ports_file, stack), part)}{path}"

    with pytest.raises(HTTPError) as refused:
        urlopen(Request(url, method=method, data=b"others" if method in {"PUT", "POST"} else None), timeout=10)

    assert refused.value.code == answer
    assert_put(stack, "inner")


@pytest.mark.parametrize("part", ["s3_filer_grpc", "s3_master_grpc", "s3_volume_grpc", "s3_grpc"])
def test_inner_s3_ports_require_its_certificate(stack: Settings, part: str) -> None:
    port = getattr(Ports.load(Home(path=stack.home).ports_file, stack), part)
    folder = stack.home / "s3"

    def speak(prepare: Callable[[ssl.SSLContext], None] | None) -> bytes:
        with ExitStack() as opened:
            channel = opened.enter_context(socket.create_connection((LOOPBACK, port), timeout=30))
            if prepare is not None:
                context = ssl.create_default_context(cafile=folder / "authority.pem")
                context.check_hostname = False
                context.set_alpn_protocols(["h2"])
                prepare(context)
                channel = opened.enter_context(context.wrap_socket(channel))
            channel.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
            return channel.recv(9)

    def with_certificate_of_others(context: ssl.SSLContext) -> None:
        context.load_cert_chain(*make_certificate(stack.home))

    assert len(speak(lambda c: c.load_cert_chain(folder / "certificate.pem", folder / "key.pem"))) == 9
    assert speak(None) == b""
    for refused in (lambda _: None, with_certificate_of_others):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            speak(refused)
