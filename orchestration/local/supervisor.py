"""The supervisor: starts the parts, restarts those that end, and takes all of them down with itself.

1. take the lock of the home (one supervisor per home);
2. end what an earlier supervisor left behind;
3. one thread per part: wait for the parts it needs, start, await readiness, watch, restart after a pause;
4. follow the wanted counts: stop the parts that are not wanted now, and start them when they are again;
5. on SIGTERM stop the parts in reverse order.
Every change of state is written to `stack.json`, which `muster status` and `muster up` read.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from orchestration.local import processes, seaweedfs
from orchestration.local.counts import begin_counts, is_wanted, read_counts
from orchestration.local.home import Home
from orchestration.local.parts import RESTART_BACKOFF_S, Context, Part, all_parts, environment, select
from orchestration.local.ports import Ports, is_free
from orchestration.local.status import ALREADY_RUNNING, PartState, PartStatus, take_lock, write_status
from orchestration.platform.clock import iso, now_ms
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from segmentation.scaling import Scaled

POLL_S: Final = 0.05
COUNTS_S: Final = 0.2
"""Between two looks at the wanted counts."""
CHECK_EVERY_S: Final = 1.0
"""Between two checks whether a running part is ill."""
STEADY_S: Final = 60.0
"""A part that was ready this long starts over with the shortest pause."""
LEFTOVER_TIMEOUT_S: Final = 5.0

log = logging.getLogger("muster.supervisor")


class StateTable:
    """State of all parts, shared by their threads, mirrored to the state file at each change."""

    def __init__(self, context: Context, parts: Sequence[Part]) -> None:
        self._home = context.home
        self._lock = threading.Lock()
        self._parts = {
            p.name: PartStatus(
                name=p.name,
                state=PartState.WAITING,
                pid=None,
                ports=p.ports(context.ports),
                restarts=0,
                since=_now(),
                log=str(context.home.log_file(p.name)),
            )
            for p in parts
        }
        write_status(self._home, tuple(self._parts.values()))

    def set(self, name: str, state: PartState, *, pid: int | None = None, error: MusterError | None = None) -> None:
        """Record a change."""
        self._change(name, state=state, pid=pid, error=error.as_record() if error else None, since=_now())
        log.log(logging.ERROR if error else logging.INFO, "%s: %s%s", name, state, f" ({error})" if error else "")

    def off(self, name: str) -> None:
        """Record that a part that does not run is not wanted."""
        if self._parts[name].state is not PartState.OFF:
            self.set(name, PartState.OFF)

    def count_restart(self, name: str) -> None:
        """Record a restart of a part."""
        self._change(name, restarts=self._parts[name].restarts + 1)

    def _change(self, name: str, **changes: Any) -> None:
        with self._lock:
            self._parts[name] = replace(self._parts[name], **changes)
            try:
                write_status(self._home, tuple(self._parts.values()))
            except OSError as exc:  # a full disk: the parts keep running; a later change is written
                log.error("%s was not written: %s", self._home.state_file, exc)


class PartRunner(threading.Thread):
    """Life of one part. The thread starts the process itself, so the process dies with it (see `tether`)."""

    def __init__(self, part: Part, context: Context, table: StateTable) -> None:
        super().__init__(name=part.name, daemon=True)
        self.part = part
        self.ready = threading.Event()
        self.needs: tuple[PartRunner, ...] = ()
        self._context = context
        self._table = table
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._leaving = False
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self, *, leaving: bool = False) -> None:
        """Ask the thread to stop its process and end; `join` waits for that. `leaving`: the part is off afterwards."""
        self._leaving = leaving
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """The loop of step 3."""
        failures = 0
        while not self._stopping.is_set() and not all(need.ready.wait(POLL_S) for need in self.needs):
            pass
        while not self._stopping.is_set():
            ready_at: float | None = None
            try:
                check = None if self.part.health_check is None else self.part.health_check(self._context)
                self._start()
                ready_at = time.monotonic()
                self._watch(check)
            except MusterError as exc:
                self._failed(exc)
            except Exception as exc:
                log.exception("%s", self.part.name)
                self._failed(FatalError("PART_FAILED", f"{type(exc).__name__}: {exc}", part=self.part.name))
            if self._stopping.is_set():
                break
            failures = 0 if ready_at and time.monotonic() - ready_at > STEADY_S else failures + 1
            self._stopping.wait(RESTART_BACKOFF_S[min(failures, len(RESTART_BACKOFF_S)) - 1] if failures else 0)
            if not self._stopping.is_set():
                self._table.count_restart(self.part.name)
        self.ready.clear()
        if self._process is not None:
            self._table.set(self.part.name, PartState.STOPPING, pid=self._process.pid)
            processes.stop(self._process, timeout_s=self.part.stop_timeout_s)
        self._table.set(self.part.name, PartState.OFF if self._leaving else PartState.STOPPED)

    def _start(self) -> None:
        part, context = self.part, self._context
        self._table.set(part.name, PartState.STARTING)
        self._check_ports()  # also before `prepare`, which may listen there for a moment
        part.prepare(context)
        pid = None
        if part.command is not None:
            argv = part.command(context)
            self._process = processes.spawn(
                argv,
                env=environment(context, part),
                output=context.home.log_file(part.name),
                cwd=part.directory(context),
                death_signal=part.death_signal,
            )
            pid = self._process.pid
            threading.Thread(target=self._await_end, args=(self._process,), daemon=True).start()
            self._table.set(part.name, PartState.STARTING, pid=pid)
        self._await_answer()
        if self._stopping.is_set():
            return
        part.set_up(context)
        self.ready.set()
        self._table.set(part.name, PartState.READY, pid=pid)

    def _await_answer(self) -> None:
        began = time.monotonic()
        while not self._stopping.is_set():
            uptime_s = time.monotonic() - began
            self._raise_if_ended()
            if uptime_s >= self.part.min_uptime_s and self.part.answers(self._context):
                return
            if uptime_s > self.part.ready_timeout_s:
                raise RetriableError(
                    "PART_NOT_READY",
                    f"{self.part.name} did not become ready within {self.part.ready_timeout_s:.0f} s",
                    part=self.part.name,
                )
            self._stopping.wait(self.part.poll_every_s)

    def _watch(self, check: Callable[[], str | None] | None) -> None:
        while not self._stopping.is_set():
            self._raise_if_ended()
            if check is not None and (why := check()):
                raise RetriableError("PART_ILL", f"{self.part.name}: {why}", part=self.part.name)
            self._wake.wait(None if check is None else CHECK_EVERY_S)
            self._wake.clear()

    def _await_end(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._wake.set()

    def _raise_if_ended(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            ending = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise RetriableError("PART_ENDED", f"{self.part.name} {ending}", part=self.part.name, exit_code=code)

    def _check_ports(self) -> None:
        for port in self.part.ports(self._context.ports):
            if not is_free(port):
                raise UserError(
                    "PORT_TAKEN",
                    f"port {port}, which {self.part.name} needs, is taken by "
                    f"{processes.listener_name(port) or 'another program'}; stop that, or let `muster up --free-ports` "
                    "choose other ports",
                    part=self.part.name,
                    port=port,
                )

    def _failed(self, error: MusterError) -> None:
        self.ready.clear()
        if self._process is not None:
            processes.stop(self._process, timeout_s=self.part.stop_timeout_s)
            self._process = None
        self._table.set(self.part.name, PartState.FAILED, error=error)


class Roster:
    """The runners of all parts. A part that is not wanted has none, or one that is ending."""

    def __init__(self, parts: Sequence[Part], context: Context, table: StateTable) -> None:
        self._parts = parts
        self._context = context
        self._table = table
        self._runners: dict[str, PartRunner] = {}

    def follow(self, counts: Mapping[Scaled, int]) -> None:
        """Start what is wanted and does not run, and stop what is not wanted. Does not wait for either.

        A part that is wanted again while it ends starts at a later call.
        """
        for part in self._parts:
            runner = self._runners.get(part.name)
            if not is_wanted(part.name, counts):
                if runner is None:
                    self._table.off(part.name)
                elif runner.is_alive():
                    runner.stop(leaving=True)
            elif runner is None or not runner.is_alive():
                self._start(part)

    def all(self) -> list[PartRunner]:
        """Every runner, in the order of starting."""
        return [self._runners[part.name] for part in self._parts if part.name in self._runners]

    def _start(self, part: Part) -> None:
        runner = self._runners[part.name] = PartRunner(part, self._context, self._table)
        runner.needs = tuple(self._runners[need] for need in part.needs if need in self._runners)
        runner.start()


def supervise(home: Home, settings: Settings, parts: Sequence[Part], ports: Ports) -> int:
    """Run the parts until SIGTERM or SIGINT. Returns the exit code."""
    lock = take_lock(home.lock_file)
    if lock is None:
        return ALREADY_RUNNING
    home.state_file.unlink(missing_ok=True)
    begin_counts(home, settings)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    context = Context(home=home, settings=settings, ports=ports)
    if left := processes.end_all(processes.marked(home.path), timeout_s=LEFTOVER_TIMEOUT_S):
        log.warning("stopped %d process(es) that an earlier supervisor left behind", left)
    table = StateTable(context, parts)
    roster = Roster(parts, context, table)
    roster.follow(read_counts(home))
    while not stopping.wait(COUNTS_S):
        roster.follow(read_counts(home))
    log.info("stopping")
    _stop_in_order(roster.all())
    seaweedfs.remove_sockets(context.ports)
    processes.end_all(processes.marked(home.path), timeout_s=LEFTOVER_TIMEOUT_S)
    os.close(lock)
    return 0


def _stop_in_order(runners: list[PartRunner]) -> None:
    """Last started, first stopped; workers all at once, since each may finish its work in progress."""
    while runners:
        last = runners[-1].part.name.split("-", maxsplit=1)[0]
        group = [r for r in runners if r.part.name.split("-", maxsplit=1)[0] == last]
        for runner in group:
            runner.stop()
        for runner in group:
            runner.join()
            runners.remove(runner)


def _now() -> str:
    return iso(now_ms())


def main() -> None:
    """Entry point of the daemon; `MUSTER_HOME` names the home."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.local.supervisor")
    parser.add_argument("--parts", help="comma-separated names; all by default")
    names = parser.parse_args().parts
    settings = Settings.load()
    configure(replace(settings, part="supervisor"))
    home = Home(path=settings.home)
    ports = Ports.load(home.ports_file, settings)
    parts = select(all_parts(settings), names.split(",") if names else None)
    sys.exit(supervise(home, settings, parts, ports))


if __name__ == "__main__":
    main()
