"""Every kind of fault, as data: when it begins in the life of an import, and what it harms.

A fault is a generator function of (stack, seed): it does its harm, yields once while the harm lasts, and undoes it. It
yields a function that counts how often it has struck. Faults that kill at a write pick the write by the seed: the next
seed kills at the next write. Faults that begin at a state may block for seconds; the import goes on meanwhile.
"""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import psutil

from schemas.messages import JobState
from tests.faults.proxy import HARMS, Harm, Rule
from tests.faults.stack import FaultedStack
from tests.faults.task import armed
from tests.faults.tracing import Tracer, available, fail_with, hits, kill_at
from tests.faults.waiting import until
from tests.faults.wire import kafka_head
from tests.integration.whole_imports import function_pids

Struck = Callable[[], int]
Fault = Callable[[FaultedStack, int], Iterator[Struck]]
FROZEN_S: Final = 9.0
"""Longer than a worker's session (6 s), so that its partitions are reassigned."""
STALLED_S: Final = 5.0
FENCED_S: Final = 10.0
"""The control plane asks every second or so, its consumers every five."""
FULL_S: Final = 60.0
NO_SPACE: Final = b"No space left on device"
VERSION_COMMIT: Final = rb"(?s)\.metadata\.json.*COMMIT\x00$"
"""Matches the end of a transaction that points a table at a new metadata file."""
WORKING: Final[tuple[JobState, ...]] = ("VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING")
LINKS: Final = ("kafka", "s3", "catalog", "engine")
LATENCY_S: Final = {"kafka": 0.03, "s3": 0.03, "catalog": 0.004, "engine": 0.2}
"""Added to every piece in both directions. The catalog gets about a thousand queries per import."""
EVERY: Final = {"kafka": 2, "s3": 9, "catalog": 9, "engine": 1}
"""Harm hits every request, every second one, ... up to every n-th: a small import makes few requests of some kinds."""
BEGINS: Final[Mapping[str, tuple[JobState | None, ...]]] = {
    **dict.fromkeys(("kafka", "s3", "catalog"), (None, *WORKING)),
    "engine": (None, "VERIFYING", "IMPORTING"),  # receives uploads, and news that a job need not wait any more
}
COMMITS: Final = {
    "kafka": kafka_head(0),  # Produce
    "s3": rb"^(PUT|POST) ",
    "catalog": rb"COMMIT\x00$",
    "engine": rb"(?i)x-amz-target: \S+\.(SendTask|StartExecution)",
}
"""Requests that change something: when the reply is lost, the client cannot know whether the change was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`begins`: states of the job; the seed picks the one at which the fault begins. None: before the upload.

    `rows`: size of the file, if the kind needs a certain one.
    """

    name: str
    fault: Fault
    begins: tuple[JobState | None, ...] = (None,)
    rows: int | None = None
    traces: bool = False
    mounts: bool = False
    needs_postgres: bool = False

    def impossible(self, *, postgres: bool) -> str | None:
        """Why this machine cannot run this kind. None if it can."""
        if self.traces and (why := available()):
            return why
        if self.mounts and os.geteuid() != 0:
            return "only root mounts a small file system"
        if self.needs_postgres and not postgres:
            return "PostgreSQL, a catalog that can die, is not installed (apt-get install postgresql)"
        return None


def _killed_task(task: str, most: int, stack: FaultedStack, seed: int) -> Iterator[Struck]:
    file = armed(stack.settings.home, task)
    file.write_text(kill_at(1 + seed % most), encoding="utf-8")
    before = set(file.parent.glob("*.strace"))
    yield lambda: sum(hits(log) for log in set(file.parent.glob("*.strace")) - before)
    file.unlink(missing_ok=True)


def _traced(inject: str, pids: list[int], stack: FaultedStack) -> Iterator[Struck]:
    log = stack.settings.home / "faults" / f"traced-{time.monotonic_ns()}.strace"
    with Tracer(pids, inject, log) as tracer:
        yield tracer.hits


def _killed_worker(most: int, stack: FaultedStack, seed: int) -> Iterator[Struck]:
    yield from _traced(kill_at(1 + seed % most), [_part(stack, seed, "worker")], stack)


def _killed_functions(most: int, stack: FaultedStack, seed: int) -> Iterator[Struck]:
    yield from _traced(kill_at(1 + seed % most), function_pids(stack.context), stack)


def _failing_disk(error: str, stack: FaultedStack, seed: int) -> Iterator[Struck]:
    dice = random.Random(seed)
    victim = dice.choice(("s3", *(("postgres",) if stack.has_postgres else ())))
    pid = _part(stack, seed, victim)
    pids = (
        [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))] if victim == "postgres" else [pid]
    )
    yield from _traced(fail_with(error, 1, dice.randint(1, 4)), pids, stack)


