"""The archive's committer on a real broker and a real S3 server: ranges become tables, and workers get the ends."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, TopicPartition

from connectors.kafka.clients import admin_client
from connectors.kafka.logon import librdkafka_config
from connectors.kafka.topic_ids import TopicIds
from connectors.kafka.topics import ensure_topics
from connectors.kafka.worker_group import WorkerGroup
from orchestration.answers.dead_letters import DeadLetterLog
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.control import archive_consumer as archiving
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Secret, Settings
from schemas.codec import CODEC
from schemas.counters import Counters
from schemas.errors import FatalError, RetriableError
from schemas.segment_messages import ArchiveCommitted, ArchiveWritten
from schemas.topics import ARCHIVE, ARCHIVE_COMMITS, ARCHIVE_GROUP, EVENTS, PROFILES, TopicSpec
from tests.fakes.importer import send_raw
from tests.integration.archiver import POINTS
from tests.integration.lake.archiving import Bucket, change, event
from tests.integration.quick import QUICK_S
from tests.integration.workers import ROOT, end_sessions, member_ids
from tests.waiting import until

pytestmark = pytest.mark.integration
DOUBTFUL = "after the append"
"""The table has the ranges, but the ends were not announced. Deaths at all points are in tests/unit."""


class World:
    """A separate catalog and lake bucket, on the shared topics."""

    def __init__(self, settings: Settings, bucket: Bucket) -> None:
        self.settings = settings
        self.bucket = bucket
        self.context = Context(settings)
        self._group = WorkerGroup(settings.kafka_bootstrap, 1, name=ARCHIVE_GROUP, topics=(ARCHIVE,))
        self._told_from = self._end_of_commits()

    def _end_of_commits(self) -> int:
        return WorkerGroup(self.settings.kafka_bootstrap, 1, topics=(ARCHIVE_COMMITS,)).ends()[ARCHIVE_COMMITS, 0]

    def announce(self, *messages: ArchiveWritten | bytes) -> None:
        send_raw(
            self.settings.kafka_bootstrap,
            [(0, m if isinstance(m, bytes) else CODEC.encode(m)) for m in messages],
            ARCHIVE,
        )

    def everything_is_committed(self) -> bool:
        return self._group.committed() == self._group.ends()

    def announced(self) -> dict[str, int]:
        """Ends announced since the start of the test, by key."""
        consumer = Consumer({**librdkafka_config(self.settings.kafka_bootstrap), "group.id": "unused"})
        consumer.assign([TopicPartition(ARCHIVE_COMMITS, 0, self._told_from)])
        found: dict[str, int] = {}
        try:
            for _ in range(self._end_of_commits() - self._told_from):
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None
                committed = CODEC.decode(message.value())
                assert isinstance(committed, ArchiveCommitted)
                key = message.key()
                assert isinstance(key, bytes)
                found[key.decode()] = committed.end_offset
        finally:
            consumer.close()
        return found

    def offsets(self, topic: str) -> list[int]:
        """Offsets of all rows in the table."""
        found: list[int] = []
        for file in self.context.archive.files(topic):
            table = pq.read_table(file.uri.removeprefix("s3://"), filesystem=self.bucket.s3.filesystem())
            found += table.column("offset").to_pylist()
        return sorted(found)

    @contextmanager
    def committer(self) -> Iterator[Counters]:
        stop, counters = threading.Event(), Counters()
        thread = threading.Thread(target=control_plane.archive_consumer(self.context, stop, counters).run)
        thread.start()
        try:
            yield counters
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()

    def dies(self, point: str) -> int:
        """Exit code of a committer that is killed at a point."""
        env = os.environ | self.settings.environment()
        command = [sys.executable, "-m", "tests.integration.archiver", point]
        return subprocess.run(command, cwd=ROOT, env=env, timeout=120, check=False).returncode


@pytest.fixture
def world(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(archiving, "LINGER_S", QUICK_S)
    with Bucket.new(s3_access(stack)) as bucket:
        url = Secret(f"sqlite:///{tmp_path / 'catalog.db'}")
        world = World(stack.with_(lake_bucket=bucket.name, catalog_url=url, home=tmp_path), bucket)
        yield world
        world.context.archive.close()


def test_ranges_are_appended_and_announced_and_others_are_dead_letters(world: World) -> None:
    write = world.bucket.write
    with world.committer() as counters:
        world.announce(
            write(0, 10, [event(1), event(8)]), b"no message", write(0, 5, [change(2)], topic=PROFILES), write(10, 20)
        )
        until(world.everything_is_committed)
        assert world.announced() == {f"{EVENTS}/3": 20, f"{PROFILES}/3": 5}
        world.announce(write(5, 25, [event(8)]), write(0, 5, [change(2)], topic=PROFILES))
        until(world.everything_is_committed)
    assert (world.offsets(EVENTS), world.offsets(PROFILES)) == ([1, 8], [2])
    assert world.announced() == {f"{EVENTS}/3": 20, f"{PROFILES}/3": 5}
    results = {sample.labels: sample.value for sample in counters.samples()}
    assert results[EVENTS, "refused"] == results[PROFILES, "known"] == 1
    with DeadLetterLog(world.settings.kafka_bootstrap) as log:
        [(_, letter)] = log.letters(log.numbers[-1])
    assert (letter.topic, letter.value) == (ARCHIVE, b"no message")


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(
            point, marks=[] if point == DOUBTFUL else pytest.mark.faults("a death at each other point", seconds=15)
        )
        for point in POINTS
    ],
)
def test_killed_committer_appends_and_announces_each_range_once(world: World, point: str) -> None:
    ranges = [world.bucket.write(10 * n, 10 * n + 10, [event(10 * n + 1)]) for n in range(3)]
    world.announce(*ranges)
    assert world.dies(point) == -signal.SIGKILL
    end_sessions(world.settings, ARCHIVE_GROUP, member_ids(world.settings, ARCHIVE_GROUP))
    assert not world.everything_is_committed()
    world.announce(world.bucket.write(30, 40, [event(31)]))
    with world.committer():
        until(world.everything_is_committed)
    assert world.offsets(EVENTS) == [1, 11, 21, 31]
    assert world.announced() == {f"{EVENTS}/3": 40}


def test_committer_announces_all_ends_at_its_start(world: World) -> None:
    world.context.archive.append(EVENTS, [world.bucket.write(0, 10, [event(1)])])
    with world.committer():
        assert until(world.announced) == {f"{EVENTS}/3": 10}


def test_archive_of_a_lost_topic_is_kept_and_nothing_is_announced(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.context.archive.append(EVENTS, [world.bucket.write(0, 10, [event(1)])], topic_id="another")
    with world.committer():
        world.announce(world.bucket.write(0, 5, [event(2)]))
        until(lambda: "TOPIC_REPLACED" in caplog.text)
    assert (world.offsets(EVENTS), world.announced()) == ([1], {})
    assert not world.everything_is_committed()


def test_recreated_topic_has_another_id(stack: Settings) -> None:
    spec = TopicSpec(name=f"again-{uuid.uuid4()}", partitions=1)
    ids, admin = TopicIds(stack.kafka_bootstrap), admin_client(stack.kafka_bootstrap)

    def made() -> str | None:
        try:
            return ids.topic_id(spec.name)
        except (FatalError, RetriableError):
            return None

    ensure_topics(stack, [spec])
    first = until(made)
    assert ids.topic_id(spec.name) == first
    admin.delete_topics([spec.name])[spec.name].result(30)
    until(lambda: made() is None)
    # the committer waits for it, without ending the control plane
    with pytest.raises(RetriableError, match="TOPIC_MISSING"):
        ids.topic_id(spec.name)
    ensure_topics(stack, [spec])
    assert until(made) != first
