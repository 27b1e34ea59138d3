"""Types of fields. Standard library only: the API's document and the client's types are derived from them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeVar, cast

RecordT = TypeVar("RecordT")
Example = Mapping[str, Any]
EXAMPLE_ID: Final = "01m87b5fjxy5p23eqzcwh67tr0"
EXAMPLE_TIME: Final = "2026-11-28T09:00:00.000Z"


@dataclass(frozen=True, slots=True)
class About:
    """Describes a field or a parameter in the API's document. `pattern`: the form of its text; `ge`, `le`: limits."""

    description: str | None = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    ge: int | None = None
    le: int | None = None


Id = Annotated[str, About("A ULID in lower case.", "^[0-9a-hjkmnp-tv-z]{26}$")]
Time = Annotated[str, About("RFC 3339, UTC.")]


class Absent(Enum):
    """The value of a member that an answer lacks; None is a value."""

    ABSENT = "absent"

    def __bool__(self) -> Literal[False]:
        return False


ABSENT: Final = Absent.ABSENT


class Sparse:
    """A record that may lack some members."""

    __slots__ = ()

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data, without the members that it lacks."""
        return asdict(cast(Any, self), dict_factory=lambda members: {n: v for n, v in members if v is not ABSENT})


def extended(kind: type[RecordT], record: Any, **more: Any) -> RecordT:
    """A record with the members that `kind` adds to its type."""
    return kind(**{one.name: getattr(record, one.name) for one in fields(record)}, **more)