def _full_work_folder(stack: FaultedStack, seed: int) -> Iterator[Struck]:
    """Mount a one-page file system over the folder where workers write parts, until one of them has found it full."""
    del seed
    logs = {log: log.stat().st_size for log in stack.logs.glob("worker-*.log")}

    def struck() -> int:
        return sum(log.read_bytes()[size:].count(NO_SPACE) for log, size in logs.items())

    folder = stack.settings.home / "worker"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], check=True)
    try:
        with suppress(AssertionError):  # the import was over before: nothing was struck
            until(lambda: struck() > 0, "a worker that finds its disk full", timeout_s=FULL_S)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    yield struck


def _frozen(find: Callable[[FaultedStack, int], list[int]], stack: FaultedStack, seed: int) -> Iterator[Struck]:
    pids = find(stack, seed)
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        time.sleep(FROZEN_S)
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)
    yield lambda: len(pids)


def killed_part(name: str, stack: FaultedStack, seed: int) -> Iterator[Struck]:
    """Kill a part."""
    _signal(_part(stack, seed, name), signal.SIGKILL)
    yield lambda: 1


def _harmed_link(name: str, harm: Harm, stack: FaultedStack, seed: int) -> Iterator[Struck]:
    link, dice = stack.links[name], random.Random(seed)
    matches = COMMITS[name] if harm == "lose" else b""
    every = 1 + seed % (min(2, EVERY[name]) if harm == "lose" else EVERY[name])  # few requests change anything
    link.set(Rule(harm=harm, every=every, times=dice.randint(1, 3), matches=matches, latency_s=LATENCY_S[name]))
    if harm == "stall":
        time.sleep(STALLED_S)
        struck = link.lift()
        yield lambda: struck
        return
    last = 0

    def count() -> int:
        return last

    try:
        yield count
    finally:
        last = link.lift()


def _fenced_kafka(stack: FaultedStack, seed: int) -> Iterator[Struck]:
    """Let the broker name no broker for a while, in all answers or in every second one."""
    link = stack.links["kafka"]
    link.set(Rule(harm="fence", every=1 + seed % 2, times=0, matches=kafka_head(3)))  # Metadata
    time.sleep(FENCED_S)
    struck = link.lift()
    yield lambda: struck


def _lost_publish(stack: FaultedStack, seed: int) -> Iterator[Struck]:
    """Lose the reply to the commit that makes a new version of an audience visible."""
    link = stack.links["catalog"]
    link.set(Rule(harm="lose", times=1 + seed % 3, matches=VERSION_COMMIT))
    yield link.hits
    link.lift()


def _part(stack: FaultedStack, seed: int, name: str) -> int:
    """The process of a part, or of one of the workers. Waits until it is up."""
    wanted = ("worker-1", "worker-2")[seed % 2] if name == "worker" else name
    return until(lambda: stack.pid(wanted), f"the process of {wanted}")


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _one_worker(stack: FaultedStack, seed: int) -> list[int]:
    return [_part(stack, seed, "worker")]


def _all_functions(stack: FaultedStack, seed: int) -> list[int]:
    return function_pids(stack.context)


def _processes() -> Iterator[Kind]:
    yield Kind(name="kill importer", fault=partial(_killed_task, "import", 50), rows=20_000, traces=True)
    yield Kind(name="kill verifier", fault=partial(_killed_task, "verify", 36), rows=20_000, traces=True)
    yield Kind(name="kill worker", fault=partial(_killed_worker, 40), traces=True)
    yield Kind(name="kill publisher", fault=partial(_killed_functions, 50), begins=("AWAITING",), traces=True)
    yield Kind(name="freeze worker", fault=partial(_frozen, _one_worker), begins=("IMPORTING", "AWAITING"))
    yield Kind(name="freeze publisher", fault=partial(_frozen, _all_functions), begins=("PUBLISHING",))
    for part in ("kafka", "s3", "engine", "relay"):
        yield Kind(name=f"kill {part}", fault=partial(killed_part, part), begins=WORKING)
    yield Kind(name="kill catalog", fault=partial(killed_part, "postgres"), begins=WORKING, needs_postgres=True)
    for error, name in (("ENOSPC", "disk full"), ("EIO", "disk error")):
        yield Kind(name=f"{name} server", fault=partial(_failing_disk, error), traces=True)
    yield Kind(name="disk full worker", fault=_full_work_folder, begins=("VERIFYING",), mounts=True)


def _links() -> Iterator[Kind]:
    yield Kind(name="lose publish", fault=_lost_publish, needs_postgres=True)
    for link in LINKS:
        for harm in HARMS:
            yield Kind(
                name=f"{harm} {link}",
                fault=partial(_harmed_link, link, harm),
                begins=BEGINS[link],
                needs_postgres=link == "catalog",
            )
    yield Kind(name="fence kafka", fault=_fenced_kafka, begins=BEGINS["kafka"])


KINDS: Final = {kind.name: kind for kind in (*_processes(), *_links())}


@contextmanager
def fault(kind: Kind, stack: FaultedStack, seed: int) -> Iterator[Struck]:
    """Do the harm, at the latest when entered; undo it on exit. Yields a counter of strikes, also valid afterwards."""
    yield from kind.fault(stack, seed)


def slug(name: str) -> str:
    """The name in a form that fits into the name of an audience."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
