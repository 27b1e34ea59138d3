"""Differences between topics and their declarations."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.kafka import topics
from connectors.kafka.topics import TopicDifference, _await_leaders, _differences
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


def test_a_topic_that_is_deleted_while_one_looks_is_missing() -> None:
    found = _differences(Broker(KafkaError.UNKNOWN_TOPIC_OR_PART), (SPEC,), SETTINGS)  # type: ignore[arg-type]
    assert found == (TopicDifference(topic=SPEC.name, setting="partitions", expected="1", actual=None),)


def test_a_broker_that_does_not_answer_is_not_taken_for_one_without_topics() -> None:
    with pytest.raises(KafkaException):
        _differences(Broker(KafkaError.REQUEST_TIMED_OUT), (SPEC,), SETTINGS)  # type: ignore[arg-type]


class Leaders(Client):
    """Answers for each topic: first with the given error, then with a result."""

    def __init__(self, **errors: int) -> None:
        self._errors = errors
        self.asked: list[list[str]] = []

    def list_offsets(self, places: dict[TopicPartition, Any], **_: object) -> dict[TopicPartition, Future[Any]]:
        self.asked.append([place.topic for place in places])
        answers: dict[TopicPartition, Future[Any]] = {place: Future() for place in places}
        for place, answer in answers.items():
            if (error := self._errors.pop(place.topic, None)) is None:
                answer.set_result(None)
            else:
                answer.set_exception(KafkaException(KafkaError(error)))
        return answers


def test_a_new_topic_is_there_once_its_leaders_answer() -> None:
    leaders = Leaders(a=KafkaError.NOT_LEADER_FOR_PARTITION, b=KafkaError.UNKNOWN_TOPIC_OR_PART)
    _await_leaders(lambda: leaders, [TopicPartition(name, 0) for name in "abc"])  # type: ignore[arg-type,return-value]
    assert leaders.asked == [["a", "b", "c"], ["a", "b"]]


def test_a_leader_that_refuses_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "REQUEST_TIMEOUT_S", -1.0)
    leaders = Leaders(a=KafkaError.NOT_LEADER_FOR_PARTITION)
    with pytest.raises(KafkaException):
        _await_leaders(lambda: leaders, [TopicPartition("a", 0)])  # type: ignore[arg-type,return-value]
