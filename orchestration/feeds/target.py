"""Where feeds deliver to."""

from collections.abc import Sequence
from typing import Protocol

from schemas.errors import MusterError
from segmentation.feeds.following import FeedEvent


class Target(Protocol):
    """For one thread.

    `deliver` returns once the receiver has all events, and is repeated with the same ones after an error. `most`: how
    many it takes at once. It raises `RefusedError` if no repetition will help, and any `MusterError` for what may pass.
    """

    @property
    def most(self) -> int:
        """Events of a batch."""
        ...

    def deliver(self, events: Sequence[FeedEvent]) -> None:
        """Deliver a batch."""
        ...

    def close(self) -> None:
        """End the connections."""
        ...


class RefusedError(Exception):
    """The receiver refuses these events for good, or all events: somebody has to decide."""

    def __init__(self, why: MusterError, *, skippable: bool) -> None:
        super().__init__(str(why))
        self.why = why
        self.skippable = skippable
