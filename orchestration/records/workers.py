"""Workers, and how far their groups are behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from orchestration.records.fields import EXAMPLE_TIME, Example, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A member of a group of workers. `worker`, `host`, `pid`: as it reports itself; `address`: as Kafka sees it."""

    worker: str
    host: str
    pid: int | None
    address: str
    group: str
    partitions: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJobs:
    """Jobs whose partitions no worker has, and how long the longest has been waiting."""

    jobs: int
    no_worker_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledPart:
    """A part that runs only while there is work: how many processes the work needs now.

    `given_at`: when its service was last given that count; null if it still has another one.
    """

    part: str
    wanted: int
    given_at: Time | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Workers wherever they run. `waiting` is null if no job waits for one.

    `scaled` is empty where the number of workers never changes.
    """

    items: Sequence[Worker]
    waiting: WaitingJobs | None
    scaled: Sequence[ScaledPart]
    example: ClassVar[Example] = {
        "items": [
            {
                "worker": "worker-1",
                "host": "node-7",
                "pid": 812,
                "address": "10.0.0.7",
                "group": "muster-materialiser",
                "partitions": [0, 1, 2, 3],
            }
        ],
        "waiting": None,
        "scaled": [{"part": "worker", "wanted": 1, "given_at": EXAMPLE_TIME}],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLag:
    """Messages of a partition that a group has not acknowledged."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int
    lag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far the groups of workers are behind."""

    items: Sequence[PartitionLag]
    as_of: Time
    example: ClassVar[Example] = {
        "items": [
            {
                "group": "muster-materialiser",
                "topic": "muster.imports",
                "partition": 0,
                "committed": 118,
                "end": 120,
                "lag": 2,
            }
        ],
        "as_of": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A group in a topic over time: the fewest members and the greatest lag of each step, messages a second."""

    group: str
    topic: str
    members: Sequence[int | None]
    lag: Sequence[int | None]
    acknowledged_per_s: Sequence[float | None]
    sent_per_s: Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Columns of equal length. Element i covers the `step_s` seconds from `first_at` + i * `step_s`.

    Null, unlike zero, means that nothing was measured, since Kafka or the control plane did not answer.
    """

    first_at: Time
    step_s: int
    items: Sequence[Series]
    example: ClassVar[Example] = {
        "first_at": EXAMPLE_TIME,
        "step_s": 10,
        "items": [
            {
                "group": "muster-materialiser",
                "topic": "muster.imports",
                "members": [2, None, 2],
                "lag": [0, None, 12],
                "acknowledged_per_s": [0.0, None, None],
                "sent_per_s": [0.0, None, None],
            }
        ],
    }
