"""The committed offsets of a consumer group."""

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.kafka.clients import RenewedClient, asking_consumer
from connectors.kafka.errors import without_errors
from connectors.kafka.log_offsets import PartitionKey

_HAS_MEMBERS: Final = {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS}


class CommittedOffsets:
    """Asks with a consumer that never joins the group."""

    def __init__(self, bootstrap: str, group: str, partitions: Sequence[TopicPartition]) -> None:
        # With "read_committed", an open transaction would withhold all offsets.
        self._consumer = RenewedClient(lambda: asking_consumer(bootstrap, group, "read_uncommitted"))
        self._partitions = list(partitions)

    def read(self, timeout_s: float) -> Mapping[PartitionKey, int]:
        """Offset from which each partition is read next; -1 where nothing was committed.

        Raises `KafkaException`, and `FatalError` LOGON_REFUSED.
        """
        with self._consumer.asked() as consumer:
            found = without_errors(consumer.committed(self._partitions, timeout=timeout_s))
        return {(one.topic, one.partition): max(one.offset, -1) for one in found}

    def write(self, offsets: Mapping[PartitionKey, int]) -> bool:
        """Commit for a group without members. False if it has members. Raises as `read`."""
        wanted = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        try:
            with self._consumer.asked() as consumer:
                without_errors(consumer.commit(offsets=wanted, asynchronous=False) or [])
        except KafkaException as exc:
            if exc.args[0].code() in _HAS_MEMBERS:
                return False
            raise
        return True
