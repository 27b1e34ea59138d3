"""Bodies of requests about dead letters."""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from orchestration.access.bodies.common import Shape
from orchestration.records.fields import Example

MAX_OFFSET: Final = 2**63 - 1
"""Largest number of a dead letter: numbers are offsets of a topic."""


class DeadLetterSelection(Shape):
    """Numbers of dead letters; null: all open ones, at most 10,000, the oldest first.

    With null, `topic`, `code` (empty: letters without a code) and `up_to` (a number) select among these.
    """

    dead_letters: Annotated[
        list[Annotated[int, Field(ge=0, le=MAX_OFFSET)]] | None, Field(min_length=1, max_length=10_000)
    ]
    topic: Annotated[str | None, Field(max_length=255)] = None
    code: Annotated[str | None, Field(max_length=64)] = None
    up_to: Annotated[int | None, Field(ge=0, le=MAX_OFFSET)] = None
    example: ClassVar[Example] = {"dead_letters": None, "code": "unknown_tenant"}
