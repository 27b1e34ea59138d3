"""Bodies of requests about jobs."""

from typing import ClassVar

from orchestration.access.bodies.common import Shape
from orchestration.records.fields import Example


class Retry(Shape):
    """How to run a job again.

    `with_audience_settings`: with the present settings of its audience. `force`: even if the file was at fault.
    `allow_shrink`: for this run, however many members leave the audience.
    """

    with_audience_settings: bool = False
    force: bool = False
    allow_shrink: bool = False
    example: ClassVar[Example] = {"with_audience_settings": True}
