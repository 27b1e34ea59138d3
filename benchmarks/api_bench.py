"""The service: live counts of rules, a newer edit, and other requests meanwhile, over the archive of `preview`."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import psutil

from benchmarks.measure import Measured, Result
from benchmarks.segments import preview
from benchmarks.segments.events import TENANT
from benchmarks.setting import Setting
from muster import ApiError, Client
from muster.access import owner_access
from orchestration.answers import counts
from orchestration.local.home import Home
from orchestration.local.status import read_status
from orchestration.platform.settings import Settings

ESTIMATE_S: Final = 1.0
EXACT_S: Final = 3.0
FREE_S: Final = 0.3
IDLE_P95_S: Final = 0.05
BUSY_P99_S: Final = 0.1
SERVICE_MIB: Final = 120
READER_MIB: Final = 250
REQUESTS: Final = 150
PAUSE_S: Final = 1 / 15  # a principal may send 20 requests a second
EDITS: Final = 10
BEFORE_EDIT_S: Final = 0.1
MIB: Final = 1024 * 1024


def run(setting: Setting) -> list[Result]:
    """Run everything against the service of the stack."""
    preview.archive(setting)
    bench = Bench(setting.settings, setting.events + setting.users)
    with bench.client() as client:
        client.names(TENANT)  # the readers have loaded
        memory = bench.memory()
        return [
            bench.slowest(client, "estimate", ESTIMATE_S, exact=False),
            bench.slowest(client, "exact", EXACT_S, exact=True),
            bench.edits(),
            bench.requests(client, "requests at rest, p95", 0.95, IDLE_P95_S),
            *bench.requests_during_counts(client),
            *memory,
        ]


class Bench:
    """`rows`: in the archive."""

    def __init__(self, settings: Settings, rows: int) -> None:
        self._settings = settings
        self._rows = rows

    def client(self) -> Client:
        return Client(owner_access(self._settings.home, self._settings.api_url))

    def slowest(self, client: Client, name: str, goal_s: float, *, exact: bool) -> Result:
        """The slowest of all rules, each asked once, so that its files may be read for the first time."""
        slowest, note, precisions, cpu_s = 0.0, "", set[str](), 0.0
        for label, rule in preview.RULES.items():
            before = self._cpu_s()
            seconds, found = timed(lambda rule=rule: client.count(TENANT, rule, exact=exact))  # type: ignore[misc]
            precisions.add(found["precision"])
            if seconds > slowest:
                slowest, note, cpu_s = seconds, f"{label}: {rule}", self._cpu_s() - before
        if precisions != {"exact" if exact else "estimate"}:
            note += f"; counted exactly: fewer than {counts.SMALL_ROWS:,} rows"
        return self._result(f"live count, {name}, slowest of {len(preview.RULES)}", slowest, goal_s, note, cpu_s)

    def edits(self) -> Result:
        """How soon an exact count ends after a newer edit of the same editor, and its reader is free: the longest."""
        rule, longest = preview.RULES["a count, an attribute"], 0.0
        with ThreadPoolExecutor(1) as pool, self.client() as first, self.client() as second:
            for revision in range(0, 2 * EDITS, 2):
                asked = pool.submit(_superseded_at, first, rule, revision)
                time.sleep(BEFORE_EDIT_S)
                newer = time.monotonic()
                second.count(TENANT, "ever(login)", editor="bench", revision=revision + 1)
                if (ended := asked.result()) is not None:
                    longest = max(longest, ended - newer)
        return self._result("a newer edit frees the reader", longest, FREE_S, f"longest of {EDITS}")

    def requests(self, client: Client, label: str, share: float, goal_s: float) -> Result:
        """A quantile of reads of the catalog."""
        times = []
        for _ in range(REQUESTS):
            seconds, _ = timed(lambda: list(client.segments(TENANT)))
            times.append(seconds)
            time.sleep(max(0.0, PAUSE_S - seconds))
        return self._result(label, sorted(times)[int(share * (REQUESTS - 1))], goal_s, f"{REQUESTS} at 15/s")

    def requests_during_counts(self, client: Client) -> Iterator[Result]:
        with self._counting():
            yield self.requests(client, "requests during counts, p99", 0.99, BUSY_P99_S)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Both readers count all the time."""
        done = threading.Event()

        def go() -> None:
            with self.client() as own:
                while not done.is_set():
                    own.count(TENANT, preview.RULES["a count, an attribute"], exact=True)

        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(go) for _ in range(2)]
            try:
                yield
            finally:
                done.set()
        for one in running:
            one.result()

    def memory(self) -> list[Result]:
        """Resident memory of the service and of its largest reader at rest."""
        service, *children = self._processes()
        servers = [one.pid for one in children if "orchestration.answers.server" in one.cmdline()]
        readers = [one for one in children if one.ppid() in servers]
        found = (
            ("memory of the service", service.memory_info().rss, SERVICE_MIB, service.memory_full_info().pss),
            (
                "memory of a reader at rest",
                max(one.memory_info().rss for one in readers),
                READER_MIB,
                max(one.memory_full_info().pss for one in readers),
            ),
        )
        return [
            Result(
                benchmark="api",
                label=label,
                best=Measured(rows=self._rows, wall_s=1.0, cpu_s=0.0, peak_bytes=size),
                target=f"< {goal} MiB",
                met=size < goal * MIB,
                note=f"{size / MIB:.0f} MiB, of which {pss / MIB:.0f} MiB its share",
            )
            for label, size, goal, pss in found
        ]

    def _processes(self) -> list[psutil.Process]:
        (api,) = [part for part in read_status(Home(path=self._settings.home)).parts if part.name == "api"]
        assert api.pid is not None
        service = psutil.Process(api.pid)
        return [service, *service.children(recursive=True)]

    def _cpu_s(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self._processes())

    def _result(self, label: str, wall_s: float, goal_s: float, note: str, cpu_s: float = 0.0) -> Result:
        return Result(
            benchmark="api",
            label=label,
            best=Measured(
                rows=self._rows,
                wall_s=wall_s,
                cpu_s=cpu_s,
                peak_bytes=max(one.memory_info().rss for one in self._processes()),
            ),
            target=f"< {goal_s:g} s",
            met=wall_s < goal_s,
            note=note,
        )


def _superseded_at(client: Client, rule: str, revision: int) -> float | None:
    """When a count was given up for a newer one. None if it ended before."""
    try:
        client.count(TENANT, rule, exact=True, editor="bench", revision=revision)
    except ApiError as exc:
        if exc.code != "SUPERSEDED":
            raise
        return time.monotonic()
    return None


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and the result."""
    began = time.monotonic()
    found = call()
    return time.monotonic() - began, found
