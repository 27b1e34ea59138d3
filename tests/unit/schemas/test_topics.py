import pytest

from schemas import topics
from schemas.topics import TOPICS, TopicSpec


def test_every_topic_is_declared_once() -> None:
    assert [t.name for t in TOPICS] == [
        "muster.imports",
        "muster.imports.small",
        "muster.import-progress",
        "muster.job-events",
        "muster.events",
        "muster.profiles",
        "muster.segment-activations",
        "muster.membership-changes",
        "muster.segment-status",
        "muster.archive",
        "muster.archive-commits",
        "muster.dead-letters",
    ]


def test_topics_of_users_have_the_partitions_of_the_deployment() -> None:
    assert [t.name for t in TOPICS if t.partitions is None] == [
        *topics.IMPORT_TOPICS,
        *topics.ACTIVITY_TOPICS,
        topics.SEGMENT_ACTIVATIONS,
        topics.MEMBERSHIP_CHANGES,
    ]


def test_retention_is_at_least_twice_the_oldest_job_age() -> None:
    for topic in TOPICS:
        assert topic.retention_ms == topics.FOREVER_MS or topic.retention_ms >= 2 * topics.MAX_JOB_AGE_S * 1000


def test_topic_configuration_for_kafka() -> None:
    assert TopicSpec(name="t", partitions=None).config() == {
        "cleanup.policy": "delete",
        "retention.ms": "604800000",
        "max.message.bytes": "1048588",
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": "1",
    }


def test_user_record_outlives_its_retention_by_at_most_a_day() -> None:
    rolled = {t.name for t in TOPICS if t.config().get("segment.ms") == "86400000"}
    assert rolled == {
        *topics.IMPORT_TOPICS,
        *topics.ACTIVITY_TOPICS,
        topics.MEMBERSHIP_CHANGES,
        topics.DEAD_LETTERS,
    }


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_at_most_one_replica_can_be_missing(replicas: int, in_sync: str) -> None:
    assert TopicSpec(name="t", partitions=None).config(replicas)["min.insync.replicas"] == in_sync


def test_a_chunk_fits_into_a_message_and_two_of_the_largest_rows_into_a_chunk() -> None:
    assert topics.CHUNK_MAX_BYTES < topics.MESSAGE_MAX_BYTES * 0.8
    assert topics.ROW_MAX_BYTES * 2 <= topics.CHUNK_MAX_BYTES


def test_a_dead_letter_holds_the_largest_message() -> None:
    by_name = {t.name: t for t in TOPICS}
    largest = max(t.message_max_bytes for t in TOPICS if t.name != topics.DEAD_LETTERS)
    assert by_name[topics.DEAD_LETTERS].message_max_bytes > largest + 10_000
