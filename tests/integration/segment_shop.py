"""A tenant with segments, the records sent for it, and the expected members: counted in plain Python.

Members followed by the sample consumer of docs/ are compared with that count.
"""

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from connectors.kafka.clients import admin_client
from connectors.kafka.logon import librdkafka_config
from connectors.kafka.topic_ids import TopicIds
from connectors.kafka.topics import ensure_topics
from orchestration.catalog.consent import StandingList
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.counters import Counters
from schemas.errors import FatalError, RetriableError
from schemas.ids import AudienceName, TenantName
from schemas.import_spec import ImportSpec
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES, TOPICS
from tests.fakes.rules import new_rule
from tests.integration.workers import ROOT
from tests.waiting import until

USERS: Final = [f"user-{n}" for n in range(400)]
Members = dict[str, set[str]]


class Shop:
    """A tenant with segments, its records, and the members that a rule would find."""

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
            {**librdkafka_config(settings.kafka_bootstrap), "partitioner": "murmur2_random", "linger.ms": 5}
        )

    def create(self, name: str, text: str) -> None:
        self.context.segments.create(
            self.tenant, AudienceName(name), new_rule(text), new_id=fresh_id(), author="ann", now_ms=now_ms()
        )

    def edit(self, name: str, text: str) -> None:
        self.context.segments.edit(self.tenant, AudienceName(name), new_rule(text), author="ann", now_ms=now_ms())

    def keep_out(self, name: str) -> None:
        """Make an audience, which has no members yet, a standing list of the tenant."""
        audience = self.context.audiences.create(
            self.tenant, AudienceName(name), new_id=fresh_id(), now_ms=now_ms(), spec=ImportSpec()
        )
        standing = [StandingList(audience_id=audience.audience_id, audience=audience.name)]
        self.context.consent.replace(self.tenant, standing, now_ms=now_ms(), check=lambda _: None)

    def send(self, events: int) -> None:
        """Send some events, one in ten twice, and a few profiles; returns once the broker has acknowledged all."""
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
        """Members of each segment, as followed by the sample consumer. Fails if it finds a contradiction."""
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

    def archived(self) -> int:
        """Number of records that the archive is past, once it has every sent record exactly once."""
        archive = self.context.archive

        def rows() -> int:
            return sum(file.rows for topic in ACTIVITY_TOPICS for file in archive.files(topic, tenant=self.tenant))

        until(lambda: rows() == self.sent)
        return sum(archive.archived_to(EVENTS).values())

    def counted(self) -> Counter[str]:
        """Member counts in the catalog, which gets them from the workers."""
        overviews = self.context.segments.overviews(self.tenant)
        return +Counter({str(of.segment.name): sum(p.members for p in of.partitions.values()) for of in overviews})

    def paused(self, segment: str) -> bool:
        """True if every partition has reported the segment as paused."""
        [of] = [of for of in self.context.segments.overviews(self.tenant) if of.segment.name == segment]
        parts = of.partitions.values()
        return len(parts) == self.context.settings.partitions and all(part.paused for part in parts)


def assert_followed(shop: Shop, expected: Members) -> None:
    """Wait until a consumer knows exactly these members. The catalog is checked first, as that is cheaper."""
    found: Members = {}

    def known() -> bool:
        nonlocal found
        found = shop.followed()
        return found == expected

    with suppress(AssertionError):
        until(lambda: shop.counted() == sizes(expected))
    with suppress(AssertionError):
        until(known, timeout_s=60)
    assert sizes(found) == sizes(expected), f"{sizes(found)}, and not {sizes(expected)}"
    assert found == expected


def sizes(members: Members) -> Counter[str]:
    return Counter({segment: len(users) for segment, users in members.items()})


@contextmanager
def relay_of_segments(context: Context) -> Iterator[None]:
    """The control plane's threads for segment workers: they send rules, and receive sizes and archive announcements."""
    stop = threading.Event()
    consumers = (
        control_plane.segment_status(context, stop, threading.Event()),
        control_plane.archive_consumer(context, stop, Counters()),
    )
    threads = [threading.Thread(target=consumer.run) for consumer in consumers]
    for thread in threads:
        thread.start()
    control_plane.activations(context).lane().start(stop)
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def recreate(settings: Settings, topics: Iterable[str]) -> None:
    """Delete topics, and recreate them empty with the same settings."""
    admin, ids = admin_client(settings.kafka_bootstrap), TopicIds(settings.kafka_bootstrap)
    names = list(topics)

    def id_of(topic: str) -> str | None:
        try:
            return ids.topic_id(topic)
        except (FatalError, RetriableError):
            return None

    before = {name: ids.topic_id(name) for name in names}
    for deleted in admin.delete_topics(names).values():
        deleted.result(30)

    def made() -> bool:
        try:
            ensure_topics(settings, [spec for spec in TOPICS if spec.name in names])
        except (RetriableError, KafkaException):  # it is still being deleted
            return False
        return all(id_of(name) not in {None, before[name]} for name in names)

    until(made)
