"""The committed offsets of a consumer group."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.kafka.clients import ADMIN
from connectors.kafka.logon import librdkafka_config, raise_refusals


class CommittedOffsets:
    """Asks with a consumer that never joins the group. Not slotted: cached.

    librdkafka's admin client kills the process (SIGSEGV) when it asks a broker that has just ceased to coordinate the
    group, as brokers do while they start: https://github.com/confluentinc/librdkafka/issues/5040.
    """

    def __init__(self, bootstrap: str, group: str, partitions: Sequence[TopicPartition]) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._partitions = list(partitions)

    def read(self, timeout_s: float) -> Mapping[tuple[str, int], int]:
        """Offsets by topic and partition; -1 where nothing was committed.

        Raises `KafkaException`, and `FatalError` LOGON_REFUSED.
        """
        with raise_refusals(self._consumer):
            found = self._consumer.committed(self._partitions, timeout=timeout_s)
            for partition in found:
                if partition.error is not None:
                    raise KafkaException(partition.error)
        return {(one.topic, one.partition): max(one.offset, -1) for one in found}

    @cached_property
    def _consumer(self) -> Consumer:
        return Consumer(
            {
                **librdkafka_config(self._bootstrap),
                **ADMIN,
                "group.id": self._group,
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",  # else an open transaction withholds all offsets
            }
        )
