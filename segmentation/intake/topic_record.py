"""A Kafka record as received, and one to be forwarded."""

from dataclasses import dataclass

from schemas.dead_letters import dead_letter
from schemas.ids import Partition
from schemas.messages import DeadLetter
from segmentation.intake.refusals import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord:
    """One record of an activity topic. `received_at_us`: the broker's timestamp, microseconds since 1970 UTC.

    The topics have LogAppendTime, so every read of a record is checked against the same time.
    """

    topic: str
    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    received_at_us: int

    def dead_letter(self, refusal: Refusal, now_us: int) -> DeadLetter:
        """The record as a dead letter."""
        return dead_letter(
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            key=self.key,
            value=self.value,
            reason=str(refusal),
            now_us=now_us,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A misplaced event, as the record to be sent to the right partition of its topic.

    The event counts where it is read again; its old offset may be committed once the broker has acknowledged the copy.
    Two copies are one event: if the event had no id, the copies have one from its origin.
    """

    offset: int  # in the wrong partition
    partition: Partition
    key: bytes
    value: bytes
