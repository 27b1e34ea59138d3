"""Status of the parts from the supervisor, as values and as the file `stack.json`."""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from orchestration.local.home import Home
from schemas.errors import FatalError
from schemas.records import as_record, from_record
from segmentation.scaling import Scaled

ALREADY_RUNNING: Final = 3
"""Exit code of a supervisor that found the lock taken."""


class PartState(StrEnum):
    """State of a part."""

    WAITING = "waiting"
    """for the parts it needs"""
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    """did not start or has ended; restarted after a pause"""
    STOPPING = "stopping"
    STOPPED = "stopped"
    OFF = "off"
    """is not wanted now: it starts when there is work"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """One part of the stack. `error` is a `MusterError` record; `since` is ISO 8601 in UTC."""

    name: str
    state: PartState
    pid: int | None
    ports: tuple[int, ...]
    restarts: int
    since: str
    log: str
    error: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        """The name without the number that parts of several processes have."""
        kind, _, number = self.name.rpartition("-")
        return kind if number.isdecimal() else self.name

    @property
    def starting(self) -> bool:
        """Whether it is wanted and does not work yet."""
        return self.state in {PartState.WAITING, PartState.STARTING, PartState.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStatus:
    """The whole stack of one home. `running` says whether its supervisor lives."""

    home: str
    running: bool
    supervisor_pid: int | None
    parts: tuple[PartStatus, ...]

    @property
    def ready(self) -> bool:
        """Whether every part that is wanted is ready."""
        settled = (PartState.READY, PartState.OFF)
        return self.running and bool(self.parts) and all(p.state in settled for p in self.parts)

    @property
    def starting_workers(self) -> tuple[PartStatus, ...]:
        """Workers that will run soon."""
        return tuple(p for p in self.parts if p.kind in {Scaled.WORKER, Scaled.SEGMENT_WORKER} and p.starting)

    def part(self, name: str) -> PartStatus | None:
        """A part by name."""
        return next((p for p in self.parts if p.name == name), None)

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "home": self.home,
            "running": self.running,
            "ready": self.ready,
            "supervisor_pid": self.supervisor_pid,
            "parts": [as_record(p) for p in self.parts],
        }


def read_status(home: Home) -> StackStatus:
    """Status of a home, including one where nothing was ever started."""
    running = supervisor_runs(home)
    try:
        record = json.loads(home.state_file.read_text(encoding="utf-8"))
        parts = tuple(from_record(PartStatus, p) for p in record["parts"])
        pid = int(record["supervisor_pid"])
    except (OSError, ValueError, KeyError, TypeError, FatalError):
        parts, pid = (), None
    if not running:
        parts = tuple(_stopped(p) for p in parts)
    return StackStatus(home=str(home.path), running=running, supervisor_pid=pid if running else None, parts=parts)


def write_status(home: Home, parts: tuple[PartStatus, ...]) -> None:
    """Replace the state file atomically; only for the supervisor."""
    record = {"supervisor_pid": os.getpid(), "parts": [as_record(p) for p in parts]}
    temporary = home.state_file.with_name(f".{home.state_file.name}")
    temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    temporary.replace(home.state_file)


def supervisor_runs(home: Home) -> bool:
    """Whether a supervisor holds the lock of this home."""
    try:
        with home.lock_file.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def take_lock(path: Path) -> int | None:
    """Become the only supervisor of a home: returns a descriptor to keep open for life. None if another one lives."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _stopped(part: PartStatus) -> PartStatus:
    return replace(part, state=PartState.STOPPED, pid=None)
