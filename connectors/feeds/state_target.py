"""Delivers a feed to a compacted topic that holds the members of the segment: the latest event of each, by user.

Who leaves becomes a tombstone. A feed that begins (again) writes all members first. The keys whose latest event is not
one of that beginning are then users who have left unseen, or who were members for an earlier feed: the topic is read
back, and they become tombstones, too. Records that are no events of a feed are left alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from connectors.feeds.topic_writer import MOST, Keyed, TopicWriter, topic_fault
from connectors.kafka.clients import admin_client
from connectors.kafka.logon import librdkafka_config, raise_refusals
from connectors.kafka.topics import config_of
from connectors.storage.duck import DuckLimits, connect
from schemas.errors import UserError
from schemas.feed_events import beginning_of, id_of
from segmentation.feeds.following import FeedEvent

READ: Final = 10_000
WAIT_S: Final = 1.0
CLEANUP: Final = "cleanup.policy"


class StateTarget:
    """For one thread. After an error it is of no more use. `step` is called while the topic is read back."""

    most: Final = MOST

    def __init__(
        self, bootstrap: str, topic: str, writer: TopicWriter, limits: DuckLimits, step: Callable[[], None]
    ) -> None:
        """Raises `UserError` DESTINATION_NOT_WRITABLE if the topic is not compacted, or deletes old records."""
        require_compacted(bootstrap, topic)
        self._bootstrap, self._topic, self._writer = bootstrap, topic, writer
        self._limits, self._step = limits, step

    def deliver(self, events: Sequence[FeedEvent]) -> None:
        """Returns once the topic has what follows from the events. Raises as the writer, and what `step` raises."""
        if changed := [_record(event.user, event) for event in events if event.user is not None]:
            self._writer.write(changed)
        for beginning in {beginning_of(event.value) for event in events if event.user is None}:
            self._end_others(beginning)

    def close(self) -> None:
        """Drop what is not committed."""
        self._writer.close()

    def _end_others(self, beginning: str) -> None:
        for partition in range(self._writer.partitions()):
            for keys in self._others(partition, beginning):
                self._step()
                self._writer.write(Keyed(key, None, partition) for key in keys)

    def _others(self, partition: int, beginning: str) -> Iterator[list[bytes]]:
        """Keys of users of a partition whose latest event is of another beginning, in lists of up to `MOST`."""
        with connect(self._limits) as connection:
            connection.execute("CREATE TABLE seen (key BLOB, number BIGINT, other BOOLEAN)")
            number = 0
            for records in self._read(partition):
                found = [(key, _is_other(value, beginning)) for key, value in records if key is not None]
                numbers = range(number, number := number + len(found))
                rows = {"key": [key for key, _ in found], "number": numbers, "other": [other for _, other in found]}
                table = pa.table(rows, pa.schema({"key": pa.binary(), "number": pa.int64(), "other": pa.bool_()}))
                connection.from_arrow(table).insert_into("seen")
            found_others = connection.execute("SELECT key FROM seen GROUP BY key HAVING arg_max(other, number)")
            while rows_of_keys := found_others.fetchmany(MOST):
                yield [key for (key,) in rows_of_keys]

    def _read(self, partition: int) -> Iterator[list[tuple[bytes | None, bytes | None]]]:
        """All committed records of a partition. Raises as the writer."""
        consumer = Consumer(
            {
                **librdkafka_config(self._bootstrap),
                "group.id": "muster-feeds",
                "client.id": "muster-feeder",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": 16_384,
                "reconnect.backoff.max.ms": 500,
                "log_level": 2,
            }
        )
        try:
            consumer.assign([TopicPartition(self._topic, partition, OFFSET_BEGINNING)])
            ended = False
            while not ended:
                self._step()
                records = []
                with raise_refusals(consumer):
                    messages = consumer.consume(READ, WAIT_S)
                for message in messages:
                    if (error := message.error()) is None:
                        records.append((_bytes(message.key()), _bytes(message.value())))
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # public, as in `errors`
                        ended = True
                    elif not error.retriable():
                        raise topic_fault(self._topic, error, "reading")
                yield records
        finally:
            consumer.close()


def require_compacted(bootstrap: str, topic: str) -> None:
    """Raises `UserError` DESTINATION_NOT_WRITABLE unless the topic keeps the latest record of each key, and for ever.

    Also for a topic that is not there; `RetriableError` KAFKA_UNAVAILABLE; `FatalError` KAFKA_REFUSED, LOGON_REFUSED.
    """
    try:
        policy = config_of(admin_client(bootstrap), topic)[CLEANUP]
    except KafkaException as exc:
        raise topic_fault(topic, exc.args[0], "looking at") from exc
    require_policy(topic, policy)


def require_policy(topic: str, policy: str) -> None:
    """Raises `UserError` DESTINATION_NOT_WRITABLE for a topic with another `cleanup.policy` than compact."""
    if policy != "compact":
        raise UserError(
            "DESTINATION_NOT_WRITABLE",
            f"topic {topic} has {CLEANUP}={policy}, so it would lose members: a feed of shape `state` needs "
            f"{CLEANUP}=compact",
            topic=topic,
        )


def _record(user: str, event: FeedEvent) -> Keyed:
    return Keyed(user.encode(), event.value if event.kind == "entered" else None)


def _is_other(value: bytes | None, beginning: str) -> bool:
    """Whether a record is an event of a feed that has not begun as this one has. A tombstone is none."""
    id_ = None if value is None else id_of(value)
    return id_ is not None and not id_.startswith(beginning)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
