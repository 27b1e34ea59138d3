"""Samples of the groups of workers: one in ten seconds of the clock, none while Kafka is away."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.worker_group import WorkerGroup
from orchestration.catalog.engine import Database
from orchestration.catalog.samples import KEPT_MS, SampleStore, TopicSample
from orchestration.control.sampling import Sampling
from orchestration.records.workers import Worker
from schemas.errors import RetriableError
from schemas.topics import ARCHIVE, ARCHIVE_GROUP, IMPORTS, IMPORTS_SMALL, WORKER_GROUP
from tests.fakes.catalog import catalog_in

AT = 1_800_000_000_000
WORKER = Worker(worker="worker-1", host="node-7", pid=7, address="10.0.0.7", group=WORKER_GROUP, partitions=(0, 1))


class Group:
    """A `WorkerGroup` at given offsets."""

    def __init__(
        self, name: str, committed: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]
    ) -> None:
        self.name = name
        self._committed = committed
        self._ends = ends
        self.away = False

    def committed(self) -> Mapping[tuple[str, int], int]:
        if self.away:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        return self._committed

    def ends(self) -> Mapping[tuple[str, int], int]:
        return self._ends

    def members(self) -> int:
        return 1


class World:
    def __init__(self, store: SampleStore) -> None:
        self.store = store
        self.groups = [
            Group(
                WORKER_GROUP,
                {(IMPORTS, 0): 10, (IMPORTS, 1): -1, (IMPORTS_SMALL, 0): 4, (IMPORTS_SMALL, 1): 4},
                {(IMPORTS, 0): 12, (IMPORTS, 1): 5, (IMPORTS_SMALL, 0): 4, (IMPORTS_SMALL, 1): 4},
            ),
            Group(ARCHIVE_GROUP, {(ARCHIVE, 0): 1}, {(ARCHIVE, 0): 1}),
        ]
        self.refused = False
        self.commits = 0
        self.sampling = Sampling(store, cast("list[WorkerGroup]", self.groups), self.workers, self.write)

    def workers(self) -> list[Worker]:
        if self.refused:
            raise RetriableError("KAFKA_UNAVAILABLE", "away")
        return [WORKER]

    def write(self, commit: Callable[[], None]) -> None:
        self.commits += 1
        commit()

    def samples(self) -> list[TopicSample]:
        return self.store.since(0, step_ms=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    url = catalog_in(tmp_path)
    database = Database(url)
    yield World(SampleStore(database))
    database.close()


def test_a_sample_has_the_lag_and_counters_of_each_topic_and_the_members_of_its_group(world: World) -> None:
    world.sampling.tick(AT + 1234)
    assert [
        (one.at_ms, one.group, one.topic, one.members, one.lag, one.acknowledged, one.sent) for one in world.samples()
    ] == [
        (AT, ARCHIVE_GROUP, ARCHIVE, 1, 0, 1, 1),
        (AT, WORKER_GROUP, IMPORTS, 1, 7, 10, 17),
        (AT, WORKER_GROUP, IMPORTS_SMALL, 1, 0, 8, 8),
    ]
    archive, workers = world.store.groups()
    assert (archive.workers, workers.lag) == ([], {IMPORTS: [2, 5], IMPORTS_SMALL: [0, 0]})
    assert [(one["worker"], one["partitions"]) for one in workers.workers] == [("worker-1", [0, 1])]


def test_each_ten_seconds_have_one_sample_at_any_tick(world: World) -> None:
    for after_ms in (0, 9_999, 10_001, 10_900, 29_999):
        world.sampling.tick(AT + after_ms)
    assert sorted({one.at_ms - AT for one in world.samples()}) == [0, 10_000, 20_000]
    assert world.commits == 3


@pytest.mark.parametrize("part", ["offsets", "workers"])
def test_kafka_outage_skips_samples_and_logs_once(world: World, part: str, caplog: pytest.LogCaptureFixture) -> None:
    world.sampling.tick(AT)
    world.groups[1].away, world.refused = part == "offsets", part == "workers"
    with caplog.at_level(logging.WARNING):
        for number in range(1, 5):
            world.sampling.tick(AT + 5_000 * number)
    world.groups[1].away = world.refused = False
    world.sampling.tick(AT + 29_000)
    assert sorted({one.at_ms - AT for one in world.samples()}) == [0, 20_000]
    assert len([one for one in caplog.records if "no samples" in one.message]) == 1


def test_unwritten_sample_is_taken_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise RetriableError("CATALOG_UNAVAILABLE", "away")

    failing = Sampling(world.store, cast("list[WorkerGroup]", world.groups), world.workers, refuse)
    with pytest.raises(RetriableError):
        failing.tick(AT)
    monkeypatch.setattr(failing, "_write", world.write)
    failing.tick(AT + 2_000)
    assert {one.at_ms for one in world.samples()} == {AT}


def test_samples_are_kept_for_a_day(world: World) -> None:
    world.sampling.tick(AT)
    world.sampling.tick(AT + KEPT_MS)
    assert {one.at_ms for one in world.samples()} == {AT, AT + KEPT_MS}
    world.sampling.tick(AT + KEPT_MS + 10_001)
    assert {one.at_ms for one in world.samples()} == {AT + KEPT_MS, AT + KEPT_MS + 10_000}
