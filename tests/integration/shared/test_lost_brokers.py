"""A client of librdkafka that reaches no broker, while others do, is replaced. See `connectors.kafka.clients`."""

import gc
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock, patch

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.kafka import clients, logon, topic_ids
from connectors.kafka.clients import admin_client
from connectors.kafka.committed import CommittedOffsets
from connectors.kafka.groups import describe_group
from connectors.kafka.log_offsets import LogOffsets
from connectors.kafka.topic_ids import TopicIds
from connectors.kafka.worker_group import broker_answers
from orchestration.control import group_consumer
from orchestration.control.group_consumer import GroupConsumer
from orchestration.platform.settings import Settings
from schemas.errors import RetriableError
from schemas.kafka_address import KafkaAddress
from schemas.topics import IMPORTS
from tests.faults.proxy import Link, Proxy, Rule
from tests.faults.wire import kafka_head
from tests.servers.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
SHORT_S = 1.0
METADATA = 3
"""The number of its API."""


class FirstClientLost:
    """Configurations of clients: the first one leads nowhere."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, bootstrap: str) -> dict[str, Any]:
        self.made += 1
        if self.made == 1:
            return {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
        return logon.librdkafka_config(bootstrap)


@pytest.mark.parametrize(
    "question",
    [
        lambda bootstrap: partial(LogOffsets(bootstrap).ends, [(IMPORTS, 0)]),
        lambda bootstrap: CommittedOffsets(bootstrap, "nobody", [TopicPartition(IMPORTS, 0)]).read,
        lambda bootstrap: _with_timeout(TopicIds(bootstrap).topic_id),
    ],
    ids=["ends of logs", "committed offsets", "topic ids"],
)
def test_unanswered_request_replaces_the_client(
    stack: Settings, monkeypatch: pytest.MonkeyPatch, question: Callable[[str], Callable[[float], object]]
) -> None:
    configured = FirstClientLost()
    monkeypatch.setattr(clients, "librdkafka_config", configured)
    ask = question(stack.kafka_bootstrap)
    with pytest.raises((KafkaException, RetriableError)):
        ask(SHORT_S)
    for _ in range(2):
        assert ask(60.0)
    assert configured.made == 2


def test_a_replaced_admin_client_is_freed_with_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def alive() -> set[int]:
        gc.collect()
        return {id(each) for each in gc.get_objects() if isinstance(each, AdminClient)}

    monkeypatch.setattr(topic_ids, "TRY_S", 0.1)
    ask = _with_timeout(TopicIds(f"127.0.0.1:{free_port()}").topic_id)
    before = alive()
    for _ in range(2):
        with pytest.raises(RetriableError):
            ask(SHORT_S + 1.5)  # so that it asks again after the first try, which takes 1.1 s
    assert alive() <= before


def test_fenced_broker_recovers(stack: Settings) -> None:
    address = KafkaAddress.parse(stack.kafka_bootstrap)
    link = Link(name="kafka", protocol="kafka", target=int(address.servers.rpartition(":")[2]))
    with Proxy(link):
        bootstrap = stack.kafka_bootstrap.replace(address.servers, f"127.0.0.1:{link.port}")
        admin = admin_client(bootstrap)
        link.set(Rule(harm="fence", times=0, matches=kafka_head(METADATA)))
        found = admin.list_topics(timeout=60)
        assert (found.brokers, IMPORTS in found.topics) == ({}, True)
        with pytest.raises(KafkaException):
            describe_group(bootstrap, "nobody", SHORT_S)
        assert link.lift() > 1
        until(lambda: broker_answers(bootstrap))
        assert not describe_group(bootstrap, "nobody", 60.0).members


def test_silent_consumer_is_replaced_if_the_broker_answers_others(
    stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = FirstClientLost()
    monkeypatch.setattr(group_consumer, "librdkafka_config", configured)
    monkeypatch.setattr(group_consumer, "SILENCE_S", 0.0)
    monkeypatch.setattr(group_consumer, "PATIENCE_S", SHORT_S)
    topic = _topic(stack.kafka_bootstrap)
    consumer = GroupConsumer(stack.kafka_bootstrap, uuid.uuid4().hex, topic)
    try:
        until(lambda: not consumer.consume(1, 0.1) and configured.made == 2)
        found = until(lambda: consumer.consume(1, 0.1))
        assert [each.value() for each in found] == [b"one"]
        assert consumer.assigned()
        assert not consumer.consume(1, 0.1)
        assert configured.made == 2, "a connected consumer stays"
    finally:
        consumer.close()


def test_outage_keeps_the_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    configured = Mock(wraps=logon.librdkafka_config)
    monkeypatch.setattr(group_consumer, "librdkafka_config", configured)
    monkeypatch.setattr(group_consumer, "SILENCE_S", 0.0)
    consumer = GroupConsumer(f"127.0.0.1:{free_port()}", "nobody", IMPORTS)
    assert not consumer.consume(1, 0.1)
    assert configured.call_count == 1


def _with_timeout(topic_id: Callable[[str], str]) -> Callable[[float], object]:
    def ask(timeout_s: float) -> str:
        with patch.object(topic_ids, "TIMEOUT_S", timeout_s):
            return topic_id(IMPORTS)

    return ask


def _topic(bootstrap: str) -> str:
    """A topic with one record."""
    name = f"lost.{uuid.uuid4().hex}"
    admin = admin_client(bootstrap)
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(60)
    producer = Producer(logon.librdkafka_config(bootstrap))
    producer.produce(name, b"one")
    assert not producer.flush(60)
    return name
