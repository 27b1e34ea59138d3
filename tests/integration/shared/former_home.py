"""A home of the previous release, whose servers let everyone in."""

import hashlib
import hmac
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from connectors.kafka.topics import ensure_topics
from connectors.kafka.worker_group import broker_answers
from orchestration.local import seaweedfs
from orchestration.local.home import Home
from orchestration.local.kafka import broker
from orchestration.local.kafka.broker import ONE_COMPILER
from orchestration.local.ports import LOOPBACK, Ports, pick_free_ports
from orchestration.platform.settings import Settings
from schemas.topics import JOB_EVENTS
from tests.conftest import stack_environment
from tests.fakes.importer import send_raw
from tests.waiting import until

SECRET: Final = "a-secret-of-the-release-before-this-one"
RECORD: Final = b"kept from the release before"
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
    arguments.insert(0, ONE_COMPILER)
    tool = [*arguments[:-2], "kafka.tools.StorageTool", "format", "-t", "5L6g3nShT-eMCtK--X86sw", "-c", str(properties)]
    subprocess.run([java, *tool], check=True, capture_output=True, timeout=60)
    with _running([java, *arguments], home.kafka, signal.SIGTERM):
        yield


@contextmanager
def _s3_of_before(home: Home, settings: Settings, ports: Ports) -> Iterator[None]:
    seaweedfs.prepare(home.s3, settings)
    shutil.rmtree(home.s3 / "keys")
    for name in (seaweedfs.AUTHORITY, seaweedfs.CERTIFICATE, seaweedfs.KEY):
        (home.s3 / name).unlink()
    (home.s3 / "security.toml").write_text("\n".join(map(_signing, ("jwt.signing", "jwt.filer_signing"))))
    command = [argument for argument in seaweedfs.command(ports) if not argument.startswith("-disableHttp")]
    # a stop would wait for itself; what it has acknowledged is written
    with _running(command, home.s3, signal.SIGKILL):
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


def make_former_home(path: Path) -> Settings:
    """A home with `RECORD` in a topic and in the object `kept` of the lake; its servers no longer run."""
    home, ports = Home(path=path), pick_free_ports()
    home.make()
    addresses = ports.addresses() | {"kafka_bootstrap": f"{LOOPBACK}:{ports.kafka}"}
    values = {"s3_secret_key": SECRET, "webhook_secret": "hush", "partitions": 2, **addresses}
    home.settings_file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    home.ports_file.write_text(ports.as_toml())
    settings = Settings.load(stack_environment({"MUSTER_HOME": str(path)}))
    with _s3_of_before(home, settings, ports), _kafka_of_before(home, ports):
        until(lambda: broker_answers(settings.kafka_bootstrap))
        ensure_topics(settings)
        send_raw(settings.kafka_bootstrap, [(0, RECORD)], JOB_EVENTS)
        until(lambda: seaweedfs.gateway_answers(settings))
        seaweedfs.ensure_buckets(settings)
        seaweedfs.s3_client(settings, timeout_s=30).put_object(Bucket="lake", Key="kept", Body=RECORD)
    return settings
