"""The stack of docker-compose.yml: an import through the command line, then kill -9 and a cut network."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer

from connectors.kafka.logon import librdkafka_config
from schemas.topics import EVENTS, IMPORTS
from segmentation.jobs import FINAL
from tests.containers.compose import SERVICES, Compose, compose, inspect
from tests.servers.images import docker

pytestmark = pytest.mark.containers

FIRST = [f"first-{n}" for n in range(5_000)]


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


@pytest.mark.timeout(1200)
def test_worker_isolated_from_kafka_during_an_import_loses_and_duplicates_nothing(running: Compose) -> None:
    users = [f"cut-{n}" for n in range(200_000)]
    path = running.put("cut.csv", users_csv(users))
    workers, bus = running.containers("worker"), f"{running.project}_bus"
    docker("pause", *workers)  # so that the import exists, and is not over, when the cut comes
    job = running.muster("import", path, "--audience", "cut")["job"]
    assert running.muster("jobs", "show", job)["state"] not in FINAL
    docker("network", "disconnect", bus, workers[0])
    docker("unpause", *workers)
    try:
        running.muster("jobs", "wait", job, "--timeout", "600")  # the other worker has taken its partitions
    finally:
        docker("network", "connect", bus, workers[0])

    assert running.members("cut") == sorted(users)
    running.await_working(workers[0])


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
def test_parts_end_in_order_on_sigterm(running: Compose) -> None:
    for service in ("relay", "worker", "engine"):
        (container, *_) = running.containers(service)
        docker("stop", "--time", "120", container)  # after that Docker kills it: exit code 137
        assert inspect(container)["State"]["ExitCode"] == 0, service
