"""Workers that are killed, or sleep past their session, during imports: the same parts in the end."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.logon import librdkafka_config
from connectors.kafka.worker_group import group_members
from orchestration.local import processes
from orchestration.local import stack as local_stack
from orchestration.platform.settings import Settings
from schemas.messages import UserChunk
from schemas.topics import IMPORTS, IMPORTS_SMALL, WORKER_GROUP
from tests.fakes.importer import interleave, make_import, send, users
from tests.integration.shared.test_materialiser import assert_materialised, new_id
from tests.integration.workers import Workers, committed, committed_everything, staged
from tests.waiting import until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults("kills, outages and sessions that time out; test_materialiser.py kills a worker at a point"),
]

KILLS = 8


@pytest.fixture
def workers(stack: Settings, tmp_path: Path) -> Iterator[Workers]:
    running = Workers(stack, tmp_path)
    yield running
    running.close()


@pytest.mark.timeout(600)
def test_workers_killed_at_random_lose_and_duplicate_nothing(stack: Settings, workers: Workers) -> None:
    dice = random.Random(20_261)
    imports = [
        (make_import(new_id(), rows, partitions=stack.partitions, chunk_rows=400), rows)
        for rows in (users(40_000, first=n * 1000, doubled=4_000) for n in range(3))
    ]
    small = [
        (make_import(new_id(), rows, partitions=stack.partitions), rows)
        for rows in (users(70, first=n) for n in range(10))
    ]
    workers.start("a")
    workers.start("b")
    # A tenth of the chunks is sent twice; the log grows while workers come and go.
    messages = interleave(*(imported.messages for imported, _ in imports))
    doubled = [m for m in messages for _ in range(2 if isinstance(m, UserChunk) and dice.random() < 0.1 else 1)]
    piece = len(doubled) // KILLS + 1
    for n in range(KILLS):
        goal = committed(stack) + dice.randrange(piece)  # somewhere in the middle of the messages sent next
        send(stack.kafka_bootstrap, doubled[n * piece : (n + 1) * piece])
        if n == KILLS // 2:
            send(stack.kafka_bootstrap, interleave(*(imported.messages for imported, _ in small)), IMPORTS_SMALL)
        until(lambda goal=goal: committed(stack) > goal)  # type: ignore[misc]  # bound at once
        workers.signal(dice.choice("ab"), signal.SIGKILL)
    for imported, rows in [*imports, *small]:
        assert_materialised(stack, imported, rows)
    until(lambda: committed_everything(stack))
    assert workers.restarts >= KILLS


@pytest.mark.timeout(600)
def test_worker_frozen_past_its_session_changes_nothing_on_waking(stack: Settings, workers: Workers) -> None:
    first, second = (users(30_000, doubled=2_000), users(30_000, first=10_000))
    before = make_import(new_id(), first, partitions=stack.partitions, chunk_rows=300)
    after = make_import(new_id(), second, partitions=stack.partitions, chunk_rows=300)
    half = len(before.messages) // 2
    workers.start("a")
    workers.start("b")
    send(stack.kafka_bootstrap, before.messages[:half])
    until(lambda: all("assigned partitions=" in workers.log(name) for name in "ab"))
    workers.signal("a", signal.SIGSTOP)
    send(stack.kafka_bootstrap, before.messages[half:])
    until(lambda: group_members(stack.kafka_bootstrap, WORKER_GROUP) == 1)  # its session has ended
    assert_materialised(stack, before, first)  # by the other one alone
    workers.signal("a", signal.SIGCONT)
    send(stack.kafka_bootstrap, after.messages)
    assert_materialised(stack, after, second)
    assert_materialised(stack, before, first)
    until(lambda: committed_everything(stack))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", ["kafka", "s3"])
def test_outage_during_an_import_loses_nothing(start_stack: Callable[..., Settings], tmp_path: Path, part: str) -> None:
    settings = start_stack(partitions=2)
    workers = Workers(settings, tmp_path)
    try:
        rows = users(20_000, doubled=1_000)
        imported = make_import(new_id(), rows, partitions=2, chunk_rows=100)
        half = len(imported.messages) // 2
        workers.start("a")
        send(settings.kafka_bootstrap, imported.messages[:half])
        until(lambda: staged(settings, imported.import_id))
        victim = {"kafka": "kafka.Kafka", "s3": "-s3=true"}[part]
        killed = [p for p in processes.marked(settings.home) if victim in p.cmdline()]
        assert killed
        for process in killed:
            process.kill()
        until(lambda: not any(p.is_running() for p in killed))
        local_stack.up(settings.home, parts=("kafka", "s3"), env=os.environ | settings.environment())
        send(settings.kafka_bootstrap, imported.messages[half:])
        assert_materialised(settings, imported, rows, timeout_s=150)
    finally:
        workers.close()


@pytest.mark.timeout(300)
def test_expired_unread_records_end_the_worker_with_retention_lost(
    start_stack: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = start_stack(partitions=1)
    workers = Workers(settings, tmp_path)
    try:
        rows = users(100)
        first = make_import(new_id(), rows, partitions=1)
        workers.start("a")
        send(settings.kafka_bootstrap, first.messages)
        assert_materialised(settings, first, rows)
        until(lambda: committed_everything(settings))
        assert workers.stop("a") == 0
        send(settings.kafka_bootstrap, make_import(new_id(), rows, partitions=1).messages)
        admin = AdminClient({**librdkafka_config(settings.kafka_bootstrap)})
        for future in admin.delete_records([TopicPartition(IMPORTS, 0, 5)]).values():
            future.result(timeout=30)
        workers.start("a")
        assert workers.wait_exit("a") == 70
        assert "RETENTION_LOST: muster.imports/0: the committed offset 3 is outside the log (5 to 6)" in workers.log(
            "a"
        )
    finally:
        workers.close()
