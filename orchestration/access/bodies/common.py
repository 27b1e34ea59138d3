"""What all bodies and schemas share."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from orchestration.records import fields
from orchestration.records.fields import EXAMPLE_ID, About, Example
from schemas.errors import UserError
from schemas.ids import NAME_PATTERN


def described(extra: Any) -> Any:
    """What a type of a record is annotated with, for pydantic."""
    return Field(**asdict(extra)) if isinstance(extra, About) else extra


SHOWN_ERRORS: Final = 20
GRAPHIC = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, Field(max_length=100, pattern=GRAPHIC)]
Id = Annotated[str, described(get_args(fields.Id)[1])]
NAME: Final = f"^{NAME_PATTERN.pattern}$"
TenantName = Annotated[str, Field(pattern=NAME)]
ResourceName = Annotated[str, Field(max_length=63, pattern=GRAPHIC, json_schema_extra={"pattern": NAME})]
"""The name of a tenant, an audience, a segment or a schedule. What does not match is BAD_NAME."""
VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]
Address = Annotated[str, Field(max_length=2048, pattern=GRAPHIC)]
ColumnName = Annotated[str, Field(max_length=255)]
Named = Annotated[str | None, About(pattern=GRAPHIC, max_length=255)]
"""A query parameter that names an object."""
Role = Annotated[str, Field(max_length=16)]


def _no_number(value: object) -> object:
    """Pydantic would take a number for seconds or milliseconds since 1970, which the document does not offer."""
    if isinstance(value, int | float) or (isinstance(value, str) and not _DATE.match(value)):
        raise ValueError("give a time in RFC 3339 with an offset, such as 2026-11-28T09:00:00Z")
    return value


_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", re.ASCII)
Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), Field(strict=False)]
"""A time that a client gives: RFC 3339 with an offset."""
Since = Annotated[Moment | None, About("RFC 3339, with an offset.")]
"""A query parameter with the earliest time of a list."""


def milliseconds(moment: datetime | None) -> int | None:
    """Since 1970."""
    return None if moment is None else int(moment.timestamp() * 1000)


class Shape(BaseModel):
    """A JSON object without members that are not listed."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=lambda s, m: m.add_example(s))
    example: ClassVar[Example] = {}

    if not TYPE_CHECKING:  # a type checker knows the members of each class

        def __init__(self, **members: Any) -> None:
            """Raises `UserError` INVALID_REQUEST: whoever makes a body from a form answers as the API does."""
            try:
                super().__init__(**members)
            except ValidationError as exc:
                raise invalid_request([(("body", *one["loc"]), one["msg"]) for one in exc.errors()]) from exc

        __init__.__pydantic_base_init__ = True

    @classmethod
    def add_example(cls, schema: dict[str, Any]) -> None:
        """Add the example to the schema."""
        if cls.example:
            schema["example"] = cls.example


def invalid_request(faults: Sequence[tuple[Sequence[object], str]]) -> UserError:
    """Members that do not fit their schema, each with its place, without the values, which may be secrets."""
    found = [
        {"in": str(place[0]), "at": "/".join(str(part) for part in place[1:]), "fault": fault}
        for place, fault in faults[:SHOWN_ERRORS]
    ]
    where = f"{found[0]['in']} {found[0]['at']}".strip()
    return UserError("INVALID_REQUEST", f"{where}: {found[0]['fault']}", errors=found)


class Problem(Shape):
    """An error (RFC 9457). Programs look at `code`, which is stable."""

    type: str
    title: str
    status: int
    detail: str
    instance: Annotated[Id, Field(description="The id of the request; the service's log has it.")]
    code: str
    kind: Literal["user", "retriable", "fatal"]
    values: dict[str, Any]
    example: ClassVar[Example] = {
        "type": "/problems/UNKNOWN_JOB",
        "title": "Unknown job",
        "status": 404,
        "detail": f"job {EXAMPLE_ID} does not exist; `muster jobs list` shows all jobs",
        "instance": EXAMPLE_ID,
        "code": "UNKNOWN_JOB",
        "kind": "user",
        "values": {"job": EXAMPLE_ID},
    }
