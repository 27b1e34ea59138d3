"""How long a record outlives the retention of its topic, on a real broker with seconds for days."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in its __all__

from orchestration.local.kafka.topics import ensure_topics, topic_differences
from orchestration.settings import Settings
from schemas import topics
from schemas.topics import DEAD_LETTERS, TOPICS
from tests.servers.secure_kafka import secure_kafka

pytestmark = pytest.mark.integration
SHORT_MS = 1_000


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with secure_kafka(tmp_path, "unused") as kafka:
        yield Settings(home=tmp_path, kafka_bootstrap=kafka.plaintext, partitions=1)


def test_an_existing_topic_of_users_is_altered_and_then_lets_go_of_records_within_a_segment_of_their_retention(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "USERS_SEGMENT_MS", SHORT_MS)
    declared = next(spec for spec in TOPICS if spec.name == DEAD_LETTERS)
    assert declared.holds_users
    spec = replace(declared, retention_ms=SHORT_MS)
    of_before = {name: value for name, value in spec.config().items() if name != "segment.ms"}
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    made = [NewTopic(name, 1, 1, config=of_before) for name in (spec.name, "of-before")]
    for future in admin.create_topics(made).values():
        future.result(30)
    assert {d.setting for d in topic_differences(settings) if d.topic == spec.name} >= {"segment.ms"}
    ensure_topics(settings, [spec])

    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "looks"})
    began = time.monotonic()
    try:
        while (first := _first(consumer, spec.name)) == 0:  # both topics are busy all the time
            for topic in (spec.name, "of-before"):
                producer.produce(topic, b"ann")
            assert producer.flush(10) == 0
            assert time.monotonic() - began < 60, "the first record outlives its retention"
        assert first > 0
        assert time.monotonic() - began > SHORT_MS / 1000
        assert _first(consumer, "of-before") == 0  # its one segment stays open for a week
    finally:
        consumer.close()


def _first(consumer: Consumer, topic: str) -> int:
    """The offset of the first record that is there."""
    return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[0])
