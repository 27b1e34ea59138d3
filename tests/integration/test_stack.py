"""The embedded stack as a user meets it: up, down, restarts, kill -9, taken ports."""

import os
import signal
import socket
import stat
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError
from confluent_kafka import Consumer, Producer

from orchestration.local import processes
from orchestration.local import stack as local_stack
from orchestration.local.doctor import examine
from orchestration.local.engine.deploy import state_machine_arn
from orchestration.local.home import Home, initialise
from orchestration.local.kafka.class_cache import cache_path
from orchestration.local.kafka.jars import classpath
from orchestration.local.kafka.topics import admin_client, ensure_topics, topic_differences
from orchestration.local.ports import Ports
from orchestration.local.seaweedfs import missing_buckets, s3_client
from orchestration.local.status import PartState
from orchestration.settings import Secret, Settings
from schemas.errors import FatalError, UserError
from schemas.topics import JOB_EVENTS
from tests.conftest import StartStack, stack_environment

pytestmark = [pytest.mark.integration, pytest.mark.embedded("it is about the embedded stack")]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def produce(settings: Settings, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "acks": "all"})
    errors: list[object] = []
    producer.produce(JOB_EVENTS, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors == [None]


def consume(settings: Settings, count: int) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([JOB_EVENTS])
    messages = consumer.consume(count, timeout=30)
    consumer.close()
    return [m.value() or b"" for m in messages]


def pid_of(settings: Settings, part: str) -> int:
    found = local_stack.status(settings).part(part)
    assert found is not None
    assert found.pid is not None
    return found.pid


def restarted(settings: Settings, part: str, old_pid: int) -> bool:
    now = local_stack.status(settings).part(part)
    return now is not None and now.state is PartState.READY and now.pid != old_pid


def test_kafka_and_s3_come_up_with_their_topics_and_buckets(stack: Settings) -> None:
    assert topic_differences(stack) == ()
    assert missing_buckets(stack) == ()


def test_a_second_up_changes_nothing(stack: Settings) -> None:
    before = local_stack.status(stack)

    local_stack.up(stack.home)

    assert local_stack.status(stack) == before
    assert before.ready
    assert [p.name for p in before.parts] == ["s3", "kafka"]


def test_up_with_other_parts_than_those_that_run_is_refused(stack: Settings) -> None:
    with pytest.raises(UserError, match="runs without engine") as refused:
        local_stack.up(stack.home, parts=["kafka", "engine"])

    assert refused.value.code == "STACK_HAS_OTHER_PARTS"


def test_s3_refuses_a_wrong_secret(stack: Settings) -> None:
    stranger = s3_client(stack.with_(s3_secret_key=Secret("wrong")))

    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_buckets()


def test_only_loopback_is_listened_on(stack: Settings) -> None:
    listening = [
        connection.laddr.ip
        for part in ("kafka", "s3")
        for connection in psutil.Process(pid_of(stack, part)).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert len(listening) >= 10
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has mapped is known on Linux")
def test_the_broker_starts_from_the_cache_that_setup_has_made(stack: Settings) -> None:
    mapped = {m.path for m in psutil.Process(pid_of(stack, "kafka")).memory_maps()}

    assert str(cache_path(classpath())) in mapped


def test_the_home_is_private(stack: Settings) -> None:
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [stack.home, stack.home / "settings.toml"]}

    assert modes == {"home": 0o700, "settings.toml": 0o600}
    assert stack.s3_secret_key.reveal() not in (stack.home / "stack.json").read_text()


def test_the_inbox_keeps_versions_and_the_other_buckets_do_not(stack: Settings) -> None:
    client = s3_client(stack)

    states = {b: client.get_bucket_versioning(Bucket=b).get("Status") for b in ("inbox", "staging", "lake")}

    assert states == {"inbox": "Enabled", "staging": None, "lake": None}


def test_a_changed_number_of_partitions_is_refused(stack: Settings) -> None:
    with pytest.raises(FatalError, match=r"muster\.imports has 4 partitions, the settings say 6") as refused:
        ensure_topics(stack.with_(partitions=6))

    assert refused.value.code == "TOPIC_PARTITIONS_CHANGED"


@pytest.mark.parametrize("part", ["kafka", "s3"])
def test_a_killed_part_comes_back_by_itself_with_its_data(start_stack: StartStack, part: str) -> None:
    settings = start_stack()
    produce(settings, b"before")
    s3_client(settings).put_object(Bucket="lake", Key="before", Body=b"before")
    old_pid = pid_of(settings, part)

    os.kill(old_pid, signal.SIGKILL)
    wait_until(lambda: restarted(settings, part, old_pid))

    produce(settings, b"after")
    assert consume(settings, 2) == [b"before", b"after"]
    assert s3_client(settings).get_object(Bucket="lake", Key="before")["Body"].read() == b"before"
    again = local_stack.status(settings).part(part)
    assert again is not None
    assert again.restarts == 1


def test_a_killed_supervisor_leaves_nothing_and_up_continues_on_the_same_data(start_stack: StartStack) -> None:
    settings = start_stack()
    produce(settings, b"before")
    s3_client(settings).put_object(Bucket="lake", Key="before", Body=b"before")
    supervisor = local_stack.status(settings).supervisor_pid
    assert supervisor is not None

    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not local_stack.status(settings).running)
    assert {p.state for p in local_stack.status(settings).parts} == {PartState.STOPPED}
    local_stack.up(settings.home, parts=["kafka", "s3"], env=stack_environment({}))

    assert consume(settings, 1) == [b"before"]
    assert s3_client(settings).get_object(Bucket="lake", Key="before")["Body"].read() == b"before"


