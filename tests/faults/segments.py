"""A segment whose rule changes again and again, visits by members, and the expected members of a segment over both."""

import json
import random
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import Producer

from connectors.kafka.logon import librdkafka_config
from orchestration.operations.segments import rule_of
from orchestration.platform.clock import fresh_id, now_ms
from schemas.ids import segment_name, tenant_name
from schemas.topics import EVENTS
from tests.faults.stack import FaultedStack
from tests.faults.waiting import until
from tests.integration.whole_imports import TENANT

SEGMENT: Final = "soaked"
LAST: Final = "last"
VISITS: Final = 200
"""Visits in a turn."""


def change_rule(stack: FaultedStack, number: int, audience: str) -> None:
    """Create, edit, pause, resume, edit and delete one segment, one step per turn, again and again."""
    segments, tenant, segment = stack.context.segments, tenant_name(TENANT), segment_name(SEGMENT)
    rule = rule_of(f"count(visit, {number + 1}d) >= 1 or in audience {audience}", None)
    steps: tuple[Callable[[], object], ...] = (
        lambda: segments.create(tenant, segment, rule, new_id=fresh_id(), author="soak", now_ms=now_ms()),
        lambda: segments.edit(tenant, segment, rule, author="soak", now_ms=now_ms()),
        lambda: segments.pause(tenant, segment, now_ms=now_ms()),
        lambda: segments.resume(tenant, segment, now_ms=now_ms()),
        lambda: segments.edit(tenant, segment, rule, author="soak", now_ms=now_ms()),
        lambda: segments.delete(tenant, segment, now_ms=now_ms()),
    )

    def changed() -> bool:
        steps[number % len(steps)]()
        return True

    until(changed, "a change of a rule")


class Visitors:
    """Sends visits. `seen`: every user with a visit in the log."""

    def __init__(self, stack: FaultedStack) -> None:
        servers = stack.settings.kafka_bootstrap
        self._producer = Producer({**librdkafka_config(servers), "partitioner": "murmur2_random", "log_level": 2})
        self.seen: set[str] = set()

    def visit(self, users: Collection[str], dice: random.Random) -> None:
        """Send visits of up to `VISITS` of these users. Raises `AssertionError` if the broker does not take them."""
        for user in dice.sample(sorted(users), min(VISITS, len(users))):
            record = {"tenant": TENANT, "user_id": user, "event": "visit", "occurred_at": datetime.now(UTC).isoformat()}
            self._producer.produce(EVENTS, json.dumps(record).encode(), key=user.encode())
            self.seen.add(user)
        assert self._producer.flush(300) == 0, "visits that the broker has not taken"


def wrong_in_the_end(stack: FaultedStack, audience: str, expected: int) -> list[str]:
    """At the end, every partition takes a new rule and counts the users who have visited and are in an audience."""
    segments, tenant, last = stack.context.segments, tenant_name(TENANT), segment_name(LAST)
    rule = rule_of(f"ever(visit) and in audience {audience}", None)
    segments.create(tenant, last, rule, new_id=fresh_id(), author="soak", now_ms=now_ms())

    def counted() -> bool:
        found = segments.one(tenant, last, partitions=stack.settings.partitions, now_ms=0)
        return found.complete and found.members == expected

    try:
        until(counted, f"a segment of {expected} members", timeout_s=180)
    except AssertionError as exc:
        return [str(exc)]
    return []
