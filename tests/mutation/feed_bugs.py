"""Bugs in feeds: each is a function that puts the bug into the product."""

from typing import Any

from tests.mutation.patches import Patches


def replaced_owner_delivered(patches: Patches) -> None:
    """A feed delivers what an owner has sent after it was replaced."""

    def make(original: Any) -> Any:
        def take(self: Any, offset: int, value: Any) -> Any:
            before = self.position
            events = original(self, offset, value)
            if not events and value is not None and offset == before.offset:
                self.position = before._replace(generation=-1, seq=-1)
                events = original(self, offset, value)
            return events

        return take

    patches.replace("segmentation.feeds.following:PartitionFeed.take", make)


def position_after_the_first_user(patches: Patches) -> None:
    """A feed that dies within a message goes on with the next one."""

    def make(original: Any) -> Any:
        def expanded(self: Any, offset: int, message: Any) -> Any:
            events = original(self, offset, message)
            return [event._replace(after=events[-1].after) for event in events]

        return expanded

    patches.replace("segmentation.feeds.following:PartitionFeed._expanded", make)


def epochs_alike(patches: Patches) -> None:
    """A feed that begins again has the sequences of its first beginning, so receivers ignore it."""

    def make(original: Any) -> Any:
        def names(cut_id: str, epoch: int, partition: int, row: int) -> Any:
            return original(cut_id, 1, partition, row)

        return names

    patches.replace("schemas.feed_events:beginning_names", make)
