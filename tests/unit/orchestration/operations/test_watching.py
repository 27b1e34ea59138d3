"""What the watcher sees, and whom it starts."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from orchestration.operations.watching import Watcher
from schemas.errors import RetriableError
from segmentation.scaling import Scaled

NOW_MS = 7
WORKER, SEGMENT_WORKER, RELAY = Scaled.WORKER, Scaled.SEGMENT_WORKER, Scaled.RELAY


@dataclass
class Group:
    """A consumer group."""

    messages: int = 0
    workers: int = 0

    def lag(self) -> int:
        if self.messages < 0:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        return self.messages

    def members(self) -> int:
        return self.workers


@dataclass
class World:
    """A scaler and Step Functions."""

    running: bool = False
    fixed: bool = False
    renewed: list[dict[str, Any]] = field(default_factory=list)

    def any_running(self) -> bool:
        return self.running

    def renew(self, now_ms: int, **given: Any) -> None:
        assert now_ms == NOW_MS
        self.renewed.append(given)


def watch(world: World, workers: Group, segment_workers: Group, relay: Group) -> int | None:
    """The messages that wait for workers who are absent."""
    scaler: Any = world
    watcher = Watcher(workers=workers, segment_workers=segment_workers, relay=relay, executions=world, scaler=scaler)
    sight = watcher.watch(NOW_MS)
    return None if sight is None else sight.unserved


NOBODY, SOMEBODY = Group(), Group(workers=1)


@pytest.mark.parametrize(
    ("groups", "running", "absent"),
    [
        ((NOBODY, NOBODY, NOBODY), False, None),
        ((SOMEBODY, SOMEBODY, SOMEBODY), True, None),
        ((Group(messages=5, workers=1), NOBODY, SOMEBODY), False, None),
        ((Group(messages=5), NOBODY, SOMEBODY), False, {WORKER, SEGMENT_WORKER}),
        ((SOMEBODY, Group(messages=2), SOMEBODY), False, {SEGMENT_WORKER}),
        ((Group(messages=5, workers=1), SOMEBODY, NOBODY), False, {RELAY}),
        ((NOBODY, NOBODY, NOBODY), True, {WORKER, SEGMENT_WORKER, RELAY}),
        ((NOBODY, SOMEBODY, SOMEBODY), True, {WORKER}),
    ],
)
def test_absent_parts_are_started_only_if_work_may_wait_for_them(
    groups: tuple[Group, Group, Group], *, running: bool, absent: set[Scaled] | None
) -> None:
    world = World(running=running)
    unserved = watch(world, *groups)
    lags = {"lag": groups[0].messages, "activity_lag": groups[1].messages}
    assert world.renewed == ([] if absent is None else [{**lags, "absent": absent}])
    assert unserved == sum(group.messages for group in groups if not group.workers)


def test_fixed_counts_are_not_watched() -> None:
    assert watch(World(fixed=True), Group(messages=-1), NOBODY, NOBODY) is None


def test_outage_of_kafka_is_reported() -> None:
    with pytest.raises(RetriableError, match="KAFKA_UNAVAILABLE"):
        watch(World(), Group(messages=-1), NOBODY, NOBODY)
