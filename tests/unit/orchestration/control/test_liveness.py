"""When workers do not count as alive, so that the heartbeats of a job that waits for them stop."""

from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.log_offsets import PartitionKey
from connectors.kafka.worker_group import WorkerGroup
from orchestration.control.liveness import STALL_MS, WorkerLiveness

PLACE = ("muster.imports.large", 0)
LATER_MS = STALL_MS // 2 + 1
"""Interval between two checks: two intervals exceed the stall limit."""


class Group(WorkerGroup):
    """One partition, in the state that the test sets."""

    def __init__(self) -> None:
        self.name = "muster-workers"
        self.at, self.end, self.workers, self.away = 0, 0, 1, False

    def members(self) -> int:
        return self.workers

    def committed(self) -> dict[PartitionKey, int]:
        if self.away:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        return {PLACE: self.at}

    def ends(self) -> dict[PartitionKey, int]:
        return {PLACE: self.end}


def looked(group: Group, *seen: dict[str, int], on_demand: bool = False) -> list[str | None]:
    """Result of each check."""
    liveness, said = WorkerLiveness(group, on_demand=on_demand), []
    for n, change in enumerate(seen):
        vars(group).update(change)
        said.append(liveness.fault(1_000 + n * LATER_MS))
    return said


def test_stalled_workers_are_reported_until_they_move() -> None:
    said = looked(Group(), {"end": 5}, {}, {"end": 6}, {"at": 1}, {})
    assert said == [None, None, "the workers have made no progress for 120 s, 6 messages are waiting", None, None]


def test_records_after_an_idle_time_get_the_full_grace() -> None:
    assert looked(Group(), {}, {}, {}, {"end": 1}, {}) == [None] * 5


def test_lagging_workers_that_move_are_alive() -> None:
    assert looked(Group(), *({"at": n, "end": 10 * n + 10} for n in range(6))) == [None] * 6


def test_empty_group_is_reported_even_without_lag() -> None:
    reported = f"no worker has been in group muster-workers for {2 * LATER_MS // 1000} s"
    assert looked(Group(), {"workers": 0}, {}, {}, {"workers": 1}, {"workers": 0}) == [None, None, reported, None, None]


def test_workers_that_come_on_demand_may_be_absent_for_as_long_as_it_takes() -> None:
    said = looked(Group(), {"workers": 0, "end": 5}, *({} for _ in range(20)), on_demand=True)
    assert set(said) == {None}


def test_workers_that_came_on_demand_fail_after_a_longer_stall() -> None:
    absent, stalled = [{"workers": 0, "end": 5}, {}, {}], [{"workers": 1}, *({} for _ in range(7))]
    said = looked(Group(), *absent, *stalled, on_demand=True)
    assert said[:-1] == [None] * 10
    assert said[-1] == "the workers have made no progress for 420 s, 5 messages are waiting"


def test_outage_of_the_broker_fails_nobody_who_waits_for_workers_on_demand() -> None:
    assert looked(Group(), {"away": True}, on_demand=True) == [None]


def test_unresponsive_broker_is_reported_immediately() -> None:
    [said] = looked(Group(), {"away": True})
    assert said is not None
    assert said.startswith("Kafka does not answer: ")
