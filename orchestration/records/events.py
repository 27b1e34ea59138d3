"""Event streams."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, About, Example, Id

EventKind = Literal["job", "audience", "segment", "schedule"]
DeploymentEventKind = Literal["job", "worker", "lag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`data` of one event: the whole present state of one thing. `value` None: it is gone.

    The members of `value` are those of the item in the list of its kind; jobs in progress have `stages`, and segments
    no `lag_s`. In a stream of one job they are those of the job's detail.
    """

    kind: EventKind
    id: Id
    value: Mapping[str, Any] | None
    example: ClassVar[Example] = {
        "kind": "job",
        "id": EXAMPLE_ID,
        "value": {"job": EXAMPLE_ID, "state": "READY", "stages": None},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentEvent:
    """As `Event`, of the deployment.

    `worker`: as in the list of workers. `lag`: a group of workers in a topic at `as_of`, with the lag of each partition
    and, if it was measured ten seconds before, too, the messages acknowledged and sent a second. An `as_of` that falls
    behind means that nothing newer is known, of the workers neither. `job`: as in the events of its tenant.
    """

    kind: DeploymentEventKind
    id: Annotated[str, About(max_length=500)]
    value: Mapping[str, Any] | None
    example: ClassVar[Example] = {
        "kind": "lag",
        "id": "muster-materialiser/muster.imports",
        "value": {
            "group": "muster-materialiser",
            "topic": "muster.imports",
            "members": 2,
            "lag": 12,
            "acknowledged_per_s": 40.5,
            "sent_per_s": 41.0,
            "partitions": [12, 0, 0, 0],
            "as_of": EXAMPLE_TIME,
        },
    }
