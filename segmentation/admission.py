"""Admission: which waiting jobs may start, fairly between tenants, with a separate lane for small files.

Within a lane the tenant with the fewest running jobs comes first; within a tenant, the oldest job. So a tenant with
twenty uploaded files delays another one by at most one job, and a small file waits for small files only.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

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


def lanes_for(*, calls: int, workers: int, given: Lanes) -> Lanes:
    """The limits for a capacity: concurrent calls of functions, and workers that share the partitions.

    Half of a lane is the most for one tenant. `given`: limits that are set, and 0 for the others.
    """
    small = max(2, min(OF_A_CALL * calls, OF_A_WORKER * workers))
    most = {True: small, False: max(1, small // 4)}
    return {
        lane: LaneLimit(jobs=limit.jobs or most[lane], per_tenant=limit.per_tenant or max(1, most[lane] // 2))
        for lane, limit in given.items()
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