def test_down_leaves_no_process_and_the_next_up_finds_the_data(start_stack: StartStack) -> None:
    settings = start_stack()
    produce(settings, b"before")

    assert local_stack.down(settings) is True
    assert processes.marked(settings.home) == []
    assert local_stack.down(settings) is False
    local_stack.up(settings.home, parts=["kafka", "s3"], env=stack_environment({}))

    assert consume(settings, 1) == [b"before"]


@pytest.mark.parametrize("part", ["kafka", "s3"])
def test_servers_of_others_run_without_our_settings_and_secrets(stack: Settings, part: str) -> None:
    status = local_stack.status(stack).part(part)
    assert status is not None
    assert status.pid is not None
    found = psutil.Process(status.pid).environ()
    assert [name for name in found if name.startswith(("MUSTER_", "AWS_"))] == [processes.HOME_MARK]
    assert stack.s3_secret_key.reveal() not in found.values()


def test_two_homes_run_side_by_side(start_stack: StartStack, stack: Settings) -> None:
    other = start_stack(parts=["kafka"])

    produce(other, b"other")

    assert other.kafka_bootstrap != stack.kafka_bootstrap
    assert consume(other, 1) == [b"other"]


def test_a_taken_port_is_named_with_the_program_that_has_it_and_nothing_is_left(tmp_path: Path) -> None:
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


def test_an_upload_starts_an_import_and_one_made_while_the_engine_was_dead_does_too(start_stack: StartStack) -> None:
    settings = start_stack(parts=["s3", "engine"])
    sfn = boto3.client(
        "stepfunctions",
        endpoint_url=settings.engine_url,
        region_name=settings.aws_region,
        **settings.engine_keys(),
    )

    def started(key: str) -> bool:
        executions = sfn.list_executions(stateMachineArn=state_machine_arn(settings))["executions"]
        inputs = [sfn.describe_execution(executionArn=e["executionArn"])["input"] for e in executions]
        return any(key in text for text in inputs)

    s3_client(settings).put_object(Bucket="inbox", Key="acme/vip/one.csv", Body=b"user_id\n1\n")
    wait_until(lambda: started("acme/vip/one.csv"))

    old_pid = pid_of(settings, "engine")
    os.kill(old_pid, signal.SIGKILL)
    s3_client(settings).put_object(Bucket="inbox", Key="acme/vip/two.csv", Body=b"user_id\n2\n")
    wait_until(lambda: restarted(settings, "engine", old_pid))
    wait_until(lambda: started("acme/vip/two.csv"))


def test_the_doctor_finds_nothing_wrong_with_a_healthy_stack(stack: Settings) -> None:
    assert [finding for finding in examine(stack.home) if finding.level == "problem"] == []


def test_the_doctor_names_a_missing_bucket_and_a_missing_topic(start_stack: StartStack) -> None:
    settings = start_stack()
    s3_client(settings).delete_bucket(Bucket="staging")
    admin = admin_client(settings)
    admin.delete_topics([JOB_EVENTS])[JOB_EVENTS].result(10)
    wait_until(lambda: any(d.topic == JOB_EVENTS for d in topic_differences(settings)))

    codes = {finding.code for finding in examine(settings.home)}

    assert {"BUCKET_MISSING", "TOPIC_MISSING"} <= codes
