"""`muster up`, `down` and `status` as functions: start the supervisor, query it, end it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from orchestration.access.console_host import forget_console_host
from orchestration.local import processes
from orchestration.local.engine.task_containers import remove_containers
from orchestration.local.home import Home, initialise
from orchestration.local.kafka import users
from orchestration.local.parts import KAFKA, all_parts, select
from orchestration.local.ports import Ports, kafka_address
from orchestration.local.status import ALREADY_RUNNING, PartState, PartStatus, StackStatus, read_status
from orchestration.operations.scaling import limits_of
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.kafka_address import KafkaAddress

START_TIMEOUT_S: Final = 180.0
STOP_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.05
LOG_LINES: Final = 15
PORTS_VARIABLE: Final = "MUSTER_PORTS"
"""`MUSTER_PORTS=free` chooses free ports if none are chosen yet or one is taken, for tests and second stacks."""

_supervisors: Final[dict[Path, subprocess.Popen[bytes]]] = {}
"""Supervisors that this process started; as their parent it has to wait for them when they end."""

Report = Callable[[PartStatus], None]


def up(
    target: Settings | Path,
    *,
    parts: Sequence[str] | None = None,
    free_ports: bool = False,
    on_demand: bool | None = None,
    report: Report | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Settings:
    """Start the stack of a home and wait until every part is ready; on a running stack only wait and report.

    `parts` names the parts to start (`parts.all_parts`; `worker` is all workers), all by default; `report` gets each
    change of state or error; `env` replaces the environment of this process.
    `on_demand`: whether workers and control plane leave when there is no work; None: as at the last start of this home.
    Returns the settings that clients of the stack need.

    Raises `UserError` (PORT_TAKEN, UNKNOWN_PART, HOME_NOT_WRITABLE, STACK_HAS_OTHER_PARTS), `RetriableError` or
    `FatalError` of the part that failed, with the last lines of its log in the message and in `detail["log"]`.
    A stack that fails to start is taken down again.
    """
    env = dict(os.environ if env is None else env)
    home = home_of(target)
    before = read_status(home)
    wants_free = free_ports or env.get(PORTS_VARIABLE) == "free"
    broker = not before.running and (parts is None or KAFKA.name in parts)
    if broker:
        home.make()
        users.ensure_passwords(home.kafka)  # the settings refer to them
    settings = initialise(
        home,
        env,
        free_ports=wants_free and not before.running,
        broker=broker,
        on_demand=None if before.running else on_demand,
    )
    Ports.load(home.ports_file, settings)
    chosen = select(all_parts(settings), parts)
    if broker:
        _require_logon(settings)
    if before.running:
        missing = [p.name for p in chosen if before.part(p.name) is None]
        if parts is not None and missing:
            raise UserError(
                "STACK_HAS_OTHER_PARTS",
                f"the stack in {home.path} is running without {', '.join(missing)}; run `muster down`, then start "
                "it again",
                missing=missing,
            )
        if on_demand is not None and on_demand is limits_of(settings).fixed:
            raise UserError(
                "STACK_HAS_OTHER_PARTS",
                f"the stack in {home.path} is running {'without' if on_demand else 'with'} workers on demand; run "
                "`muster down`, then start it again",
            )
        _await_ready(home, None, report, timeout_s)
        return settings
    forget_console_host(home.path)
    argv = [sys.executable, "-m", "orchestration.local.supervisor"]
    if parts is not None:
        argv += ["--parts", ",".join(p.name for p in chosen)]
    log = home.log_file("supervisor")
    processes.rotate(log)
    with log.open("ab") as output:
        supervisor = subprocess.Popen(
            argv,
            env={**env, **settings.environment()},
            cwd=home.path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    earlier = _supervisors.get(home.path)
    if earlier is None or earlier.poll() is not None:
        _supervisors[home.path] = supervisor
    try:
        _await_ready(home, supervisor, report, timeout_s)
    except BaseException:
        down(home.path)
        raise
    return settings


def _require_logon(settings: Settings) -> None:
    address = KafkaAddress.parse(settings.kafka_bootstrap)
    if not address.with_logon:
        raise UserError(
            "BAD_SETTINGS",
            f"setting kafka_bootstrap: the embedded broker requires a logon; use {kafka_address(address.servers)}, or "
            "unset MUSTER_KAFKA_BOOTSTRAP",
            name="kafka_bootstrap",
        )


def down(target: Settings | Path, *, report: Report | None = None) -> bool:
    """Stop the stack of a home and everything left from an earlier one. Data stays. False if nothing ran."""
    home = home_of(target)
    now = read_status(home)
    stopped = now.running
    if now.running:
        _end_supervisor(home, now.supervisor_pid, report)
    if (supervisor := _supervisors.pop(home.path, None)) is not None:
        supervisor.wait(STOP_TIMEOUT_S)
    left = processes.end_all(processes.marked(home.path), timeout_s=5.0)
    remove_containers(home)  # the engine ends its own, unless it was killed
    return bool(left) or stopped


def status(target: Settings | Path) -> StackStatus:
    """The stack of a home, as its supervisor last described it."""
    return read_status(home_of(target))


def home_of(target: Settings | Path) -> Home:
    """The home of a target, absolute."""
    return Home(path=(target.home if isinstance(target, Settings) else target).absolute())


def _await_ready(
    home: Home, supervisor: subprocess.Popen[bytes] | None, report: Report | None, timeout_s: float
) -> None:
    """Follow the state file. A part that fails before it was ever ready fails the start."""
    deadline = time.monotonic() + timeout_s
    seen: dict[str, PartStatus] = {}
    while True:
        if supervisor is not None and supervisor.poll() == ALREADY_RUNNING:
            supervisor = None  # another `up` was faster: wait for that stack
        ended = supervisor is not None and supervisor.poll() is not None
        now = read_status(home)
        # Until our supervisor has written its first state, the file is from an earlier one.
        current = now.running and (supervisor is None or now.supervisor_pid == supervisor.pid)
        for part in now.parts if current else ():
            report_change(part, seen, report)
            if part.state is PartState.FAILED and supervisor is not None:
                raise _error_with_log(home, part)
        if current and now.ready:
            return
        if ended or (supervisor is None and not now.running):
            lines = processes.tail(home.log_file("supervisor"), LOG_LINES)
            raise FatalError(
                "SUPERVISOR_ENDED",
                "the supervisor ended before the stack was ready:\n" + "\n".join(lines),
                part="supervisor",
                log=list(lines),
            )
        if time.monotonic() > deadline:
            slow = [p for p in now.parts if p.state not in {PartState.READY, PartState.OFF}]
            raise RetriableError(
                "STACK_NOT_READY",
                f"not ready after {timeout_s:.0f} s: " + ", ".join(f"{p.name} is {p.state}" for p in slow),
                parts=[p.name for p in slow],
            )
        time.sleep(POLL_S)


def _error_with_log(home: Home, part: PartStatus) -> MusterError:
    """The error of a failed part, with the end of its log if the part itself wrote one."""
    error = MusterError.from_record(part.error or {"message": f"{part.name} failed"})
    lines = () if error.code == "PORT_TAKEN" else processes.tail(home.log_file(part.name), LOG_LINES)
    message = "\n".join([f"{part.name} did not start: {error.message}", *lines])
    return type(error)(error.code, message, **{**error.detail, "part": part.name, "log": list(lines)})


def report_change(part: PartStatus, seen: dict[str, PartStatus], report: Report | None) -> None:
    """Report a part unless only its process id or ports have changed since it was `seen`."""
    before = seen.get(part.name)
    seen[part.name] = part
    if report is not None and (before is None or (before.state, before.error) != (part.state, part.error)):
        report(part)


def _end_supervisor(home: Home, pid: int | None, report: Report | None) -> None:
    """SIGTERM, wait for the ordered stop, and finally SIGKILL."""
    if pid is None:  # it has the lock but has not written its state yet
        pid = _await_pid(home)
    try:
        supervisor = psutil.Process(pid)
        supervisor.terminate()
    except psutil.NoSuchProcess:
        return
    deadline = time.monotonic() + STOP_TIMEOUT_S
    seen: dict[str, PartStatus] = {}
    while (now := read_status(home)).running and time.monotonic() < deadline:
        for part in now.parts:
            report_change(part, seen, report)
        time.sleep(POLL_S)
    if now.running:
        supervisor.kill()
        supervisor.wait(5)


def _await_pid(home: Home) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (pid := read_status(home).supervisor_pid) is not None:
            return pid
        time.sleep(POLL_S)
    raise RetriableError(
        "SUPERVISOR_SILENT", f"the supervisor of {home.path} does not report its process id; try again"
    )
