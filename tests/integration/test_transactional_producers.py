"""Events and profiles of transactional producers on a real broker: what is committed counts, what is aborted does not.

The workers are held against the rule by the archive (`muster segments check`), and both against plain counts.
"""

import json

import pytest
from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from orchestration.clock import fresh_id, now_ms
from orchestration.context import Context
from orchestration.operations.segment_check import check
from orchestration.operations.segments import behind, create, read_rule
from orchestration.relay.liveness import STALL_MS, WorkerLiveness
from orchestration.relay.worker_group import WorkerGroup
from orchestration.settings import Settings
from schemas.ids import TenantName
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES, SEGMENT_WORKER_GROUP
from tests.conftest import StartStack
from tests.integration.workers import Workers, eventually

pytestmark = [pytest.mark.integration, pytest.mark.embedded("about transactions, not about who runs the broker")]

P = 2
USERS = [f"user-{n}" for n in range(40)]


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    """All but workers."""
    return start_module_stack(parts=("kafka", "s3", "catalog", "engine", "relay"), partitions=P)


class Shop:
    """A tenant with segments, its producers, and who has ordered how often and is how old by what was committed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.context = Context(settings)
        self.tenant = TenantName(f"t{fresh_id()}")
        self.context.audiences.add_tenant(self.tenant, now_ms())
        self.orders = dict.fromkeys(USERS, 0)
        self.ages = dict.fromkeys(USERS, 0)
        self.plain = self.producer()

    def producer(self, transactional_id: str | None = None) -> Producer:
        conf = {"bootstrap.servers": self.settings.kafka_bootstrap, "partitioner": "murmur2_random", "log_level": 2}
        if transactional_id is None:
            return Producer(conf)
        long_ms = 600_000  # nothing here is to be aborted by the broker
        name = f"{self.tenant}-{transactional_id}"
        producer = Producer(conf | {"transactional.id": name, "transaction.timeout.ms": long_ms})
        producer.init_transactions(30)
        return producer

    def order(self, producer: Producer, users: list[str], *, counts: bool = True) -> None:
        """An order of each; they are sent, and perhaps not acknowledged."""
        for user in users:
            record = {"user_id": user, "event": "order", "occurred_at": now_ms(), "tenant": self.tenant}
            producer.produce(EVENTS, json.dumps(record).encode(), key=user.encode())
            self.orders[user] += counts
        producer.poll(0)

    def age(self, producer: Producer, users: list[str], age: int, *, counts: bool = True) -> None:
        for user in users:
            record = {"user_id": user, "attributes": {"age": age}, "tenant": self.tenant}
            producer.produce(PROFILES, json.dumps(record).encode(), key=user.encode())
            self.ages[user] = age if counts else self.ages[user]
        producer.poll(0)

    def members(self, name: str) -> int | None:
        """By the workers, once all partitions have said it of all that there is to be read; none before."""
        for of in self.context.segments.standing(self.tenant):
            if (
                of.segment.name == name
                and len(of.partitions) == P
                and behind(self.context, of.partitions.values()) == 0
            ):
                return sum(one.members for one in of.partitions.values())
        return None

    def assert_exact(self) -> None:
        """Soon, nothing is behind; segments have whom they should, by the stream, and by SQL over the archive."""
        for name, expected in (
            ("twice", sum(1 for count in self.orders.values() if count >= 2)),
            ("old", sum(1 for age in self.ages.values() if age >= 18)),
        ):
            eventually(lambda name=name, expected=expected: self.members(name) == expected, 60)  # type: ignore[misc]  # at once
            checked = check(self.context, self.tenant, name, 60).comparison
            assert (checked.by_stream, checked.by_rule, checked.equal) == (expected, expected, True)


def in_transaction(producer: Producer) -> Producer:
    producer.begin_transaction()
    return producer


def ends(settings: Settings, isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED) -> dict[tuple[str, int], int]:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    places = [TopicPartition(topic, p) for topic in ACTIVITY_TOPICS for p in range(P)]
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    found = admin.list_offsets(dict.fromkeys(places, latest), isolation_level=isolation)
    return {(place.topic, place.partition): future.result(10).offset for place, future in found.items()}


def assert_all_acknowledged(settings: Settings) -> None:
    """Soon the archive and the group are at the end of each log, markers and all; so the workers count as alive."""
    archive = Context(settings).archive
    group = WorkerGroup(settings.kafka_bootstrap, P, name=SEGMENT_WORKER_GROUP, topics=ACTIVITY_TOPICS)
    goal = ends(settings)
    eventually(lambda: dict(group.committed()) == goal, 60)
    assert {(topic, p): end for topic in ACTIVITY_TOPICS for p, end in archive.archived_to(topic).items()} == goal
    liveness = WorkerLiveness(group)
    assert liveness.fault(now_ms()) is None
    assert liveness.fault(now_ms() + STALL_MS + 1) is None


@pytest.fixture
def shop(settings: Settings) -> Shop:
    shop = Shop(settings)
    for name, rule in (("twice", "count(order, 30d) >= 2"), ("old", "age >= 18")):
        create(shop.context, shop.tenant, name, read_rule(rule, None), "ann")
    return shop


@pytest.mark.timeout(600)
def test_what_transactions_have_committed_counts_and_what_they_have_aborted_does_not(
    settings: Settings, workers: Workers, shop: Shop
) -> None:
    one, two = shop.producer("one"), shop.producer("two")
    shop.order(shop.plain, USERS[:30])
    assert shop.plain.flush(30) == 0
    shop.order(in_transaction(one), USERS[10:])
    shop.age(one, USERS[:20], 30)
    one.commit_transaction(30)
    workers.start("a")
    shop.assert_exact()  # a log that was read from its beginning, and ends in markers
    assert_all_acknowledged(settings)

    for n in range(20):  # small ones, aborted and committed by turns, with plain ones and each other between them
        shop.order(in_transaction(one), USERS[n : n + 5], counts=False)
        shop.age(one, USERS[n : n + 5], 99 if n % 2 else 1, counts=False)
        assert one.flush(30) == 0
        shop.order(in_transaction(two), USERS[n : n + 3])
        shop.age(two, USERS[n : n + 3], 17 + n % 3)
        assert two.flush(30) == 0
        shop.order(shop.plain, USERS[20 : 20 + n % 2])
        assert shop.plain.flush(30) == 0
        one.abort_transaction(30)
        two.commit_transaction(30)
    shop.assert_exact()
    for _ in range(5):  # nothing but markers, and what never counts
        shop.order(in_transaction(one), USERS, counts=False)
        shop.age(one, USERS, 50, counts=False)
        assert one.flush(30) == 0
        one.abort_transaction(30)
    shop.assert_exact()
    assert_all_acknowledged(settings)
    assert workers.restarts == 0


@pytest.mark.timeout(600)
def test_workers_that_end_between_transactions_lose_and_double_nothing(
    settings: Settings, workers: Workers, shop: Shop
) -> None:
    one = shop.producer("one")
    workers.start("a", MUSTER_SEGMENT_CHECKPOINT_S="1")
    for n in range(3):
        shop.order(in_transaction(one), USERS[n:30])
        one.commit_transaction(30)
        shop.order(in_transaction(one), USERS, counts=False)
        assert one.flush(30) == 0
        one.abort_transaction(30)
        shop.age(in_transaction(one), USERS[: 10 + n], 20 + n)
        one.commit_transaction(30)
        if n != 1:
            shop.assert_exact()
            assert_all_acknowledged(settings)  # the next one begins behind markers ...
        eventually(lambda n=n: workers.log("a").count("assigned partitions") > n, 60)  # type: ignore[misc]  # at once
        assert workers.stop("a") == 0  # ... or before them
        shop.order(in_transaction(one), USERS[5:15])
        one.commit_transaction(30)
        workers.start("a", MUSTER_SEGMENT_CHECKPOINT_S="1")
    shop.assert_exact()
    assert_all_acknowledged(settings)
    assert "from a checkpoint" in workers.log("a")
    assert workers.restarts == 0


@pytest.mark.timeout(600)
def test_what_lies_behind_a_transaction_that_is_open_waits_for_its_end(
    settings: Settings, workers: Workers, shop: Shop
) -> None:
    one = shop.producer("one")
    shop.order(shop.plain, USERS)
    shop.age(shop.plain, USERS, 20)  # of a log without a record nothing is ever committed
    assert shop.plain.flush(30) == 0
    workers.start("a")
    shop.assert_exact()
    shop.order(in_transaction(one), USERS)
    assert one.flush(30) == 0
    shop.order(shop.plain, USERS[:7])
    assert shop.plain.flush(30) == 0
    assert_waits(shop)
    workers.stop("a")
    workers.start("a")
    eventually(lambda: "partition 1: generation" in workers.log("a").rpartition("assigned partitions")[2], 60)
    assert_waits(shop)
    one.commit_transaction(30)
    shop.assert_exact()
    assert_all_acknowledged(settings)
    assert workers.restarts == 0


def assert_waits(shop: Shop) -> None:
    """A segment is asked at one instant, and all that can be read is in the answer; nobody calls the workers dead."""
    checked = check(shop.context, shop.tenant, "twice", 60).comparison
    assert (checked.by_stream, checked.equal) == (0, True)
    (standing,) = (of for of in shop.context.segments.standing(shop.tenant) if of.segment.name == "twice")
    eventually(lambda: (behind(shop.context, standing.partitions.values()) or 0) >= len(USERS) + 7, 60)
    group = WorkerGroup(shop.settings.kafka_bootstrap, P, name=SEGMENT_WORKER_GROUP, topics=ACTIVITY_TOPICS)
    assert dict(group.ends()) == ends(shop.settings, IsolationLevel.READ_COMMITTED)
    eventually(lambda: dict(group.committed()) == dict(group.ends()), 60)
