"""Workers that are killed, or sleep through their session, while imports run: the same parts in the end."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.settings import Settings
from schemas.messages import UserChunk
from schemas.topics import IMPORTS_SMALL
from tests.fakes.importer import interleave, make_import, send, users
from tests.integration.test_materialiser import assert_materialised, new_id
from tests.integration.workers import SESSION_TIMEOUT_S, Workers, committed_everything, eventually

pytestmark = pytest.mark.integration

KILLS = 8


@pytest.fixture
def workers(stack: Settings, tmp_path: Path) -> Iterator[Workers]:
    running = Workers(stack, tmp_path)
    yield running
    running.close()


@pytest.mark.timeout(600)
def test_workers_killed_at_random_moments_lose_and_double_nothing(stack: Settings, workers: Workers) -> None:
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
    # A tenth of the messages is sent twice; the log grows while workers come and go.
    messages = interleave(*(imported.messages for imported, _ in imports))
    doubled = [m for m in messages for _ in range(2 if isinstance(m, UserChunk) and dice.random() < 0.1 else 1)]
    piece = len(doubled) // KILLS + 1
    for n in range(KILLS):
        send(stack.kafka_bootstrap, doubled[n * piece : (n + 1) * piece])
        if n == KILLS // 2:
            send(stack.kafka_bootstrap, interleave(*(imported.messages for imported, _ in small)), IMPORTS_SMALL)
        time.sleep(dice.uniform(0.5, 5))
        workers.signal(dice.choice("ab"), signal.SIGKILL)
    for imported, rows in [*imports, *small]:
        assert_materialised(stack, imported, rows, timeout_s=120)
    eventually(lambda: committed_everything(stack), timeout_s=60)
    assert workers.restarts >= KILLS


@pytest.mark.timeout(600)
def test_a_worker_that_sleeps_past_its_session_changes_nothing_when_it_wakes_up(
    stack: Settings, workers: Workers
) -> None:
    first, second = (users(30_000, doubled=2_000), users(30_000, first=10_000))
    before = make_import(new_id(), first, partitions=stack.partitions, chunk_rows=300)
    after = make_import(new_id(), second, partitions=stack.partitions, chunk_rows=300)
    half = len(before.messages) // 2
    workers.start("a")
    workers.start("b")
    send(stack.kafka_bootstrap, before.messages[:half])
    eventually(lambda: all("assigned partitions=" in workers.log(name) for name in "ab"))
    workers.signal("a", signal.SIGSTOP)
    send(stack.kafka_bootstrap, before.messages[half:])
    time.sleep(SESSION_TIMEOUT_S + 2)
    assert_materialised(stack, before, first, timeout_s=120)  # by the other one alone
    workers.signal("a", signal.SIGCONT)
    send(stack.kafka_bootstrap, after.messages)
    assert_materialised(stack, after, second, timeout_s=120)
    assert_materialised(stack, before, first)
    eventually(lambda: committed_everything(stack), timeout_s=60)
