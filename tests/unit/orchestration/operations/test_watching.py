"""What the watcher sees, and whom it starts."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from orchestration.entrypoints import handlers
from orchestration.operations.watching import Sight, Watcher
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from orchestration.workflow.services import ServiceCounts
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


@pytest.mark.parametrize(
    ("lag", "running", "absent", "uncontrolled"),
    [
        (0, False, {RELAY}, False),
        (1, False, {RELAY}, True),
        (0, True, {RELAY}, True),
        (1, True, {WORKER, SEGMENT_WORKER}, False),
    ],
)
def test_a_control_plane_is_missed_only_while_there_is_work(
    *, lag: int, running: bool, absent: set[Scaled], uncontrolled: bool
) -> None:
    sight = Sight(lag=0, activity_lag=lag, absent=frozenset(absent), running=running)
    assert sight.uncontrolled == uncontrolled


@pytest.mark.parametrize("at_aws", [True, False])
def test_functions_write_what_they_see_as_metrics_at_aws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, at_aws: bool
) -> None:
    sight = Sight(lag=5, activity_lag=0, absent=frozenset({WORKER, RELAY}), running=False)
    counts = {
        WORKER: ServiceCounts(desired=3, running=1, starting=1),
        RELAY: ServiceCounts(desired=0, running=1, starting=0),
    }
    due = now_ms() - 60_000
    context = SimpleNamespace(
        settings=Settings(machine_prefix="prod-" if at_aws else ""),
        watcher=SimpleNamespace(watch=lambda _: sight),
        scaled_services=SimpleNamespace(counts=lambda: counts),
        schedules=SimpleNamespace(next_due_ms=lambda: due),
        scaler=SimpleNamespace(renew=lambda *_, **__: None),
    )
    monkeypatch.setattr(handlers, "process_context", lambda: context)
    assert handlers.watch_workers({}, None) == handlers.ensure_workers({}, None) == {}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["_aws"]["CloudWatchMetrics"][0]["Namespace"] for line in lines] == ["Muster/prod"] * (3 * at_aws)
    if at_aws:
        seen = {name: value for line in lines for name, value in line.items() if name != "_aws"}
        overdue_s = seen.pop("muster_schedule_overdue_seconds")
        assert seen == {"UnservedMessages": 5, "UncontrolledWork": 1, "MissingTasks": 2}
        assert 60 <= overdue_s < 120
