"""Types of fields. Standard library only: the API's document and the client's types are derived from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

Example = Mapping[str, Any]
EXAMPLE_ID: Final = "01m87b5fjxy5p23eqzcwh67tr0"
EXAMPLE_TIME: Final = "2026-11-28T09:00:00.000Z"


@dataclass(frozen=True, slots=True)
class About:
    """Describes a field or a query parameter in the API's document. `pattern`: the form of its text."""

    text: str | None = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None


Id = Annotated[str, About("A ULID in lower case.", "^[0-9a-hjkmnp-tv-z]{26}$")]
Time = Annotated[str, About("RFC 3339, UTC.")]
