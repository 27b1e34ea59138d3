"""The stack of docker-compose.yml: an import through the command line, kill -9 and a cut network, workers on demand."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import sqlalchemy as sa
from confluent_kafka import KafkaError, Producer

from connectors.kafka.logon import librdkafka_config
from schemas.topics import EVENTS, IMPORTS
from segmentation.jobs import FINAL
from tests.containers.compose import SERVICES, WORKER_HEALTH, Compose, await_passing, compose, inspect
from tests.servers.images import docker
from tests.waiting import until

pytestmark = pytest.mark.containers

FIRST = [f"first-{n}" for n in range(5_000)]
COMING_AND_GOING = tuple(f"orchestration.entrypoints.{name}" for name in ("control_plane", "worker", "segment_worker"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    with compose(tmp_path_factory.mktemp("compose")) as made:
        path = made.put("first.csv", users_csv(FIRST))
        made.muster("import", path, "--audience", "first", "--wait", "--timeout", "600")
        yield made


def users_csv(users: list[str]) -> str:
    return "user_id\n" + "".join(f"{user}\n" for user in users)


@pytest.mark.timeout(1200)
def test_an_import_through_the_command_line_publishes_exactly_the_file(running: Compose) -> None:
    assert running.members("first") == sorted(FIRST)
    [engine] = running.containers("engine")
    log = docker("logs", engine)
    assert {part for part in ("engine", "relay", "worker-1", "segment-worker-1") if f'"part": "{part}"' in log} == {
        "engine",
        "relay",
        "worker-1",
        "segment-worker-1",
    }


@pytest.mark.timeout(1200)
def test_kafka_requires_users_and_external_programs_only_write_events(running: Compose, tmp_path: Path) -> None:
    port = int(running.variables["KAFKA_PORT"])
    server = f"127.0.0.1:{port}"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        request = bytes.fromhex("0003 0000 00000001 ffff 00000000")  # a metadata request
        connection.sendall(len(request).to_bytes(4) + request)
        assert connection.recv(1) == b""
    file = tmp_path / "client.json"
    file.write_text(json.dumps({"username": "client", "password": running.variables["KAFKA_CLIENT_PASSWORD"]}))
    config = librdkafka_config(f"sasl_plaintext://{server}?mechanism=SCRAM-SHA-512&credentials={file}")
    producer, reports = Producer(config), {}
    for topic in (EVENTS, IMPORTS):
        producer.produce(topic, b"{}", on_delivery=lambda error, m: reports.update({m.topic(): error and error.code()}))
    assert producer.flush(60) == 0
    assert reports == {EVENTS: None, IMPORTS: KafkaError.TOPIC_AUTHORIZATION_FAILED}


@pytest.mark.timeout(1200)
def test_demo_in_containers_finds_no_difference_from_its_files(running: Compose) -> None:
    assert "all numbers match: no user was lost" in running.run("run", "--rm", "demo")


ALL_AT_ONCE = pytest.param(SERVICES, id="all")
ALONE = [
    pytest.param((service,), id=service, marks=pytest.mark.faults("each part alone", seconds=50))
    for service in SERVICES
]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("services", [ALL_AT_ONCE, *ALONE])
def test_killed_parts_restart_with_their_data(running: Compose, services: tuple[str, ...]) -> None:
    for service in services:
        running.kill(service)
    for service in services:
        running.await_working(running.containers(service)[0])

    after = f"after-{'-'.join(services)}"
    users = [f"{after}-{n}" for n in range(2_000)]
    path = running.put(f"{after}.csv", users_csv(users))
    running.muster("import", path, "--audience", after, "--wait", "--timeout", "600")
    assert running.members("first", after) == sorted(FIRST + users)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An import that cannot end, since all workers are stopped; one of them is in a container of its own."""

    compose: Compose
    users: list[str]
    worker: str
    stopped: list[int]
    """Process ids of the others."""

    @property
    def audience(self) -> str:
        return self.users[0].partition("-")[0]

    def resume(self) -> None:
        docker("unpause", self.worker)
        for pid in self.stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def assert_published(self, job: str) -> None:
        self.compose.muster("jobs", "wait", job, "--timeout", "600")
        assert self.compose.members(self.audience) == sorted(self.users)


