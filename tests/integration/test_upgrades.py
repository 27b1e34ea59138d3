"""A home of the release before, whose servers let everybody in: `up` brings it along, with what is in it."""

import hashlib
import hmac
import json
import signal
import stat
import subprocess
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from orchestration.local import seaweedfs
from orchestration.local import stack as local_stack
from orchestration.local.home import Home
from orchestration.local.kafka import broker
from orchestration.local.kafka.topics import broker_answers, ensure_topics
from orchestration.local.ports import LOOPBACK, Ports, pick_free_ports
from orchestration.settings import Settings
from schemas.topics import JOB_EVENTS
from tests.conftest import stack_environment, stop_and_check
from tests.fakes.importer import send_raw
from tests.integration.workers import eventually, read_values

pytestmark = pytest.mark.integration
SECRET: Final = "a-secret-of-the-release-before-this-one"
KAFKA: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{kafka}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""


def _signing(section: str) -> str:
    key = hmac.new(SECRET.encode(), f"muster {section}".encode(), hashlib.sha256).hexdigest()
    return f'[{section}]\nkey = "{key}"\nexpires_after_seconds = 300\n'


@contextmanager
def _kafka_of_before(home: Home, ports: Ports) -> Iterator[None]:
    data, properties = home.kafka / "data", home.kafka / "server.properties"
    properties.write_text(KAFKA.format(kafka=ports.kafka, controller=ports.kafka_controller, data=data))
    java, *arguments = broker.command(home.kafka)
    arguments.insert(0, "-XX:TieredStopAtLevel=1")
    tool = [*arguments[:-2], "kafka.tools.StorageTool", "format", "-t", "5L6g3nShT-eMCtK--X86sw", "-c", str(properties)]
    subprocess.run([java, *tool], check=True, capture_output=True, timeout=60)
    with _running([java, *arguments], home.kafka, signal.SIGTERM):
        yield


@contextmanager
def _s3_of_before(home: Home, settings: Settings, ports: Ports) -> Iterator[None]:
    seaweedfs.prepare(home.s3, settings)
    for name in (seaweedfs.AUTHORITY, seaweedfs.CERTIFICATE, seaweedfs.KEY):
        (home.s3 / name).unlink()
    (home.s3 / "security.toml").write_text("\n".join(map(_signing, ("jwt.signing", "jwt.filer_signing"))))
    command = [argument for argument in seaweedfs.command(ports) if not argument.startswith("-disableHttp")]
    with _running(command, home.s3, signal.SIGKILL):  # it would wait for itself; what it has acknowledged is written
        yield


@contextmanager
def _running(command: list[str], folder: Path, end: signal.Signals) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(end)
        process.wait(60)


def _home_of_before(path: Path, record: bytes) -> Settings:
    """A home with a record in Kafka and an object in S3; none of its servers runs any more."""
    home, ports = Home(path=path), pick_free_ports()
    home.make()
    addresses = ports.addresses() | {"kafka_bootstrap": f"{LOOPBACK}:{ports.kafka}"}
    values = {"s3_secret_key": SECRET, "webhook_secret": "hush", "partitions": 2, **addresses}
    home.settings_file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    home.ports_file.write_text(ports.as_toml())
    settings = Settings.load(stack_environment({"MUSTER_HOME": str(path)}))
    with _s3_of_before(home, settings, ports), _kafka_of_before(home, ports):
        eventually(lambda: broker_answers(settings))
        ensure_topics(settings)
        send_raw(settings.kafka_bootstrap, [(0, record)], JOB_EVENTS)
        eventually(lambda: seaweedfs.gateway_answers(settings))
        seaweedfs.ensure_buckets(settings)
        seaweedfs.s3_client(settings, timeout_s=30).put_object(Bucket="lake", Key="kept", Body=record)
    return settings


@pytest.mark.slow("starts the servers of the release before, then those of this one")
def test_up_brings_the_home_of_the_release_before_along_with_its_data(tmp_path: Path) -> None:
    record = uuid.uuid4().hex.encode()
    before = _home_of_before(tmp_path / "home", record)
    try:
        after = local_stack.up(before.home, parts=["kafka", "s3"], env=stack_environment({}))

        assert read_values(after, JOB_EVENTS) == [record]
        assert seaweedfs.s3_client(after).get_object(Bucket="lake", Key="kept")["Body"].read() == record
        kept = tomllib.loads((after.home / "settings.toml").read_text())
        assert kept["kafka_bootstrap"] == f"sasl_plaintext://{before.kafka_bootstrap}?mechanism=SCRAM-SHA-512"
        assert (kept["s3_secret_key"], kept["partitions"]) == (SECRET, 2)
        assert not broker_answers(before, timeout_s=2)
        for name in ("kafka/server.properties", "kafka/muster.json", "kafka/client.json", "s3/security.toml"):
            assert stat.S_IMODE((after.home / name).stat().st_mode) == 0o600, name
    finally:
        stop_and_check(before.home)
