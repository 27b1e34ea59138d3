"""Bodies of requests about uploads."""

from typing import Annotated, ClassVar

from pydantic import Field

from orchestration.access.bodies.common import GRAPHIC, Shape
from orchestration.records.fields import Example


class NewUpload(Shape):
    """A file to send: its exact size in bytes, and its name, whose extension names its format."""

    name: Annotated[str, Field(min_length=1, max_length=255, pattern=GRAPHIC)]
    size: Annotated[int, Field(ge=1, le=5 * 2**40)]
    content_type: Annotated[str, Field(max_length=255, pattern=r"^[A-Za-z0-9.+_-]+/[A-Za-z0-9.+_-]+$")] = (
        "application/octet-stream"
    )
    example: ClassVar[Example] = {"name": "people.csv", "size": 1024, "content_type": "text/csv"}


class WantedParts(Shape):
    """Numbers of parts, from 1."""

    parts: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Field(min_length=1, max_length=100)]
    example: ClassVar[Example] = {"parts": [1, 2, 3]}
