"""A group that a worker is not allowed to join, on a broker with an authorizer."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from orchestration.local.kafka import broker
from orchestration.local.kafka.topics import admin_client, broker_answers, ensure_topics
from orchestration.local.ports import Ports
from orchestration.settings import Secret, Settings
from schemas.topics import SEGMENT_WORKER_GROUP, WORKER_GROUP
from tests.integration.workers import Workers, eventually
from tests.servers.ports import free_port

pytestmark = [pytest.mark.integration, pytest.mark.embedded("needs a broker of its own"), pytest.mark.timeout(180)]
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",  # but of what has one: there, whom it names
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A broker with all topics, where nobody but `somebody` may read the groups of the workers."""
    directory = tmp_path_factory.mktemp("kafka")
    ports = Ports(kafka=free_port(), kafka_controller=free_port())
    broker.prepare(directory, ports)
    with (directory / "server.properties").open("a") as properties:
        properties.writelines(f"{name}={value}\n" for name, value in AUTHORIZER.items())
    bootstrap = f"127.0.0.1:{ports.kafka}"
    made = Settings(kafka_bootstrap=bootstrap, partitions=2, home=directory, s3_secret_key=Secret("not needed"))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(broker.command(directory), stdout=log, stderr=log)
    try:
        eventually(lambda: broker_answers(made), 60)
        ensure_topics(made)
        rules = [
            AclBinding(
                ResourceType.GROUP,
                group,
                ResourcePatternType.LITERAL,
                "User:somebody",
                "*",
                AclOperation.ALL,
                AclPermissionType.ALLOW,
            )
            for group in (WORKER_GROUP, SEGMENT_WORKER_GROUP)
        ]
        admin = admin_client(made)  # kept until the answers are there
        for created in admin.create_acls(rules).values():
            created.result(10)
        yield made
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("module", "group"),
    [("orchestration.worker", WORKER_GROUP), ("orchestration.segment_worker", SEGMENT_WORKER_GROUP)],
)
def test_a_worker_that_its_group_does_not_take_ends_and_says_what_it_needs(
    settings: Settings, tmp_path: Path, module: str, group: str
) -> None:
    workers = Workers(settings, tmp_path, module)
    try:
        workers.start("a")
        assert workers.wait_exit("a", 60) != 0
    finally:
        workers.close()
    said = workers.log("a")
    assert f"GROUP_REFUSED: the group {group} does not take the worker: GroupAuthorizationFailedError" in said
    assert f"Allow its user to read the group {group}" in said
