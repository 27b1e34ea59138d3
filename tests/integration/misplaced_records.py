"""Producers with another partitioner, without keys, or with other users' keys: where their records end up."""

import json
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from connectors.kafka.logon import librdkafka_config
from orchestration.composition.context import Context
from orchestration.operations.segments import rule_of
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.ids import AudienceName, TenantName
from schemas.metrics import ACTIVITY
from schemas.partitioning import partition_of
from schemas.topics import EVENTS, PROFILES
from tests.waiting import until

PARTITION_UA: Final = -1
"""librdkafka's unassigned partition: the partitioner chooses."""
USERS: Final = [f"user-{n}" for n in range(60)]


class PlacingShop:
    """A tenant with two segments. `wrong`: number of records outside the partition of their user."""

    def __init__(self, settings: Settings) -> None:
        self.context = Context(settings)
        self.tenant = TenantName(f"t{fresh_id()}")
        self.context.audiences.add_tenant(self.tenant, now_ms())
        for name, rule in (("once", "count(order, 30d) = 1"), ("old", "age >= 18")):
            self.context.segments.create(
                self.tenant, AudienceName(name), rule_of(rule, None), new_id=fresh_id(), author="ann", now_ms=now_ms()
            )
        self.wrong: Counter[str] = Counter()
        self.right: dict[str, set[str]] = {EVENTS: set(), PROFILES: set()}

    def send(self, topic: str, user: str, place: int | None = None, key: bytes | None = None, **conf: Any) -> None:
        """Send one record about a user; returns when the broker has it, and counts whether it is misplaced."""
        record: dict[str, Any] = {"user_id": user, "tenant": self.tenant}
        record |= {"event": "order", "occurred_at": now_ms()} if topic == EVENTS else {"attributes": {"age": 30}}
        landed: list[int | None] = []
        producer = Producer({**librdkafka_config(self.context.settings.kafka_bootstrap)} | conf)
        producer.produce(
            topic,
            json.dumps(record).encode(),
            key=key,
            on_delivery=lambda _, message: landed.append(message.partition()),
            partition=PARTITION_UA if place is None else place,
        )
        assert producer.flush(30) == 0
        if landed == [partition_of(user, self.context.settings.partitions)]:
            self.right[topic].add(user)
        else:
            self.wrong[topic] += 1

    def members(self, name: str) -> int:
        (of,) = (of for of in self.context.segments.overviews(self.tenant) if of.segment.name == name)
        return sum(one.members for one in of.partitions.values())

    def assert_exact(self, name: str, members: int) -> None:
        until(lambda: self.members(name) == members)
        found = self.context.segment_check.run(self.tenant, name, 60).comparison
        assert (found.by_stream, found.by_rule, found.equal) == (members, members, True)


def results(home: Path) -> dict[tuple[str, str], int]:
    """`muster_segments_records_total` of the worker, by topic and result."""
    address = (home / "metrics" / "segment-worker-1").read_text(encoding="utf-8").strip()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {
        (sample.labels["topic"], sample.labels["result"]): int(sample.value)
        for family in families
        for sample in family.samples
        if sample.name == ACTIVITY.name
    }
