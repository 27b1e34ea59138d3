"""A Kafka record as received, and one to be forwarded."""

from dataclasses import dataclass

from schemas.dead_letters import dead_letter
from schemas.ids import Partition
from schemas.messages import DeadLetter
from segmentation.intake.refusals import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord:
    """One record of an activity topic. `received_at_us`: microseconds since 1970 UTC, as the broker stamped it.

    The topics have LogAppendTime, so the same record is judged by the same time however often it is read.
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
    """An event that lies in the wrong partition of its topic, as the record to be sent to the right one.

    The event counts where it is read again; the offset it had may be committed once the broker has acknowledged the
    copy. A copy that is sent twice is one event: its id says where it came from, if it had none.
    """

    offset: int  # which it had in the wrong partition
    partition: Partition
    key: bytes
    value: bytes
