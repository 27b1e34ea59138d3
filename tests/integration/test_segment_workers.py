"""Workers of segments on a real broker, S3 and catalog: killed, frozen and shared out anew while events come.

What the sample consumer of docs/ has followed is compared with a count in plain Python over all that was sent.
"""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from orchestration.catalog.segment_records import NewRule
from orchestration.clock import fresh_id, now_ms
from orchestration.context import Context
from orchestration.local.kafka.topics import group_members
from orchestration.settings import Settings
from schemas.ids import AudienceName, TenantName
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES, SEGMENT_WORKER_GROUP
from segmentation.rules.parser import parse_rule
from tests.conftest import StartStack
from tests.integration.workers import ROOT, Workers, committed, eventually

pytestmark = [pytest.mark.integration, pytest.mark.embedded("about workers that die, not about brokers")]

USERS = [f"user-{n}" for n in range(400)]
Members = dict[str, set[str]]


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    """All but workers."""
    return start_module_stack(parts=("kafka", "s3", "catalog", "engine", "relay"), partitions=4)


class Shop:
    """A tenant with segments, what was sent for it, and what a rule would say of that."""

    def __init__(self, settings: Settings) -> None:
        self.context = Context(settings)
        self.tenant = TenantName(f"t{fresh_id()}")
        self.context.audiences.add_tenant(self.tenant, now_ms())
        self.orders: dict[str, set[str]] = {}
        self.refunded: set[str] = set()
        self.ages: dict[str, int] = {}
        self.known: set[str] = set()
        self.sent = 0
        self.dice = random.Random(20_262)
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap, "partitioner": "murmur2_random", "linger.ms": 5}
        )

    def create(self, name: str, text: str) -> None:
        self.context.segments.create(
            self.tenant, AudienceName(name), new_rule(text), new_id=fresh_id(), author="ann", now_ms=now_ms()
        )

    def edit(self, name: str, text: str) -> None:
        self.context.segments.edit(self.tenant, AudienceName(name), new_rule(text), author="ann", now_ms=now_ms())

    def send(self, events: int) -> None:
        """Some events, one in ten twice, and a few profiles; the broker has acknowledged all when this returns."""
        for _ in range(events):
            user, name = self.dice.choice(USERS), self.dice.choice(["order", "order", "order", "refund"])
            event_id = str(self.dice.randrange(10**9))
            record = {
                "user_id": user,
                "event": name,
                "event_id": event_id,
                "occurred_at": (datetime.now(UTC) - timedelta(seconds=self.dice.randrange(10))).isoformat(),
            }
            for _ in range(2 if self.dice.random() < 0.1 else 1):
                self._produce(EVENTS, record)
            self.known.add(user)
            if name == "order":
                self.orders.setdefault(user, set()).add(event_id)
            else:
                self.refunded.add(user)
        for user in self.dice.sample(USERS, 10):
            self.ages[user] = self.dice.randrange(50)
            self.known.add(user)
            self._produce(PROFILES, {"user_id": user, "attributes": {"age": self.ages[user]}})
        assert self._producer.flush(60) == 0

    def ordered(self, times: int) -> set[str]:
        return {user for user, ids in self.orders.items() if len(ids) >= times}

    def _produce(self, topic: str, record: dict[str, Any]) -> None:
        value = json.dumps({**record, "tenant": self.tenant}).encode()
        self.sent += 1
        while True:
            try:
                return self._producer.produce(topic, value, key=record["user_id"].encode())
            except BufferError:
                self._producer.poll(0.1)

    def followed(self) -> Members:
        """Who is in which segment, for the sample consumer. Fails where it finds a contradiction."""
        script = [sys.executable, str(ROOT / "docs" / "follow_segments.py")]
        arguments = [self.context.settings.kafka_bootstrap, str(ROOT / "schemas" / "avro")]
        done = subprocess.run([*script, *arguments], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        inside: Members = {}
        for change in map(json.loads, done.stdout.splitlines()):
            if change["tenant"] == self.tenant:
                members = inside.setdefault(change["segment"], set())
                (members.add if change["entered"] else members.remove)(change["user_id"])
        return {segment: members for segment, members in inside.items() if members}

    def counted(self) -> Counter[str]:
        """Members by the catalog, which hears of them from the workers."""
        standing = self.context.segments.standing(self.tenant)
        return +Counter({str(of.segment.name): sum(p.members for p in of.partitions.values()) for of in standing})


def new_rule(text: str) -> NewRule:
    return NewRule(text=text, timezone=None, rule=parse_rule(text))


def assert_followed(shop: Shop, expected: Members) -> None:
    """Soon, a consumer knows exactly these members. The catalog is asked first: it costs less."""
    with suppress(AssertionError):
        eventually(lambda: shop.counted() == sizes(expected), timeout_s=120)
        eventually(lambda: shop.followed() == expected, timeout_s=20)
    found = shop.followed()
    assert sizes(found) == sizes(expected)
    assert found == expected


def sizes(members: Members) -> Counter[str]:
    return Counter({segment: len(users) for segment, users in members.items()})


def taken(settings: Settings) -> int:
    """How many records the group has acknowledged: the archive has them."""
    return committed(settings, SEGMENT_WORKER_GROUP, ACTIVITY_TOPICS)


def assert_archived_once(settings: Settings) -> None:
    """The archive's tables have each record of the topics, and none twice."""
    archive = Context(settings).archive
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "tests"})
    try:
        for topic in ACTIVITY_TOPICS:
            ends = {
                p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1]
                for p in range(settings.partitions)
            }
            eventually(lambda topic=topic, ends=ends: archive.archived_to(topic) == ends)  # type: ignore[misc]  # as above
            assert sum(file.rows for file in archive.files(topic)) == sum(ends.values())
    finally:
        consumer.close()


