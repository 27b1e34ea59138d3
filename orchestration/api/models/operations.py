"""Operations: changes of the lake that are carried out within seconds."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.api.models.common import AT, JOB, Example, Id, Shape, Time
from orchestration.api.models.submissions import AudienceName, VersionNumber


class OperationFault(Shape):
    """Why an operation was not carried out."""

    kind: str
    code: str
    message: str
    detail: dict[str, Any]


class Operation(Shape):
    """A change that is carried out within seconds. `result` of one that is done; `error` of one that failed."""

    operation: Id
    kind: Literal["rollback", "expire", "rename", "delete"]
    audience: str
    state: Literal["pending", "done", "failed"]
    result: dict[str, Any] | None
    error: OperationFault | None
    created_at: Time
    finished_at: Time | None
    example: ClassVar[Example] = {
        "operation": JOB,
        "kind": "rollback",
        "audience": "vip",
        "state": "done",
        "result": {"version": 4, "members": 3},
        "error": None,
        "created_at": AT,
        "finished_at": AT,
    }


class Rollback(Shape):
    """The version whose members become the newest version again."""

    version: VersionNumber
    reason: Annotated[str, Field(max_length=1000)] = ""
    example: ClassVar[Example] = {"version": 3, "reason": "the file of Monday was incomplete"}


class Expiration(Shape):
    """How much is kept; what is missing is taken from the audience."""

    versions: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    days: Annotated[int, Field(ge=0, le=100_000)] | None = None
    example: ClassVar[Example] = {"versions": 3, "days": 0}


class Rename(Shape):
    """The new name of an audience."""

    audience: AudienceName
    example: ClassVar[Example] = {"audience": "gold"}
