"""A feed of a segment of a shop on a real broker, the process that delivers it, and the consumer of the docs."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connectors.kafka.clients import admin_client
from connectors.kafka.logon import librdkafka_config
from orchestration.catalog.feed_records import Feed
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records import feeds as records
from orchestration.records.feeds import FeedShape
from schemas.ids import AudienceName
from schemas.topics import MEMBERSHIP_CHANGES
from tests.integration.segment_shop import Shop
from tests.integration.workers import ROOT, Workers

PARTITIONS = 3


class ShopFeed:
    """A feed of a segment of a shop."""

    def __init__(self, shop: Shop, segment: str) -> None:
        self.shop, self.name = shop, f"f{fresh_id()}"
        self._segment = segment

    def create(self, target: str, shape: FeedShape = "changes") -> None:
        """Add it to the catalog."""
        self.shop.context.feeds.add(
            Feed(
                feed_id=fresh_id(),
                tenant=self.shop.tenant,
                name=self.name,
                segment=AudienceName(self._segment),
                target=target,
                shape=shape,
                start="all",
                author="ann",
                created_at_ms=now_ms(),
            )
        )

    def shown(self) -> records.Feed:
        """How far it is."""
        return self.shop.context.feeds.get(self.shop.tenant, self.name)

    def delete(self) -> None:
        """End it."""
        self.shop.context.feeds.delete(self.shop.tenant, self.name, lambda _: None)


class FollowedFeed(ShopFeed):
    """A feed to a topic of its own."""

    def __init__(self, shop: Shop, segment: str, folder: Path) -> None:
        super().__init__(shop, segment)
        self.topic, self._store = f"acme.{self.name}", folder / f"{self.name}.sqlite"
        admin = admin_client(shop.context.settings.kafka_bootstrap)
        for made in admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)]).values():
            made.result(30)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """The consumer of the docs runs, which ends with an error if anything contradicts it."""
        script = [sys.executable, str(ROOT / "docs" / "follow_feed.py")]
        broker = self.shop.context.settings.kafka_bootstrap
        with subprocess.Popen([*script, broker, self.topic, str(self._store)], env=os.environ) as process:
            try:
                yield
                assert process.poll() is None
            finally:
                process.terminate()

    def members(self) -> set[str]:
        """As the consumer knows them."""
        if not self._store.exists():
            return set()
        with sqlite3.connect(self._store, timeout=10) as db:
            tables = db.execute("SELECT name FROM sqlite_master").fetchall()
            return {user for (user,) in db.execute("SELECT user FROM users WHERE member")} if tables else set()

    def expire_changes(self) -> None:
        """Retention removes all membership changes that are there."""
        settings = self.shop.context.settings
        admin = admin_client(settings.kafka_bootstrap)
        everything = [TopicPartition(MEMBERSHIP_CHANGES, p, -1) for p in range(settings.partitions)]
        for removed in admin.delete_records(everything).values():
            removed.result(30)


class StateTopic:
    """A compacted topic, read from its start to its end each time."""

    def __init__(self, bootstrap: str, name: str, *, policy: str = "compact") -> None:
        self.name, self._bootstrap = name, bootstrap
        admin = admin_client(bootstrap)
        admin.create_topics([NewTopic(name, PARTITIONS, 1, config={"cleanup.policy": policy})])[name].result(30)

    def keep(self, policy: str) -> None:
        """Change its policy."""
        value = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.name, incremental_configs=[value])
        admin = admin_client(self._bootstrap)
        admin.incremental_alter_configs([resource])[resource].result(30)

    def put(self, key: str, value: str) -> None:
        """A record of somebody else."""
        producer = Producer(librdkafka_config(self._bootstrap))
        producer.produce(self.name, value, key)
        producer.flush(30)

    def latest(self) -> dict[str, str]:
        """The latest values by key, without tombstones."""
        config = {"group.id": "latest", "enable.partition.eof": True, "enable.auto.commit": False}
        consumer = Consumer({**librdkafka_config(self._bootstrap), **config})
        consumer.assign([TopicPartition(self.name, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        found: dict[str, str | None] = {}
        ended = 0
        while ended < PARTITIONS:
            for message in consumer.consume(1000, 1):
                if (error := message.error()) is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended += 1
                else:
                    key, value = message.key(), message.value()
                    assert key is not None
                    found[bytes(key).decode()] = None if value is None else bytes(value).decode()
        consumer.close()
        return {key: value for key, value in found.items() if value is not None}


def feeder(shop: Shop, folder: Path) -> Workers:
    """The processes that deliver feeds, restarted as by a supervisor."""
    return Workers(shop.context.settings, folder, "orchestration.entrypoints.feeder")
