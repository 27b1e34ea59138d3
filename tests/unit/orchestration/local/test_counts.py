import os
from pathlib import Path

import pytest

from orchestration.local.counts import COUNTS_FILE, begin_counts, is_wanted, read_counts, write_counts
from orchestration.local.home import Home
from orchestration.local.parts import Context, Part
from orchestration.local.ports import Ports
from orchestration.local.status import PartState, read_status, take_lock
from orchestration.local.supervisor import Roster, StateTable
from orchestration.platform.settings import Settings
from segmentation.scaling import Scaled
from tests.waiting import until

NAMES = ("engine", "relay", "worker-1", "worker-2", "segment-worker-1")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(path=tmp_path)
    home.make()
    return home


def test_counts_are_read_as_written(home: Home) -> None:
    assert read_counts(home) == {}
    write_counts(home, {Scaled.WORKER: 2, Scaled.RELAY: 0})
    assert read_counts(home) == {Scaled.WORKER: 2, Scaled.RELAY: 0}
    begin_counts(home, Settings())
    assert read_counts(home) == {}
    begin_counts(home, Settings(min_workers=0, min_segment_workers=0))
    assert read_counts(home) == {
        Scaled.WORKER: 0,
        Scaled.SEGMENT_WORKER: 0,
        Scaled.FEEDER: 0,
        Scaled.RELAY: 1,
    }


@pytest.mark.parametrize("content", ["", "[]", '{"worker": "many"}', '{"worker": null}'])
def test_unreadable_counts_stop_nothing(home: Home, content: str) -> None:
    (home.path / COUNTS_FILE).write_text(content)
    assert read_counts(home) == {}


def test_processes_beyond_the_count_are_not_wanted() -> None:
    counts = {Scaled.WORKER: 1, Scaled.SEGMENT_WORKER: 0, Scaled.RELAY: 0}
    assert [name for name in NAMES if is_wanted(name, counts)] == ["engine", "worker-1"]
    assert all(is_wanted(name, {}) for name in NAMES)


def test_parts_follow_the_counts(home: Home) -> None:
    settings = Settings(home=home.path)
    context = Context(home=home, settings=settings, ports=Ports())
    parts = tuple(Part(name=name) for name in NAMES)
    roster = Roster(parts, context, StateTable(context, parts))

    lock = take_lock(home.lock_file)  # as a supervisor, whose file counts
    assert lock is not None

    def settle(counts: dict[Scaled, int], on: set[str]) -> None:
        expected = {name: PartState.READY if name in on else PartState.OFF for name in NAMES}

        def followed() -> bool:
            roster.follow(counts)
            return {part.name: part.state for part in read_status(home).parts} == expected

        until(followed, lambda: read_status(home).parts, timeout_s=20)
        assert read_status(home).ready

    settle({Scaled.WORKER: 1, Scaled.SEGMENT_WORKER: 0, Scaled.RELAY: 0}, {"engine", "worker-1"})
    settle({Scaled.WORKER: 2, Scaled.SEGMENT_WORKER: 0, Scaled.RELAY: 1}, {"engine", "relay", "worker-1", "worker-2"})
    settle({Scaled.WORKER: 0, Scaled.SEGMENT_WORKER: 0, Scaled.RELAY: 0}, {"engine"})
    settle({}, set(NAMES))
    for runner in roster.all():
        runner.stop()
        runner.join()
    assert {part.state for part in read_status(home).parts} == {PartState.STOPPED}
    os.close(lock)
