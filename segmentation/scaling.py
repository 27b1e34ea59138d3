"""How many workers and control planes a deployment wants: a fold over what was wanted so far, the work, and the time.

1. Work in sight wants its workers at once, all of them: each later change rebalances a consumer group.
2. A count falls only while its group has nothing open, neither lag nor an import that is being sent or awaited, and
   `idle_ms` after so many were last needed.
3. One worker stays until `idle_ms` after the last work of its group, then the count falls to its minimum.
4. Segments that are evaluated keep one segment worker, and active feeds a feeder.
5. Work and workers keep the control plane, which otherwise leaves `idle_ms` after the last work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from segmentation.admission import OF_A_WORKER

WORKER_BYTES: Final = 1024**3
"""Bytes of files for one worker. It keeps them in less time than another one takes to start at AWS."""
WORKER_LAG: Final = 2_000_000
"""The same in messages that are not acknowledged: programs send events and profiles without files."""
LARGE_JOB: Final = 4
"""A large job holds as much of a worker's buffer as four small ones (`segmentation.admission.lanes_for`)."""


class Scaled(StrEnum):
    """A part whose count follows the work. The values are the names of the parts, and of the services at AWS."""

    WORKER = "worker"
    SEGMENT_WORKER = "segment-worker"
    FEEDER = "feeder"
    RELAY = "relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The count of a part. `needed_ms`: when so many were last needed; `worked_ms`: when any was. 0: never."""

    count: int = 0
    needed_ms: int = 0
    worked_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The fewest and the most processes of a part. More than one for each partition would own none."""

    least: int
    most: int

    @property
    def fixed(self) -> bool:
        """Whether the count never changes."""
        return self.least >= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of both kinds of workers. `idle_ms`: how long a count outlasts the work."""

    workers: Range
    segment_workers: Range
    idle_ms: int

    @property
    def control_planes(self) -> Range:
        """A deployment that always has a worker always has a control plane; no more than one is of use.

        So has one whose workers are fixed at none.
        """
        always = self.workers.least + self.segment_workers.least > 0
        return Range(least=int(always or (self.workers.fixed and self.segment_workers.fixed)), most=1)

    @property
    def feeders(self) -> Range:
        """A deployment whose counts are fixed always has a feeder, which waits for feeds; one has room for all."""
        return Range(least=int(self.workers.fixed and self.segment_workers.fixed), most=1)

    @property
    def fixed(self) -> bool:
        """Whether no count ever changes."""
        return self.workers.fixed and self.segment_workers.fixed and self.control_planes.fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDemand:
    """Work of one group of workers.

    `jobs`: live jobs whose rows are not all kept yet, a large one as `LARGE_JOB`; `size_bytes`: the sum of their files;
    `moving`: those that are being sent or awaited. `lag`: messages that are not acknowledged, records of open imports
    among them; None if unknown.
    """

    jobs: int = 0
    size_bytes: int = 0
    moving: int = 0
    lag: int | None = 0

    @property
    def is_open(self) -> bool:
        """Whether a change of the count may move work that has begun."""
        return self.moving > 0 or self.lag is None or self.lag > 0

    @property
    def workers(self) -> int:
        """How many workers it keeps busy, without limits."""
        of_jobs, of_bytes = _ceil(self.jobs, OF_A_WORKER), _ceil(self.size_bytes, WORKER_BYTES)
        return max(of_jobs, of_bytes, _ceil(self.lag or 0, WORKER_LAG), int(self.moving > 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """All work in sight. `segments`: how many are evaluated; `feeds`: how many are to be delivered.

    `other`: work of the control plane alone: jobs at later steps, exports, notifications and operations that are due.
    """

    imports: GroupDemand = GroupDemand()
    activity: GroupDemand = GroupDemand()
    segments: int = 0
    feeds: int = 0
    other: int = 0


def desired(demand: Demand, before: Mapping[Scaled, Wanted], limits: Limits, now_ms: int) -> dict[Scaled, Wanted]:
    """What is wanted now. A part that `before` lacks starts with its minimum.

    With a lag that is unknown no count falls: so callers that see the catalog alone may start workers, not stop them.
    """

    def follow(part: Scaled, needed: int, bounds: Range, *, is_open: bool) -> Wanted:
        was = before.get(part, Wanted(count=bounds.least))
        worked_ms = max(was.worked_ms, now_ms) if needed else was.worked_ms
        needed_ms = max(was.needed_ms, now_ms) if needed >= was.count else was.needed_ms
        kept = was.count if is_open or now_ms - needed_ms < limits.idle_ms else 0  # 2
        last = min(1, was.count) if now_ms - worked_ms < limits.idle_ms else 0  # 3
        count = min(max(needed, kept, last, bounds.least), bounds.most)  # 1
        return Wanted(count=count, needed_ms=needed_ms, worked_ms=worked_ms)

    imports, activity = demand.imports, demand.activity
    evaluating = max(activity.workers, int(demand.segments > 0))  # 4
    workers = follow(Scaled.WORKER, imports.workers, limits.workers, is_open=imports.is_open)
    segment_workers = follow(Scaled.SEGMENT_WORKER, evaluating, limits.segment_workers, is_open=activity.is_open)
    feeders = follow(Scaled.FEEDER, int(demand.feeds > 0), limits.feeders, is_open=False)
    busy = demand.other > 0 or imports.workers > 0 or evaluating > 0  # 5
    served = int(workers.count + segment_workers.count > 0)
    bounds = Range(least=max(limits.control_planes.least, served), most=limits.control_planes.most)
    unknown = imports.lag is None or activity.lag is None
    control_planes = follow(Scaled.RELAY, int(busy), bounds, is_open=unknown)
    return {
        Scaled.WORKER: workers,
        Scaled.SEGMENT_WORKER: segment_workers,
        Scaled.FEEDER: feeders,
        Scaled.RELAY: control_planes,
    }


def _ceil(amount: int, share: int) -> int:
    return -(-amount // share)
