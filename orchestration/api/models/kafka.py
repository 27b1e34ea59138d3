"""Workers, lag and dead letters."""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from orchestration.access.bodies.common import AT, Example, Shape, Time
from schemas.dead_letters import DeadLetterState

LETTER: Final[Example] = {
    "dead_letter": 17,
    "topic": "muster.events",
    "partition": 3,
    "offset": 4711,
    "bytes": 90,
    "code": "unknown_tenant",
    "reason": "unknown_tenant: acme",
    "failed_at": AT,
    "starts_with": "7b226e6f",
    "state": "replayed",
    "state_at": AT,
    "state_by": "ann",
    "sent_offset": 4780,
    "refused_as": None,
    "replay_of": None,
}


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
    """A record that no worker could process. `starts_with`: its first bytes in hexadecimal.

    `code`: what the reason begins with; null for records of imports. `state_by` and `state_at`: who replayed or
    dismissed it, and when. `interrupted`: its replay ended early, and it is unknown whether the record was sent.
    `sent_offset`: where its new record is, in the same topic and partition. `refused_as`: the dead letter that the new
    record became; `replay_of`: the dead letter whose new record this is.
    """

    dead_letter: int
    topic: str
    partition: int
    offset: int
    bytes: int
    code: str | None
    reason: str
    failed_at: Time
    starts_with: str
    state: DeadLetterState
    state_at: Time | None
    state_by: str | None
    sent_offset: int | None
    refused_as: int | None
    replay_of: int | None
    example: ClassVar[Example] = LETTER


class WholeDeadLetter(DeadLetter):
    """A dead letter with the key and value of its record in base64, and as text if they are UTF-8."""

    key: str | None
    key_text: str | None
    value: str
    value_text: str | None
    example: ClassVar[Example] = {
        **LETTER,
        "key": None,
        "key_text": None,
        "value": "eyJub3QiOg==",
        "value_text": '{"not":',
    }


class DeadLetters(Shape):
    """The newest dead letters, oldest first. `more`: there are earlier ones."""

    items: list[DeadLetter]
    more: bool
    example: ClassVar[Example] = {"items": [LETTER], "more": False}


class DeadLetterSelection(Shape):
    """Numbers of dead letters; null: all open ones, at most 10,000, the oldest first.

    With null, `topic`, `code` (empty: letters without a code) and `up_to` (a number) select among these.
    """

    dead_letters: Annotated[list[Annotated[int, Field(ge=0)]] | None, Field(min_length=1, max_length=10_000)]
    topic: Annotated[str | None, Field(max_length=255)] = None
    code: Annotated[str | None, Field(max_length=64)] = None
    up_to: Annotated[int | None, Field(ge=0)] = None
    example: ClassVar[Example] = {"dead_letters": None, "code": "unknown_tenant"}


class Replayed(Shape):
    """How many were sent; records that workers still cannot process become new dead letters.

    `already`: others of the selection, which were replayed before or dismissed. `more`: there are open ones beyond
    10,000.
    """

    sent: int
    already: int
    more: bool
    example: ClassVar[Example] = {"sent": 2, "already": 0, "more": False}


class Dismissed(Shape):
    """How many were dismissed. `already`: others, which were replayed or dismissed before. `more`: as in `Replayed`."""

    dismissed: int
    already: int
    more: bool
    example: ClassVar[Example] = {"dismissed": 2, "already": 0, "more": False}
