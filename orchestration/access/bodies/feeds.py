"""Bodies of requests about feeds."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from connectors.sinks.topic_addresses import SCHEME
from orchestration.access.bodies.common import GRAPHIC, ResourceName, Shape
from orchestration.records.feeds import FeedShape, FeedStart
from orchestration.records.fields import Example


class NewFeed(Shape):
    """A feed of a segment `to` kafka://TOPIC or https://..., with all members first, or only changes from now on.

    `shape`: every change, or the members alone, by user, on a compacted topic.
    """

    name: ResourceName
    segment: ResourceName
    to: Annotated[str, Field(max_length=1024, pattern=GRAPHIC)]
    start: FeedStart = "all"
    shape: FeedShape = "changes"
    example: ClassVar[Example] = {"name": "crm", "segment": "buyers", "to": "kafka://acme.buyers"}

    @model_validator(mode="after")
    def _state_is_of_a_topic(self) -> "NewFeed":
        if self.shape == "state" and not self.to.startswith(SCHEME):
            raise ValueError("the shape state is for topics: deliver to kafka://TOPIC, or choose the shape changes")
        if self.shape == "state" and self.start != "all":
            raise ValueError("the shape state begins with all members: leave out start")
        return self


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
