"""Bodies of requests about feeds."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from orchestration.access.bodies.common import GRAPHIC, ResourceName, Shape
from orchestration.records.fields import Example


class NewFeed(Shape):
    """A feed of a segment `to` kafka://TOPIC or https://..., with all members first, or only changes from now on."""

    name: ResourceName
    segment: ResourceName
    to: Annotated[str, Field(max_length=1024, pattern=GRAPHIC)]
    start: Literal["all", "now"] = "all"
    example: ClassVar[Example] = {"name": "crm", "segment": "buyers", "to": "kafka://acme.buyers"}


class FeedChange(Shape):
    """Whether a feed delivers. `skip`: leave out the events that the receiver has refused; only with `active`."""

    state: Literal["active", "paused"]
    skip: bool = False
    example: ClassVar[Example] = {"state": "paused"}

    @model_validator(mode="after")
    def _skips_on_resuming(self) -> "FeedChange":
        if self.skip and self.state != "active":
            raise ValueError("skip resumes a feed: give it with the state active")
        return self
