"""Sends messages about segments to every partition of `muster.segment-activations`, or to a single one."""

from typing import Final

from connectors.publishing.producer import KafkaTopicLog
from schemas.codec import CODEC
from schemas.errors import FatalError, RetriableError
from schemas.ids import Partition
from schemas.segment_messages import ActivationMessage
from schemas.topics import SEGMENT_ACTIVATIONS

TIMEOUT_S: Final = 10.0


class ActivationSender:
    """Sends one message after the other; a failed message may be in some partitions already."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._log: KafkaTopicLog | None = None

    def send(self, message: ActivationMessage, only: Partition | None = None) -> list[int]:
        """Send a message to every partition, or to `only` one; returns its offset in each, once all have it.

        Blocks for about `TIMEOUT_S` at most. Raises `RetriableError` KAFKA_UNAVAILABLE; `FatalError` TOPIC_MISSING,
        TOPIC_PARTITIONS_CHANGED, KAFKA_REFUSED, LOGON_REFUSED.
        """
        log, self._log = self._log, None  # a failed one is never reused
        if log is None:
            log = KafkaTopicLog(
                self._bootstrap, SEGMENT_ACTIVATIONS, client_id="muster-activations", delivery_timeout_s=TIMEOUT_S
            )
            if (found := log.partitions()) != self._partitions:
                raise FatalError(
                    "TOPIC_PARTITIONS_CHANGED",
                    f"topic {SEGMENT_ACTIVATIONS} has {found} partitions, but {self._partitions} are expected: users "
                    "would be looked up in the wrong partitions",
                    topic=SEGMENT_ACTIVATIONS,
                    found=found,
                    partitions=self._partitions,
                )
        value = CODEC.encode(message)
        targets = [Partition(number) for number in range(self._partitions)] if only is None else [only]
        for partition in targets:
            log.offer(partition, value)
        delivered = {one.partition: one.offset for one in log.flush(TIMEOUT_S + 1)}
        if len(delivered) < len(targets):
            raise RetriableError("KAFKA_UNAVAILABLE", f"not all partitions of {SEGMENT_ACTIVATIONS} could be reached")
        self._log = log
        return [delivered[partition] for partition in targets]
