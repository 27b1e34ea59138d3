"""One contract for the in-memory import topic and the real one."""

import uuid
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.kafka.logon import librdkafka_config
from connectors.publishing.ports import Delivery, TopicLog
from connectors.publishing.producer import KafkaTopicLog
from orchestration.platform.settings import Settings
from schemas.ids import Partition
from tests.fakes.import_log import InMemoryTopicLog

PARTITIONS = 3
NewLog = Callable[[], TopicLog]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.integration)])
def new_log(request: pytest.FixtureRequest) -> NewLog:
    if request.param == "memory":
        return lambda: InMemoryTopicLog(PARTITIONS)
    settings: Settings = request.getfixturevalue("stack")
    topic = f"contract.{uuid.uuid4().hex}"
    admin = AdminClient({**librdkafka_config(settings.kafka_bootstrap)})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    return lambda: KafkaTopicLog(settings.kafka_bootstrap, topic)


def send_all(log: TopicLog, *messages: tuple[int, bytes]) -> list[Delivery]:
    deliveries: list[Delivery] = []
    for partition, value in messages:
        while not log.offer(Partition(partition), value):
            deliveries += log.poll(0.05)
    while log.unacknowledged():
        deliveries += log.flush(0.05)
    return [*deliveries, *log.poll(0)]


def test_partition_count_is_known(new_log: NewLog) -> None:
    assert new_log().partitions() == PARTITIONS


def test_every_message_is_acknowledged_once_with_offset_and_size(new_log: NewLog) -> None:
    deliveries = send_all(new_log(), (0, b"a"), (2, b"bb"), (0, b"ccc"))
    assert sorted((d.partition, d.offset, d.size) for d in deliveries) == [(0, 0, 1), (0, 1, 3), (2, 0, 2)]


def test_partition_keeps_the_order_of_messages(new_log: NewLog) -> None:
    deliveries = send_all(new_log(), *[(n % PARTITIONS, b"x" * (n + 1)) for n in range(300)])
    for partition in range(PARTITIONS):
        mine = [d for d in deliveries if d.partition == partition]
        assert [d.offset for d in mine] == list(range(100))
        assert [d.size for d in mine] == [n + 1 for n in range(partition, 300, PARTITIONS)]


def test_unacknowledged_count_is_zero_before_and_after(new_log: NewLog) -> None:
    log = new_log()
    assert log.unacknowledged() == 0
    assert log.offer(Partition(1), b"x")
    assert log.unacknowledged() == 1
    while log.unacknowledged():
        log.flush(0.05)
    assert log.unacknowledged() == 0


def test_later_attempt_writes_after_the_earlier(new_log: NewLog) -> None:
    log = new_log()
    send_all(log, (1, b"first"))
    assert [d.offset for d in send_all(log, (1, b"second"))] == [1]
