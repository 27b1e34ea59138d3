"""A tenant whose producers write in transactions, and the segments expected from what was committed.

The workers are compared with the rule on the archive (`muster segments check`), and both with plain counts.
"""

import json
from typing import Final

from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from connectors.kafka.logon import librdkafka_config
from connectors.kafka.worker_group import WorkerGroup
from orchestration.answers.segments import records_behind
from orchestration.composition.context import Context
from orchestration.control.liveness import STALL_MS, WorkerLiveness
from orchestration.operations.segments import rule_of
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.ids import AudienceName, Partition, TenantName
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES, SEGMENT_WORKER_GROUP
from tests.waiting import until

USERS: Final = [f"user-{n}" for n in range(40)]


class TransactionalShop:
    """A tenant with segments, its producers, and each user's number of orders and age by what was committed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.context = Context(settings)
        self.tenant = TenantName(f"t{fresh_id()}")
        self.context.audiences.add_tenant(self.tenant, now_ms())
        self.orders = dict.fromkeys(USERS, 0)
        self.ages = dict.fromkeys(USERS, 0)
        self.plain = self.producer()
        for name, rule in (("twice", "count(order, 30d) >= 2"), ("old", "age >= 18")):
            self.context.segments.create(
                self.tenant, AudienceName(name), rule_of(rule, None), new_id=fresh_id(), author="ann", now_ms=now_ms()
            )

    def producer(self, transactional_id: str | None = None) -> Producer:
        conf = {**librdkafka_config(self.settings.kafka_bootstrap), "partitioner": "murmur2_random", "log_level": 2}
        if transactional_id is None:
            return Producer(conf)
        long_ms = 600_000  # so that the broker aborts nothing
        name = f"{self.tenant}-{transactional_id}"
        producer = Producer(conf | {"transactional.id": name, "transaction.timeout.ms": long_ms})
        producer.init_transactions(30)
        return producer

    def order(self, producer: Producer, users: list[str], *, counts: bool = True) -> None:
        """Send an order for each user, without waiting for acknowledgements."""
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

    def interleave(self, one: Producer, two: Producer, *, turns: int) -> None:
        """Small transactions, those of `one` aborted, those of `two` committed, with plain records in between."""
        for n in range(turns):
            self.order(in_transaction(one), USERS[n : n + 5], counts=False)
            self.age(one, USERS[n : n + 5], 99 if n % 2 else 1, counts=False)
            assert one.flush(30) == 0
            self.order(in_transaction(two), USERS[n : n + 3])
            self.age(two, USERS[n : n + 3], 17 + n % 3)
            assert two.flush(30) == 0
            self.order(self.plain, USERS[20 : 20 + n % 2])
            assert self.plain.flush(30) == 0
            one.abort_transaction(30)
            two.commit_transaction(30)

    def abort(self, producer: Producer, *, times: int) -> None:
        """Let the log end with records that never count, and markers."""
        for _ in range(times):
            self.order(in_transaction(producer), USERS, counts=False)
            self.age(producer, USERS, 50, counts=False)
            assert producer.flush(30) == 0
            producer.abort_transaction(30)

    def members(self, name: str) -> int | None:
        """Member count by the workers, once all partitions have reported it up to the readable end; None before."""
        for of in self.context.segments.overviews(self.tenant):
            if (
                of.segment.name == name
                and len(of.partitions) == self.settings.partitions
                and records_behind(self.context, of.partitions.values()) == 0
            ):
                return sum(one.members for one in of.partitions.values())
        return None

    def assert_exact(self) -> None:
        """Wait until nothing is behind; check the members of segments by the stream, and by SQL over the archive."""
        for name, expected in (
            ("twice", sum(1 for count in self.orders.values() if count >= 2)),
            ("old", sum(1 for age in self.ages.values() if age >= 18)),
        ):
            until(lambda name=name, expected=expected: self.members(name) == expected)  # type: ignore[misc]  # at once
            checked = self.context.segment_check.run(self.tenant, name, 60).comparison
            assert (checked.by_stream, checked.by_rule, checked.equal) == (expected, expected, True)


def group_of(settings: Settings) -> WorkerGroup:
    return WorkerGroup(settings.kafka_bootstrap, settings.partitions, name=SEGMENT_WORKER_GROUP, topics=ACTIVITY_TOPICS)


def in_transaction(producer: Producer) -> Producer:
    producer.begin_transaction()
    return producer


def ends(settings: Settings, isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED) -> dict[tuple[str, int], int]:
    admin = AdminClient({**librdkafka_config(settings.kafka_bootstrap)})
    places = [TopicPartition(topic, p) for topic in ACTIVITY_TOPICS for p in range(settings.partitions)]
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    found = admin.list_offsets(dict.fromkeys(places, latest), isolation_level=isolation)
    return {(place.topic, place.partition): future.result(10).offset for place, future in found.items()}


def assert_all_acknowledged(settings: Settings) -> None:
    """Wait until archive and group are at the end of each log, markers included; so the workers count as alive."""
    archive = Context(settings).archive
    group = WorkerGroup(
        settings.kafka_bootstrap, settings.partitions, name=SEGMENT_WORKER_GROUP, topics=ACTIVITY_TOPICS
    )

    def acknowledged() -> bool:
        # The broker confirms the end of a transaction before its markers are in the partitions: ends may still grow.
        now = ends(settings)
        archived = {(topic, p): end for topic in ACTIVITY_TOPICS for p, end in archive.archived_to(topic).items()}
        logs = {topic: archive.log(topic) for topic in ACTIVITY_TOPICS}  # positions continue across a recreated topic
        positions = {(topic, p): logs[topic].position(Partition(p), end) for (topic, p), end in now.items()}
        return dict(group.committed()) == now and archived == positions

    def alive() -> bool:
        liveness = WorkerLiveness(group)
        return liveness.fault(now_ms()) is None and liveness.fault(now_ms() + STALL_MS + 1) is None

    until(lambda: acknowledged() and alive())


def assert_waits(shop: TransactionalShop, members: int | None = 0) -> None:
    """Check a segment at one instant: everything readable is in the answer, and the workers count as alive."""
    checked = shop.context.segment_check.run(shop.tenant, "twice", 60).comparison
    assert (checked.by_stream, checked.equal) == (members, True)
    (overview,) = (of for of in shop.context.segments.overviews(shop.tenant) if of.segment.name == "twice")
    until(lambda: (records_behind(shop.context, overview.partitions.values()) or 0) >= len(USERS) + 7)
    group = WorkerGroup(
        shop.settings.kafka_bootstrap, shop.settings.partitions, name=SEGMENT_WORKER_GROUP, topics=ACTIVITY_TOPICS
    )
    assert dict(group.ends()) == ends(shop.settings, IsolationLevel.READ_COMMITTED)
    until(lambda: dict(group.committed()) == dict(group.ends()))
