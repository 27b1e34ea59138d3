"""The state file: what the supervisor writes, other processes read."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.local.home import Home
from orchestration.local.stack import report_change
from orchestration.local.status import PartState, PartStatus, read_status, take_lock, write_status

PART = PartStatus(
    name="kafka",
    state=PartState.READY,
    pid=12,
    ports=(9092, 9093),
    restarts=1,
    since="2026-11-25T09:00:00+00:00",
    log="/home/kafka.log",
    error={"code": "PORT_TAKEN"},
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(path=tmp_path)
    home.state_file.parent.mkdir(parents=True, exist_ok=True)
    home.lock_file.parent.mkdir(parents=True, exist_ok=True)
    return home


def test_status_of_a_running_supervisor_round_trips(home: Home) -> None:
    write_status(home, (PART,))
    lock = take_lock(home.lock_file)
    assert lock is not None
    try:
        assert read_status(home).parts == (PART,)
    finally:
        os.close(lock)


def test_the_parts_of_a_dead_supervisor_are_stopped(home: Home) -> None:
    write_status(home, (PART,))
    [part] = read_status(home).parts
    assert (part.state, part.pid, part.ports) == (PartState.STOPPED, None, PART.ports)


@pytest.mark.parametrize(
    "record",
    [
        {"supervisor_pid": 1, "parts": [{"name": "kafka"}]},
        {"supervisor_pid": 1, "parts": [{"name": "kafka", "state": "asleep"}]},
        {"supervisor_pid": 1, "parts": 3},
        {"parts": []},
        [],
    ],
)
def test_a_file_that_is_not_a_status_counts_as_none(home: Home, record: Any) -> None:
    home.state_file.write_text(json.dumps(record), encoding="utf-8")
    assert read_status(home).parts == ()


def test_a_part_is_reported_when_people_see_a_change() -> None:
    seen: dict[str, PartStatus] = {}
    reported: list[PartStatus] = []
    starting = replace(PART, state=PartState.STARTING, error=None)
    for part in (starting, replace(starting, pid=13), PART, replace(PART, error=None)):
        report_change(part, seen, reported.append)
    assert reported == [starting, PART, replace(PART, error=None)]


def test_parts_that_are_off_are_settled_and_those_that_start_are_named(tmp_path: Path) -> None:
    home = Home(path=tmp_path)
    lock = take_lock(home.lock_file)
    assert lock is not None
    off, starting = replace(PART, name="worker-2", state=PartState.OFF), replace(PART, name="worker-1")
    write_status(home, (PART, off))
    assert read_status(home).ready
    write_status(
        home, (replace(PART, name="relay", state=PartState.STARTING), replace(starting, state=PartState.FAILED))
    )
    assert [part.name for part in read_status(home).starting_workers] == ["worker-1"]
    os.close(lock)
