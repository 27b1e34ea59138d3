"""A burst: many files of many tenants at once, where functions are throttled and the database has few connections."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from orchestration.platform.settings import THROTTLE, Settings
from schemas.ids import TenantName
from segmentation.jobs import FINAL
from tests.conftest import stacks
from tests.servers.postgres import database, postgres_server

CALLS: Final = 10
CONNECTIONS: Final = 50
TENANTS: Final = 20
BIG, LONE = "big", "lone"
ROWS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Jobs of all files; seconds from the first upload to the last one, and to the end of each job, in order."""

    jobs: list[Job]
    uploaded_s: float
    ended_s: list[float]

    @property
    def wrong(self) -> list[str]:
        """Each promise that did not hold, as a sentence."""
        found = [
            f"{job.tenant}/{job.audience} ended {job.state}: {job.error}" for job in self.jobs if job.state != "READY"
        ]
        ready = Counter((job.tenant, job.audience) for job in self.jobs if job.state == "READY")
        found += [f"{tenant}/{audience} is READY {n} times" for (tenant, audience), n in ready.items() if n > 1]
        big = sorted(job.finished_at_ms or 0 for job in self.jobs if job.tenant == BIG)
        [lone] = [job.finished_at_ms or 0 for job in self.jobs if job.tenant == LONE]
        if lone >= big[len(big) // 2]:
            found.append("the only file of a tenant waited for half of the files of another")
        return found

    def describe(self) -> str:
        """The burst in a line."""
        total_s, first_s = self.ended_s[-1], self.ended_s[TENANTS - 1]
        return (
            f"{len(self.jobs)} files of {TENANTS} tenants uploaded in {self.uploaded_s:.0f} s, the first {TENANTS} "
            f"ended after {first_s:.0f} s, all after {total_s:.0f} s ({len(self.jobs) / total_s:.1f} a second)"
        )


@contextmanager
def bursting_stack(folder: Path, **changes: Any) -> Iterator[Settings]:
    """A whole stack that throttles, on a PostgreSQL server with few connections."""
    with (
        tempfile.TemporaryDirectory() as data,
        postgres_server(Path(data), f"max_connections={CONNECTIONS}") as server,
        database(server) as url,
        stacks(folder) as start,
    ):
        settings = {"function_calls": CALLS, "engine_overload": THROTTLE, "partitions": 2, "workers": 1}
        yield start(parts=None, catalog_url=url.reveal(), **(settings | changes))


def burst(settings: Settings, files: int, *, limit_s: float, say: Callable[[str], None] = lambda _: None) -> Burst:
    """Upload files, half of them of one tenant and the last one of another, and wait until all jobs have ended."""
    context = Context(settings)
    names = [BIG, *(f"tenant-{n}" for n in range(TENANTS - 2)), LONE]
    for name in names:
        context.audiences.add_tenant(TenantName(name), now_ms=1)
    body = ("user_id\n" + "\n".join(f"user-{n}" for n in range(ROWS)) + "\n").encode()
    others = names[1:-1]
    order = [BIG if n % 2 == 0 else others[n // 2 % len(others)] for n in range(files - 1)] + [LONE]
    began, began_ms = time.monotonic(), time.time() * 1000
    for number, name in enumerate(order):
        context.objects.put(settings.inbox_bucket, f"{name}/audience-{number}/users-{began_ms:.0f}.csv", body)
    uploaded_s = time.monotonic() - began
    say(f"{files} files uploaded in {uploaded_s:.0f} s")
    while True:
        jobs = context.jobs.search(limit=2 * files)
        ended = [job for job in jobs if job.state in FINAL]
        if len(ended) >= files and len(ended) == len(jobs):
            break
        if time.monotonic() - began > limit_s:
            raise TimeoutError(f"after {limit_s:g} s: {Counter(job.state for job in jobs)}, {files} files")
        say(f"{time.monotonic() - began:.0f} s: {dict(Counter(job.state for job in jobs))}")
        time.sleep(1)
    context.close()
    seconds = sorted(((job.finished_at_ms or 0) - began_ms) / 1000 for job in jobs)
    return Burst(jobs=jobs, uploaded_s=uploaded_s, ended_s=seconds)
