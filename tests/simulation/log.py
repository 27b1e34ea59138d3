"""Kafka: topics, misbehaving producers, lost acknowledgements, zombies, and offsets of groups."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from connectors.kafka.log_offsets import PartitionKey
from connectors.publishing.ports import Delivery
from schemas.errors import RetriableError
from schemas.ids import Partition
from tests.simulation.ports import Ports


def unavailable(text: str) -> RetriableError:
    return RetriableError("KAFKA_UNAVAILABLE", text)


@dataclass
class Broker:
    """Logs by topic and partition. Messages that were acknowledged and then lost are kept aside for the oracle."""

    ports: Ports
    partitions: int
    logs: dict[PartitionKey, list[bytes]] = field(default_factory=dict)
    lost: list[tuple[PartitionKey, bytes]] = field(default_factory=list)
    committed: dict[tuple[str, PartitionKey], int] = field(default_factory=dict)
    handled: dict[PartitionKey, int] = field(default_factory=dict)
    """How far the control plane is: the foremost of its processes. None repeats a commit that has failed."""
    appended: Callable[[PartitionKey, bytes], None] = lambda _place, _value: None

    def log(self, topic: str, partition: int) -> list[bytes]:
        return self.logs.setdefault((topic, partition), [])

    def append(self, topic: str, partition: int, value: bytes) -> int:
        """Append a message and return its offset."""
        log = self.log(topic, partition)
        log.append(value)
        self.appended((topic, partition), value)
        return len(log) - 1

    def send(self, topic: str, partition: int, value: bytes) -> int:
        """Send one message from a producer that waits for the acknowledgement."""
        return self.ports.call(
            "log", f"send to {topic}/{partition}", lambda: self.append(topic, partition, value), unavailable
        )


class Producer:
    """`TopicLog` of an importer. It misbehaves as librdkafka and brokers do, and worse.

    A batch may be written twice, in another order, or late, after its producer has given up or died.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._ports = broker.ports
        self.topic = topic
        self._queue: list[tuple[int, bytes]] = []

    def partitions(self) -> int:
        return self._ports.call("log", f"partitions of {self.topic}", lambda: self._broker.partitions, unavailable)

    def offer(self, partition: Partition, value: bytes | None, key: bytes | None = None) -> bool:
        if len(self._queue) >= 8:
            return False
        assert value is not None
        assert key is None
        self._queue.append((partition, value))
        return True

    def poll(self, timeout_s: float) -> tuple[Delivery, ...]:
        if not self._queue or (timeout_s == 0 and len(self._queue) < 4):
            return ()
        return self.flush(timeout_s)

    def flush(self, timeout_s: float) -> tuple[Delivery, ...]:
        del timeout_s
        if not self._queue:
            return ()
        batch, self._queue = self._queue, []
        if self._ports.faults.strike("zombie producer's batch lands late"):
            # The request is under way when its producer gives up; the broker writes it some time later.
            self._ports.kernel.later(self._ports.faults.among(1, 200), lambda: self._write(batch, late=True))
            raise unavailable(f"sending to {self.topic}: timed out")
        return self._ports.call("log", f"send {len(batch)} to {self.topic}", lambda: self._write(batch), unavailable)

    def unacknowledged(self) -> int:
        return len(self._queue)

    def abandon(self) -> None:
        self._queue.clear()

    def _write(self, batch: list[tuple[int, bytes]], *, late: bool = False) -> tuple[Delivery, ...]:
        faults = self._ports.faults
        if len(batch) > 1 and faults.strike("reordered send"):
            batch = [*batch[1:], batch[0]]
        deliveries = []
        for partition, value in batch:
            if not late and faults.strike("acknowledged message lost"):
                self._broker.lost.append(((self.topic, partition), value))
                offset = len(self._broker.log(self.topic, partition))
            else:
                offset = self._broker.append(self.topic, partition, value)
                if faults.strike("duplicate send"):
                    if faults.random.random() < 0.5:
                        self._broker.append(self.topic, partition, value)
                    else:
                        again = partial(self._broker.append, self.topic, partition, value)
                        self._ports.kernel.later(faults.among(1, 100), again)
            deliveries.append(Delivery(partition=Partition(partition), offset=offset, size=len(value)))
        return tuple(sorted(deliveries, key=lambda d: (d.partition, d.offset)))


class Backlog:
    """The progress of the workers. A small import never waits for it."""

    def __init__(self, broker: Broker, topic: str, group: str) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group

    def committed(self) -> tuple[int, ...]:
        return tuple(
            self._broker.committed.get((self._group, (self._topic, p)), 0) for p in range(self._broker.partitions)
        )


@dataclass(frozen=True)
class Record:
    """A message as confluent-kafka's consumer returns it."""

    content: bytes
    at: int

    def value(self) -> bytes:
        return self.content

    def key(self) -> None:
        return None

    def offset(self) -> int:
        return self.at

    def error(self) -> None:
        return None


class Consumer:
    """The control plane's consumer of one topic. After every restart it starts at the committed offset."""

    slower = 10.0  # than in real time

    def __init__(self, broker: Broker, group: str, topic: str) -> None:
        self._broker = broker
        self._group = group
        self._places = [(topic, p) for p in range(broker.partitions)]
        self._at = {place: broker.committed.get((group, place), 0) for place in self._places}

    def consume(self, number: int, timeout_s: float) -> list[Record]:
        found = [
            (place, Record(value, at))
            for place in self._places
            for at, value in enumerate(self._broker.log(*place)[self._at[place] :], self._at[place])
        ][:number]
        if not found:
            if timeout_s:
                self._broker.ports.kernel.sleep(self.slower * timeout_s)
            return []
        for place, record in found:
            self._at[place] = record.offset() + 1
        return [record for _, record in found]

    def commit(self) -> None:
        from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415

        handled = self._broker.handled
        handled |= {place: max(at, handled.get(place, 0)) for place, at in self._at.items()}

        def act() -> None:
            for place, at in self._at.items():
                self._broker.committed[self._group, place] = at

        self._broker.ports.call("log", "commit of the relay", act, lambda _: KafkaException(KafkaError(-195)))

    def close(self) -> None:
        pass
