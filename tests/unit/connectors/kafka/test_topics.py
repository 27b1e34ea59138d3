"""Differences between topics and their declarations."""

from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka import topics
from connectors.kafka.log_offsets import PartitionKey
from connectors.kafka.topics import TopicDifference, await_leaders, find_differences
from orchestration.platform.settings import Settings
from schemas.topics import TOPICS

SPEC = next(spec for spec in TOPICS if spec.partitions is None)
SETTINGS = Settings(partitions=1)


class Client:
    """Has nothing to report between requests."""

    def poll(self, timeout: float) -> int:
        del timeout
        return 0


class Broker(Client):
    """Lists the topic, and answers a request for its configuration with an error."""

    def __init__(self, error: int) -> None:
        self._error = error

    def list_topics(self, **_: object) -> Any:
        partitions = {0: SimpleNamespace(replicas=[1])}
        return SimpleNamespace(topics={SPEC.name: SimpleNamespace(partitions=partitions)})

    def describe_configs(self, resources: list[Any], **_: object) -> dict[Any, Future[Any]]:
        future: Future[Any] = Future()
        future.set_exception(KafkaException(KafkaError(self._error)))
        return dict.fromkeys(resources, future)


def test_topic_deleted_during_a_lookup_is_missing() -> None:
    found = find_differences(Broker(KafkaError.UNKNOWN_TOPIC_OR_PART), (SPEC,), SETTINGS)  # type: ignore[arg-type]
    assert found == (TopicDifference(topic=SPEC.name, setting="partitions", expected="1", actual=None),)


def test_silent_broker_is_not_an_empty_broker() -> None:
    with pytest.raises(KafkaException):
        find_differences(Broker(KafkaError.REQUEST_TIMED_OUT), (SPEC,), SETTINGS)  # type: ignore[arg-type]


class Leaders:
    """Refuses a number of requests for the ends of logs."""

    def __init__(self, refusals: int) -> None:
        self.clients = 0
        self._refusals = refusals

    def __call__(self, _: str) -> "Leaders":
        self.clients += 1
        return self

    def ends(self, partitions: Sequence[PartitionKey], _: float) -> dict[PartitionKey, int]:
        if self.clients <= self._refusals:
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
        return dict.fromkeys(partitions, 0)


def test_new_topic_is_ready_when_its_leaders_answer_a_new_client(monkeypatch: pytest.MonkeyPatch) -> None:
    leaders = Leaders(refusals=2)
    monkeypatch.setattr(topics, "LogOffsets", leaders)
    await_leaders("", [("a", 0)])
    assert leaders.clients == 3


def test_permanently_refusing_leader_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "REQUEST_TIMEOUT_S", -1.0)
    monkeypatch.setattr(topics, "LogOffsets", Leaders(refusals=2))
    with pytest.raises(KafkaException):
        await_leaders("", [("a", 0)])
