"""Building and publishing a large append on one and on two hosts of tasks, each held to half a core.

A host is a control group of Linux, so it takes root: functions and tasks of the stack are put into the groups in turn
as they start. The broker, the S3 server and the engine stay outside, as services of others do, and so do workers. The
base is imported before, without limits.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil

from benchmarks.generate import generate_csv
from benchmarks.import_bench import ROLES, SOURCE_BUCKET, TENANT, put_source
from benchmarks.measure import Measured, Result
from benchmarks.scaling_bench import await_members
from benchmarks.setting import SPEC, Setting
from orchestration.composition.context import Context
from orchestration.kinds.events import ImportRequest
from orchestration.local import stack
from orchestration.platform.clock import fresh_id
from orchestration.workflow.engine import IMPORT_MACHINE
from segmentation.jobs import FINAL

HOSTS: Final = 2
PERIOD_US: Final = 100_000
QUOTA_US: Final = PERIOD_US // 2
SHARE: Final = 50
"""The append has one row for as many of the base."""
GOAL_HOSTS: Final = 1.7
ALONE: Final = "one host of half a core"
POLL_S: Final = 0.05
GROUPS: Final = Path("/sys/fs/cgroup")


def run(setting: Setting) -> list[Result]:
    """Append to the same base in both ways, best of all runs."""
    folder = setting.scratch / "hosts"
    folder.mkdir()
    home, base, more = folder / "home", folder / "base.csv", folder / "more.csv"
    generate_csv(base, setting.rows)
    generate_csv(more, setting.rows // SHARE, seed=1)
    settings = stack.up(home, free_ports=True)
    try:
        await_members(settings)
        context = Context(settings)
        context.audiences.add_tenant(TENANT, 1)
        base_key, key = (put_source(context, file) for file in (base, more))
        _import(context, base_key, "replace", ())
        best: dict[int, Measured] = {}
        with _groups(HOSTS) as groups:
            for number in (n for _ in range(setting.repeat) for n in range(1, HOSTS + 1)):
                seconds = _import(context, key, "append", groups[:number])
                measured = Measured(rows=setting.rows, wall_s=seconds, cpu_s=0.0, peak_bytes=0)
                best[number] = min(best.get(number, measured), measured, key=lambda one: one.wall_s)
    finally:
        stack.down(home)
    return [
        Result(benchmark="hosts", label=ALONE, best=best[1]),
        Result(benchmark="hosts", label="two hosts", best=replace(best[2]), baseline=ALONE, goal=GOAL_HOSTS),
    ]


def _import(context: Context, key: str, mode: str, hosts: Sequence[Path]) -> float:
    """Import a file; returns the seconds from the first moment after all rows were materialised until it is READY."""
    job_id, began = fresh_id(), time.perf_counter()
    overrides = {"columns": SPEC.as_record()["columns"], "max_shrink_percent": None, "mode": mode}
    request = ImportRequest(
        job_id=job_id,
        tenant=TENANT,
        audience="users",
        bucket=SOURCE_BUCKET,
        key=key,
        overrides=overrides,
        again=True,
    )
    with _placed(context.settings.home, hosts):
        context.engine.start(IMPORT_MACHINE, job_id, {"import": request.as_record()})
        while (job := context.jobs.find(job_id)) is None or job.state not in FINAL:
            if job is None or job.state in {"REGISTERED", "VERIFYING", "IMPORTING", "AWAITING"}:
                began = time.perf_counter()
            time.sleep(POLL_S)
    if job.state != "READY":
        raise RuntimeError(f"the {mode} ended {job.state}: {job.error}")
    return time.perf_counter() - began


@contextmanager
def _groups(number: int) -> Iterator[list[Path]]:
    """Control groups with half a core each, of either version of cgroups. Raises `OSError` without the right to."""
    first = GROUPS / "cpu" if (GROUPS / "cpu").is_dir() else GROUPS
    made = [first / f"muster-bench-{n}" for n in range(number)]
    try:
        for group in made:
            group.mkdir(exist_ok=True)
            if (group / "cpu.max").exists():
                (group / "cpu.max").write_text(f"{QUOTA_US} {PERIOD_US}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
        yield made
    finally:
        for group in made:
            with suppress(OSError):  # processes that the stack has not ended yet keep it
                _empty(group)
                group.rmdir()


@contextmanager
def _placed(home: Path, hosts: Sequence[Path]) -> Iterator[None]:
    """Put the stack's functions and tasks into the hosts in turn, those that run and those that start."""
    ended = threading.Event()

    def place() -> None:
        seen: set[int] = set()
        while not ended.wait(POLL_S):
            for process in psutil.process_iter(["cmdline"]):
                line = " ".join(process.info["cmdline"] or ())
                if process.pid in seen or not any(word in line for word in ROLES["importer"]):
                    continue
                with suppress(psutil.Error, OSError):  # it has just ended
                    if str(home) in " ".join(process.environ().values()):
                        (hosts[len(seen) % len(hosts)] / "cgroup.procs").write_text(str(process.pid))
                        seen.add(process.pid)

    placing = threading.Thread(target=place, name="place processes", daemon=True)
    if hosts:
        placing.start()
    try:
        yield
    finally:
        ended.set()
        if hosts:
            placing.join()
        for group in hosts:
            _empty(group)


def _empty(group: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(OSError):
            (group.parent / "cgroup.procs").write_text(pid)
