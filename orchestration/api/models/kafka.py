"""Workers, lag and dead letters."""

from typing import Annotated, ClassVar

from pydantic import Field

from orchestration.api.models.common import AT, Example, Shape, Time


class Worker(Shape):
    """A member of a group of workers. `worker`, `host`, `pid`: as it reports itself; `address`: as Kafka sees it."""

    worker: str
    host: str
    pid: int | None
    address: str
    group: str
    partitions: list[int]


class WaitingJobs(Shape):
    """Jobs whose partitions no worker has, and how long the longest has been waiting."""

    jobs: int
    no_worker_s: float


class Workers(Shape):
    """Workers wherever they run. `waiting` is null if no job waits for one."""

    items: list[Worker]
    waiting: WaitingJobs | None
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
    }


class PartitionLag(Shape):
    """Messages of a partition that a group has not acknowledged."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int
    lag: int


class Lag(Shape):
    """How far the groups of workers are behind."""

    items: list[PartitionLag]
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
        "as_of": AT,
    }


class Series(Shape):
    """A group in a topic over time: the fewest members and the greatest lag of each step, messages a second."""

    group: str
    topic: str
    members: list[int | None]
    lag: list[int | None]
    acknowledged_per_s: list[float | None]
    sent_per_s: list[float | None]


class Samples(Shape):
    """Columns of equal length. Element i covers the `step_s` seconds from `first_at` + i * `step_s`.

    Null, unlike zero, means that nothing was measured, since Kafka or the control plane did not answer.
    """

    first_at: Time
    step_s: int
    items: list[Series]
    example: ClassVar[Example] = {
        "first_at": AT,
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


class DeadLetter(Shape):
    """A record that no worker could decode. `starts_with`: its first bytes in hexadecimal."""

    dead_letter: int
    topic: str
    partition: int
    offset: int
    bytes: int
    reason: str
    failed_at: Time
    starts_with: str


class DeadLetters(Shape):
    """The newest dead letters, oldest first. `more`: there are earlier ones."""

    items: list[DeadLetter]
    more: bool
    example: ClassVar[Example] = {
        "items": [
            {
                "dead_letter": 17,
                "topic": "muster.imports",
                "partition": 3,
                "offset": 4711,
                "bytes": 90,
                "reason": "not one of Muster's messages",
                "failed_at": AT,
                "starts_with": "7b226e6f",
            }
        ],
        "more": False,
    }


class NewReplay(Shape):
    """Numbers of dead letters to send again; null: all that the topic has."""

    dead_letters: Annotated[list[Annotated[int, Field(ge=0)]] | None, Field(min_length=1, max_length=10_000)]
    example: ClassVar[Example] = {"dead_letters": [17, 18]}


class Replayed(Shape):
    """How many were sent. Those that workers still cannot process become new dead letters."""

    sent: int
    example: ClassVar[Example] = {"sent": 2}
