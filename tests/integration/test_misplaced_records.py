"""Producers with another partitioner, without keys, or with the keys of others: where their records end.

Each event counts once where its user belongs, or is refused and told; nothing is taken in the wrong place.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from orchestration.clock import fresh_id, now_ms
from orchestration.context import Context
from orchestration.operations.segment_check import check
from orchestration.operations.segments import create, read_rule
from orchestration.settings import Settings
from schemas.ids import TenantName
from schemas.metrics import ACTIVITY
from schemas.partitioning import partition_of
from schemas.topics import EVENTS, PROFILES
from tests.conftest import StartStack
from tests.integration.workers import ROOT, Workers, eventually

pytestmark = [pytest.mark.integration, pytest.mark.embedded("about producers, not about who runs the broker")]

P = 4
PARTITION_UA = -1
"""Of librdkafka: the partitioner chooses."""
USERS = [f"user-{n}" for n in range(60)]


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    """All but workers."""
    return start_module_stack(parts=("kafka", "s3", "catalog", "engine", "relay"), partitions=P)


class Shop:
    """A tenant with two segments. `wrong`: how many records lay where their user does not belong."""

    def __init__(self, settings: Settings) -> None:
        self.context = Context(settings)
        self.tenant = TenantName(f"t{fresh_id()}")
        self.context.audiences.add_tenant(self.tenant, now_ms())
        for name, rule in (("once", "count(order, 30d) = 1"), ("old", "age >= 18")):
            create(self.context, self.tenant, name, read_rule(rule, None), "ann")
        self.wrong: Counter[str] = Counter()
        self.right: dict[str, set[str]] = {EVENTS: set(), PROFILES: set()}

    def send(self, topic: str, user: str, place: int | None = None, key: bytes | None = None, **conf: Any) -> None:
        """One record about a user; the broker has it when this returns, and it is known where."""
        record: dict[str, Any] = {"user_id": user, "tenant": self.tenant}
        record |= {"event": "order", "occurred_at": now_ms()} if topic == EVENTS else {"attributes": {"age": 30}}
        landed: list[int | None] = []
        producer = Producer({"bootstrap.servers": self.context.settings.kafka_bootstrap} | conf)
        producer.produce(
            topic,
            json.dumps(record).encode(),
            key=key,
            on_delivery=lambda _, message: landed.append(message.partition()),
            partition=PARTITION_UA if place is None else place,
        )
        assert producer.flush(30) == 0
        if landed == [partition_of(user, P)]:
            self.right[topic].add(user)
        else:
            self.wrong[topic] += 1

    def members(self, name: str) -> int:
        (of,) = (of for of in self.context.segments.standing(self.tenant) if of.segment.name == name)
        return sum(one.members for one in of.partitions.values())

    def assert_exact(self, name: str, members: int) -> None:
        eventually(lambda: self.members(name) == members, 60)
        found = check(self.context, self.tenant, name, 60).comparison
        assert (found.by_stream, found.by_rule, found.equal) == (members, members, True)

    def refused(self) -> Counter[tuple[str, str]]:
        """Topics and codes of the tenant's dead letters, as `muster dead-letters list` shows them."""
        command = [sys.executable, "-m", "orchestration.cli.main", "dead-letters", "list", "--limit", "1000", "--json"]
        env = os.environ | self.context.settings.environment() | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
        return Counter((one["topic"], one["reason"].partition(":")[0]) for one in json.loads(done.stdout))


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


@pytest.mark.timeout(300)
def test_records_in_the_wrong_partition_or_with_the_key_of_somebody_else_count_where_they_belong_or_are_refused(
    settings: Settings, workers: Workers, tmp_path: Path
) -> None:
    shop = Shop(settings)
    workers.start("a", MUSTER_WORKER_SESSION_TIMEOUT_S="30")  # who is thrown out reads again, and counts twice
    for n, user in enumerate(USERS):
        for topic in (EVENTS, PROFILES):
            if n < 20:
                shop.send(topic, user, key=user.encode())  # by librdkafka's own partitioner
            elif n < 40:
                shop.send(topic, user, place=n % P, key=user.encode())  # in turn
            else:
                shop.send(topic, user, place=n % P)  # without a key
    misplaced, rightly = shop.wrong.copy(), len(shop.right[PROFILES])
    assert min(misplaced.values()) > 20
    assert rightly > 5
    for topic in (EVENTS, PROFILES):
        shop.send(topic, "eve", key=b"alice", partitioner="murmur2_random")
        shop.send(topic, "eve", key=b'"eve"', partitioner="murmur2_random")

    shop.assert_exact("once", len(USERS))  # each event once, wherever it lay
    shop.assert_exact("old", rightly)
    refused = {(EVENTS, "key_mismatch"): 2, (PROFILES, "key_mismatch"): 2}
    refused[PROFILES, "wrong_partition"] = misplaced[PROFILES]
    assert shop.refused() == refused
    sent = len(USERS) + 2
    assert results(tmp_path / "a") == {
        (EVENTS, "taken"): sent + misplaced[EVENTS],  # what was sent on is read again where it belongs
        (EVENTS, "moved"): misplaced[EVENTS],
        (EVENTS, "refused"): 2,
        (PROFILES, "taken"): sent,
        (PROFILES, "refused"): 2 + misplaced[PROFILES],
    }
