"""Segment workers on a real broker, S3 and catalog: killed, frozen and rebalanced while events come.

Members followed by the sample consumer of docs/ are compared with a count in plain Python over all that was sent.
"""

import signal

import pytest
from confluent_kafka import Consumer, TopicPartition

from connectors.kafka.logon import librdkafka_config
from connectors.kafka.worker_group import group_members
from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from schemas.topics import ACTIVITY_TOPICS, SEGMENT_WORKER_GROUP
from tests.conftest import StartStack
from tests.integration.segment_shop import Shop, assert_followed
from tests.integration.workers import Workers, committed
from tests.waiting import until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults("kills at random and sessions that time out; test_segments.py kills a worker at a point"),
]


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    """Everything but workers."""
    return start_module_stack(parts=("kafka", "s3", "catalog", "engine", "relay"), partitions=4)


def taken(settings: Settings) -> int:
    """Number of records that the group has acknowledged, which are those in the archive."""
    return committed(settings, SEGMENT_WORKER_GROUP, ACTIVITY_TOPICS)


def assert_archived_once(settings: Settings) -> None:
    """Check that the archive's tables have each record of the topics exactly once."""
    archive = Context(settings).archive
    consumer = Consumer({**librdkafka_config(settings.kafka_bootstrap), "group.id": "tests"})
    try:
        for topic in ACTIVITY_TOPICS:
            ends = {
                p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1]
                for p in range(settings.partitions)
            }
            until(lambda topic=topic, ends=ends: archive.archived_to(topic) == ends)  # type: ignore[misc]  # as above
            assert sum(file.rows for file in archive.files(topic)) == sum(ends.values())
    finally:
        consumer.close()


@pytest.mark.faults("kills at random", seconds=150)
@pytest.mark.timeout(600)
def test_segment_workers_killed_at_random_lose_and_duplicate_no_change(settings: Settings, workers: Workers) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 9")
    shop.create("calm", "never(refund)")
    shop.create("grown-buyers", "in segment buyers and age >= 25")
    shop.create("just-now", "count(order, 25s) >= 1")
    workers.start("a")
    workers.start("b")
    for n in range(5):
        goal = taken(settings) + shop.dice.randrange(300)  # somewhere in the middle of the records sent next
        shop.send(700)
        if n == 2:
            shop.edit("buyers", "count(order, 30d) >= 7")
        until(lambda goal=goal: taken(settings) > goal)  # type: ignore[misc]  # bound at once
        workers.signal(shop.dice.choice("ab"), signal.SIGKILL)
    buyers = shop.ordered(7)
    expected = {
        "buyers": buyers,
        "calm": shop.known - shop.refunded,
        "grown-buyers": {user for user in buyers if shop.ages.get(user, 0) >= 25},
    }
    assert_followed(shop, expected)
    assert_archived_once(settings)
    assert workers.restarts >= 5


@pytest.mark.timeout(600)
def test_segment_worker_frozen_past_its_session_contradicts_no_owner(settings: Settings, workers: Workers) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    workers.start("a")
    workers.start("b")
    shop.send(600)
    assert_followed(shop, {"buyers": shop.ordered(2)})
    workers.signal("a", signal.SIGSTOP)
    shop.send(600)
    until(lambda: group_members(settings.kafka_bootstrap, SEGMENT_WORKER_GROUP) == 1)  # its session has ended
    assert_followed(shop, {"buyers": shop.ordered(2)})  # by the other one alone
    workers.signal("a", signal.SIGCONT)
    shop.send(600)
    until(lambda: group_members(settings.kafka_bootstrap, SEGMENT_WORKER_GROUP) == 2)
    assert_followed(shop, {"buyers": shop.ordered(2)})
    assert_archived_once(settings)


@pytest.mark.timeout(600)
def test_worker_resumes_from_its_checkpoint(settings: Settings, workers: Workers) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    workers.start("a", MUSTER_SEGMENT_CHECKPOINT_S="1")
    shop.send(600)
    assert_followed(shop, {"buyers": shop.ordered(2)})
    until(lambda: workers.log("a").count("checkpoint") >= settings.partitions)
    assert workers.stop("a") == 0
    shop.send(600)
    workers.start("a")
    assert_followed(shop, {"buyers": shop.ordered(2)})
    assert "from a checkpoint" in workers.log("a")
