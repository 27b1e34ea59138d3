"""Event streams."""

from typing import Any, ClassVar, Literal

from orchestration.api.models.common import JOB, Example, Id, Shape

EventKind = Literal["job", "audience", "segment", "schedule"]


class Event(Shape):
    """`data` of one event: the whole present state of one thing. `value` None: it is gone.

    The members of `value` are those of the item in the list of its kind; jobs in progress have `stages`, and segments
    no `lag_s`. In a stream of one job they are those of the job's detail.
    """

    kind: EventKind
    id: Id
    value: dict[str, Any] | None
    example: ClassVar[Example] = {"kind": "job", "id": JOB, "value": {"job": JOB, "state": "READY", "stages": None}}
