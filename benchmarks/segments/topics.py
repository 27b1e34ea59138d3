"""The same shop in topics: as chunks, like an import sends them, and as single JSON events, keyed by user."""

import json
from collections.abc import Iterator, Mapping

import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer

from benchmarks.segments.events import BEGIN_US, Messages, event_batches
from connectors.kafka.logon import librdkafka_config

POLL_EVERY = 10_000


def send_chunks(bootstrap: str, topic: str, messages: Messages) -> None:
    """Send all messages to their partitions, in order."""
    values = (value for value, _ in messages)
    _send(bootstrap, topic, ((None, *one) for one in zip(values, messages.partitions, strict=True)))


def send_json(
    bootstrap: str, topic: str, users: pa.StringArray, events: int, *, begin_us: int = BEGIN_US, **more: str
) -> None:
    """Send events like an ordinary producer. `more`: additional fields of each event."""
    _send(bootstrap, topic, _json_events(users, events, begin_us, more))


def _json_events(
    users: pa.StringArray, events: int, begin_us: int, more: Mapping[str, str]
) -> Iterator[tuple[str, bytes, int]]:
    for batch in event_batches(users, events, begin_us):
        occurred_at = (batch.column("occurred_at").cast(pa.int64()).to_numpy() // 1000).tolist()
        columns = [batch.column(name).to_pylist() for name in ("user_id", "event", "amount", "category", "mobile")]
        for at, user_id, event, amount, category, mobile in zip(occurred_at, *columns, strict=True):
            properties = {"amount": amount, "category": category, "mobile": mobile}
            of = {"user_id": user_id, "event": event, "occurred_at": at, "properties": properties, **more}
            yield user_id, json.dumps(of).encode(), -1


def _send(bootstrap: str, topic: str, records: Iterator[tuple[str | None, bytes, int]]) -> None:
    failed: list[KafkaError] = []

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer(
        {
            **librdkafka_config(bootstrap),
            "enable.idempotence": True,
            "compression.type": "zstd",
            "compression.level": 1,
            "linger.ms": 50,
            "queue.buffering.max.kbytes": 256 * 1024,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
    for number, (key, value, partition) in enumerate(records):
        while True:
            try:
                producer.produce(topic, value, key=key, partition=partition, on_delivery=on_delivery)
                break
            except BufferError:
                producer.poll(0.05)
        if number % POLL_EVERY == 0:
            producer.poll(0)
    producer.flush(120)
    if failed:
        raise RuntimeError(f"{len(failed)} messages were not delivered: {failed[0]}")
