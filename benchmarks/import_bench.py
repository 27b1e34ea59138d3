"""The whole import, from file in S3 to readable version, compared with plain DuckDB doing the same without Kafka."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import psutil

from benchmarks.measure import Measured, Result, best_of
from benchmarks.setting import SPEC, Setting
from orchestration.composition.context import Context
from orchestration.kinds.events import ImportRequest
from orchestration.local import processes
from orchestration.platform.clock import fresh_id
from orchestration.platform.settings import Settings
from orchestration.workflow.engine import IMPORT_MACHINE
from schemas.file_lists import SourceForm
from schemas.ids import TenantName
from segmentation.jobs import FINAL

PARTS = 8
POLL_S = 0.05
TIMEOUT_S = 3600
SAMPLE_S = 0.25
TENANT = TenantName("bench")
SOURCE_BUCKET = "bench-source"
ROLES = {
    # Functions verify, send and publish files up to `lambda_file_bytes`; a task sends larger ones.
    "importer": ("orchestration.entrypoints.container task import", "lambda_fork_server"),
    "worker": ("orchestration.entrypoints.worker",),
}
PROCESSES = {
    "worker": "orchestration.entrypoints.worker",
    "functions and parsers": "fork_server",
    "S3 server": "-s3.config=",
    "broker": "kafka.Kafka",
}
"""What the command line of a process has, for the processor time of each. Others run the workflow."""
GOAL_RATE = 0.25  # within 4x of the baseline's time


def run(setting: Setting) -> list[Result]:
    """Import the same file both ways."""
    plain = best_of(setting.repeat, plain_duckdb, setting.csv, setting.rows, setting.scratch / "plain")
    context = Context(setting.settings)
    context.audiences.add_tenant(TENANT, 1)
    key = put_source(context, setting.csv)
    # Each creates an audience: the baseline does not count who has joined and left since a version before either.
    runs = [whole_import(context, key, setting.rows, f"users_{number}") for number in range(setting.repeat)]
    best, _, used = min(runs, key=lambda r: r[0].wall_s)
    return [
        Result(benchmark="import", label="plain DuckDB, no Kafka", best=plain),
        Result(
            benchmark="import",
            label="whole import",
            best=best,
            baseline="plain DuckDB, no Kafka",
            goal=GOAL_RATE,
            note="CPU s: " + ", ".join(f"{role} {cpu_s:.1f}" for role, cpu_s in used.items()),
        ),
    ]


def put_source(context: Context, file: Path, folder: str = "") -> str:
    """Put a file where `whole_import` reads it: in a bucket that is not one of Muster's. Returns the key."""
    client = context.s3.client()
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=SOURCE_BUCKET)
    key = folder + file.name
    context.objects.put_file(file, SOURCE_BUCKET, key)
    return key


def plain_duckdb(csv: Path, rows: int, out: Path) -> int:
    """Read the CSV, keep one row per user, write sorted zstd Parquet in 8 parts, as a script would."""
    out.mkdir(exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute("SET enable_progress_bar = false")  # it would show up between the lines of the table
        connection.execute(
            "CREATE TABLE users AS SELECT user_id, max(age) AS age, max(country) AS country, "
            f"hash(user_id) % {PARTS} AS part FROM read_csv($file, header = true, auto_detect = false, delim = ',', "
            "quote = '\"', columns = {'user_id': 'VARCHAR', 'age': 'BIGINT', 'country': 'VARCHAR'}) GROUP BY user_id",
            {"file": str(csv)},
        )
        for part in range(PARTS):
            connection.execute(
                f"COPY (SELECT user_id, age, country FROM users WHERE part = {part} ORDER BY user_id) "
                f"TO '{out}/part-{part}.parquet' (FORMAT parquet, COMPRESSION zstd)"
            )
        [(kept,)] = connection.execute("SELECT count(*) FROM users").fetchall()
    if not 0 < kept <= rows:
        raise RuntimeError(f"{kept} users of {rows} rows")
    return rows


def whole_import(
    context: Context, key: str, rows: int, audience: str = "users", *, form: SourceForm = "object"
) -> tuple[Measured, dict[str, int], dict[str, float]]:
    """One import through the workflow, from StartExecution to READY.

    Also returns the peak resident bytes of each role, and processor seconds by `PROCESSES`.
    """
    job_id = fresh_id()
    request = ImportRequest(
        job_id=job_id,
        tenant=TENANT,
        audience=audience,
        bucket=SOURCE_BUCKET,
        key=key,
        form=form,
        overrides={"columns": SPEC.as_record()["columns"], "max_shrink_percent": None},
        again=True,
    )
    watch = MemoryWatch(context.settings)
    began = time.perf_counter()
    context.engine.start(IMPORT_MACHINE, job_id, {"import": request.as_record()})
    while (job := context.jobs.find(job_id)) is None or job.state not in FINAL:
        if time.perf_counter() - began > TIMEOUT_S:
            raise RuntimeError(f"the import has not ended after {TIMEOUT_S} s: {job}")
        time.sleep(POLL_S)
    wall_s = time.perf_counter() - began
    peaks = watch.stop()
    if job.state != "READY":
        raise RuntimeError(f"the import ended {job.state}: {job.error}")
    if missing := [role for role, peak in peaks.items() if not peak]:
        raise RuntimeError(f"no process of the {', '.join(missing)} was seen")
    measured = Measured(rows=rows, wall_s=wall_s, cpu_s=sum(watch.cpu_s.values()), peak_bytes=max(peaks.values()))
    return measured, peaks, watch.cpu_s


class MemoryWatch:
    """Samples a stack's processes in a thread: resident bytes by role, and processor seconds of all of them."""

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home
        self._peaks = dict.fromkeys(ROLES, 0)
        self._cpu: dict[int, tuple[str, float, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    @property
    def cpu_s(self) -> dict[str, float]:
        """Processor seconds of the stack while watched, as far as the samples cover, by `PROCESSES`."""
        found = dict.fromkeys((*PROCESSES, "others"), 0.0)
        for role, first, last in self._cpu.values():
            found[role] += last - first
        return found

    def stop(self) -> dict[str, int]:
        """Stop watching and return the peaks."""
        self._stop.set()
        self._thread.join()
        return self._peaks

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            for process in processes.marked(self._home):
                try:
                    command = " ".join(process.cmdline())
                    used = sum(process.cpu_times()[:2])
                    role = next((role for role, pattern in PROCESSES.items() if pattern in command), "others")
                    _, first, _ = self._cpu.get(process.pid, (role, used, used))
                    self._cpu[process.pid] = (role, first, used)
                    for name, patterns in ROLES.items():
                        if any(pattern in command for pattern in patterns):
                            self._peaks[name] = max(self._peaks[name], process.memory_info().rss)
                except psutil.Error:
                    continue