@contextmanager
def interrupted_import(running: Compose, audience: str) -> Iterator[tuple[Interrupted, str]]:
    users = [f"{audience}-{n}" for n in range(200_000)]
    path = running.put(f"{audience}.csv", users_csv(users))
    with running.another_worker() as worker:
        made = Interrupted(running, users, worker, running.processes("engine", "orchestration.entrypoints.worker"))
        assert made.stopped
        docker("pause", worker)
        for pid in made.stopped:
            os.kill(pid, signal.SIGSTOP)
        job = running.muster("import", path, "--audience", audience)["job"]
        assert running.muster("jobs", "show", job)["state"] not in FINAL
        yield made, job


@pytest.mark.timeout(1200)
def test_worker_isolated_from_kafka_during_an_import_loses_and_duplicates_nothing(running: Compose) -> None:
    bus = f"{running.project}_bus"
    with interrupted_import(running, "cut") as (made, job):
        docker("network", "disconnect", bus, made.worker)
        made.resume()
        made.assert_published(job)  # another worker has taken its partitions
        docker("network", "connect", bus, made.worker)
        await_passing(made.worker, *WORKER_HEALTH)


@pytest.mark.timeout(1200)
def test_engine_container_killed_during_an_import_loses_and_duplicates_nothing(running: Compose) -> None:
    with interrupted_import(running, "killed") as (made, job):
        running.kill("engine")
        made.resume()
        made.assert_published(job)


@pytest.mark.timeout(1200)
def test_down_and_up_keeps_published_versions(running: Compose) -> None:
    running.run("down", "--timeout", "5")
    running.run("up", "--detach")
    running.await_healthy()
    assert running.members("first") == sorted(FIRST)


def test_every_port_is_published_on_loopback_only_and_every_container_has_a_limit(running: Compose) -> None:
    for service in SERVICES:
        containers = running.containers(service)
        assert containers, service
        for container in containers:
            host = inspect(container)["HostConfig"]
            bound = [binding["HostIp"] for bindings in (host["PortBindings"] or {}).values() for binding in bindings]
            assert set(bound) <= {"127.0.0.1"}
            assert host["Memory"] > 0


@pytest.mark.timeout(300)
def test_engine_and_its_workers_end_in_order_on_sigterm(running: Compose) -> None:
    [container] = running.containers("engine")
    docker("stop", container)  # after the grace period Docker kills it: exit code 137
    assert inspect(container)["State"]["ExitCode"] == 0
    docker("start", container)
    running.await_working(container)


def at_rest(running: Compose) -> bool:
    """Whether the engine's container runs no worker and no control plane, and holds no connection to the catalog."""
    [container] = running.containers("engine")
    address = inspect(container)["NetworkSettings"]["Networks"][f"{running.project}_store"]["IPAddress"]
    password, port = running.variables["POSTGRES_PASSWORD"], running.variables["POSTGRES_PORT"]
    engine = sa.create_engine(f"postgresql+psycopg://muster:{password}@127.0.0.1:{port}/muster", poolclass=sa.NullPool)
    with engine.connect() as connection:
        addresses = connection.scalars(sa.text("SELECT host(client_addr) FROM pg_stat_activity WHERE client_port > 0"))
        connected = address in set(addresses)
    assert running.processes("engine", "orchestration.local.engine.server")
    return not connected and not running.processes("engine", *COMING_AND_GOING)


@pytest.mark.timeout(1200)
def test_file_dropped_while_all_rests_is_exact_and_its_workers_leave(running: Compose) -> None:
    running.change(MIN_WORKERS=0, MIN_SEGMENT_WORKERS=0, IDLE_MINUTES=0.1)
    until(lambda: at_rest(running), lambda: running.processes("engine", *COMING_AND_GOING), timeout_s=300)
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{running.variables['S3_PORT']}",
        aws_access_key_id=running.variables["S3_ACCESS_KEY"],
        aws_secret_access_key=running.variables["S3_SECRET_KEY"],
        region_name="us-east-1",
    )
    users = [f"dropped-{n}" for n in range(10_000)]

    s3.put_object(Bucket="inbox", Key="default/dropped/users.csv", Body=users_csv(users).encode())

    [job] = until(lambda: running.muster("jobs", "list", "--audience", "dropped"), running.logs, poll_s=1)
    running.muster("jobs", "wait", job["job"], "--timeout", "600")
    assert running.members("dropped") == sorted(users)
    until(lambda: at_rest(running), lambda: running.processes("engine", *COMING_AND_GOING), timeout_s=300)
