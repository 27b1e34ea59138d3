"""Delivers a feed to a topic as events.

A user's events are in the partition of its id, where Kafka's Java producers put a key; a reset is in every partition.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from connectors.feeds.topic_writer import MOST, Keyed, TopicWriter
from segmentation.feeds.following import FeedEvent


class ChangesTarget:
    """For one thread. After an error it is of no more use."""

    most: Final = MOST

    def __init__(self, writer: TopicWriter) -> None:
        self._writer = writer

    def deliver(self, events: Sequence[FeedEvent]) -> None:
        """Returns once all events are committed. Raises as the writer."""
        self._writer.write(record for event in events for record in self._records(event))

    def close(self) -> None:
        """Drop what is not committed."""
        self._writer.close()

    def _records(self, event: FeedEvent) -> Iterator[Keyed]:
        if event.user is None:
            for partition in range(self._writer.partitions()):
                yield Keyed(None, event.value, partition)
        else:
            yield Keyed(event.user.encode(), event.value)