@pytest.mark.timeout(600)
def test_workers_killed_at_random_moments_lose_and_double_no_change(settings: Settings, workers: Workers) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 9")
    shop.create("calm", "never(refund)")
    shop.create("grown-buyers", "in segment buyers and age >= 25")
    shop.create("just-now", "count(order, 25s) >= 1")
    workers.start("a")
    workers.start("b")
    for n in range(5):
        goal = taken(settings) + shop.dice.randrange(300)  # somewhere in the middle of what is sent now
        shop.send(700)
        if n == 2:
            shop.edit("buyers", "count(order, 30d) >= 7")
        eventually(lambda goal=goal: taken(settings) > goal, 120)  # type: ignore[misc]  # bound at once
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
def test_a_worker_that_sleeps_past_its_session_contradicts_nobody_when_it_wakes_up(
    settings: Settings, workers: Workers
) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    workers.start("a")
    workers.start("b")
    shop.send(600)
    assert_followed(shop, {"buyers": shop.ordered(2)})
    workers.signal("a", signal.SIGSTOP)
    shop.send(600)
    eventually(lambda: group_members(settings, SEGMENT_WORKER_GROUP) == 1)  # its session has ended
    assert_followed(shop, {"buyers": shop.ordered(2)})  # by the other one alone
    workers.signal("a", signal.SIGCONT)
    shop.send(600)
    eventually(lambda: group_members(settings, SEGMENT_WORKER_GROUP) == 2)
    assert_followed(shop, {"buyers": shop.ordered(2)})
    assert_archived_once(settings)


@pytest.mark.timeout(600)
def test_a_worker_goes_on_from_its_checkpoint(settings: Settings, workers: Workers) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    workers.start("a", MUSTER_SEGMENT_CHECKPOINT_S="1")
    shop.send(600)
    assert_followed(shop, {"buyers": shop.ordered(2)})
    eventually(lambda: workers.log("a").count("checkpoint") >= settings.partitions)
    assert workers.stop("a") == 0
    shop.send(600)
    workers.start("a")
    assert_followed(shop, {"buyers": shop.ordered(2)})
    assert "from a checkpoint" in workers.log("a")
