"""Admission: which waiting jobs may start, fairly between tenants, with a separate lane for small files.

Within a lane the tenant with the fewest running jobs comes first; within a tenant, the oldest job. So a tenant with
twenty uploaded files delays another one by at most one job, and a small file waits for small files only.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from schemas.ids import JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimit:
    """Maximum number of running jobs in a lane: in total, and per tenant."""

    jobs: int
    per_tenant: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A live job as admission sees it. Job ids sort by creation time."""

    job_id: JobId
    tenant: str
    small: bool


Lanes = Mapping[bool, LaneLimit]
"""Limits by `Ticket.small`."""
OF_A_CALL: Final = 2
"""Small jobs for each concurrent call: half of its time, a job waits for workers and uses no function."""
OF_A_WORKER: Final = 16
"""Small jobs that a worker holds at once, in its buffer of 40 MiB. A large job counts as four."""


class LimitsOfJobs(Protocol):
    """Limits as they are set; 0 for one that follows from the capacity."""

    @property
    def max_jobs(self) -> int:
        """Large jobs at once."""

    @property
    def max_jobs_per_tenant(self) -> int:
        """Those of a tenant."""

    @property
    def max_small_jobs(self) -> int:
        """Small jobs at once."""

    @property
    def max_small_jobs_per_tenant(self) -> int:
        """Those of a tenant."""


def lanes_for(given: LimitsOfJobs, *, calls: int, workers: int) -> Lanes:
    """The limits for a capacity: concurrent calls of functions, and workers that share the partitions.

    Half of a lane is the most for one tenant.
    """
    small = max(2, min(OF_A_CALL * calls, OF_A_WORKER * workers))
    large = max(1, small // 4)
    return {
        True: LaneLimit(
            jobs=given.max_small_jobs or small, per_tenant=given.max_small_jobs_per_tenant or max(1, small // 2)
        ),
        False: LaneLimit(jobs=given.max_jobs or large, per_tenant=given.max_jobs_per_tenant or max(1, large // 2)),
    }


def admitted(waiting: Iterable[Ticket], running: Iterable[Ticket], lanes: Lanes) -> list[JobId]:
    """The waiting jobs that may start now, in order."""
    waiting, running = list(waiting), list(running)
    started: list[JobId] = []
    for small, limit in lanes.items():
        busy = Counter(ticket.tenant for ticket in running if ticket.small is small)
        room = limit.jobs - busy.total()
        started += _fair_order([t for t in waiting if t.small is small], busy, room, limit.per_tenant)
    return started


def position(job_id: JobId, waiting: Iterable[Ticket], running: Iterable[Ticket]) -> int | None:
    """The position of a waiting job in the queue of its lane, from 1. None if it is not waiting."""
    waiting = list(waiting)
    ticket_of_job = next((ticket for ticket in waiting if ticket.job_id == job_id), None)
    if ticket_of_job is None:
        return None
    lane = [ticket for ticket in waiting if ticket.small is ticket_of_job.small]
    busy = Counter(ticket.tenant for ticket in running if ticket.small is ticket_of_job.small)
    return _fair_order(lane, busy, len(lane), len(lane) + busy.total()).index(job_id) + 1


def _fair_order(waiting: list[Ticket], busy: Counter[str], room: int, per_tenant: int) -> list[JobId]:
    queues: dict[str, list[JobId]] = {}
    for ticket in sorted(waiting, key=lambda t: t.job_id, reverse=True):
        queues.setdefault(ticket.tenant, []).append(ticket.job_id)
    turns: list[JobId] = []
    while len(turns) < room:
        ready = [tenant for tenant, queue in queues.items() if queue and busy[tenant] < per_tenant]
        if not ready:
            break
        tenant = min(ready, key=lambda name: (busy[name], queues[name][-1]))
        turns.append(queues[tenant].pop())
        busy[tenant] += 1
    return turns
