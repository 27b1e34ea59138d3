"""Bodies of requests about notifications."""

from typing import Annotated, ClassVar

from pydantic import Field

from orchestration.access.bodies.common import GRAPHIC, Shape
from orchestration.records.fields import Example

MOST = 10_000


class NewResend(Shape):
    """Ids of notifications to deliver again; null: all that were given up."""

    notifications: Annotated[
        list[Annotated[str, Field(max_length=64, pattern=GRAPHIC)]] | None, Field(min_length=1, max_length=MOST)
    ]
    example: ClassVar[Example] = {"notifications": None}
