"""How long an event takes from its producer to the membership change that it causes, at several loads."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from benchmarks.segments.events import TENANT
from connectors.kafka.logon import librdkafka_config
from orchestration.composition.context import Context
from orchestration.operations.segments import rule_of
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.codec import CODEC
from schemas.ids import AudienceName
from schemas.segment_messages import MembershipChanges
from schemas.topics import EVENTS, MEMBERSHIP_CHANGES
from segmentation.partitions.change_log import emission_of

SEGMENT: Final = AudienceName("pinged")
RULE: Final = "count(ping, 1h) >= 1"
EVERY_S: Final = 0.02
SAMPLES: Final = 1_000
TIMEOUT_S: Final = 120
LOAD_STEP_S: Final = 0.05


def latencies(
    settings: Settings, load: float, *, samples: int = SAMPLES, every_s: float = EVERY_S
) -> tuple[list[float], float]:
    """Seconds from sending an event to receiving its user's entry, ascending, beside `load` other events a second.

    Each event is the first of its user, sent alone and at once, like by a web server. Also returns how many other
    events a second there were: fewer if the broker did not take more.
    """
    _follow_rule(settings)
    run = f"{time.time_ns()}"
    sent = {f"{run}-{number}": 0.0 for number in range(samples)}
    came: dict[str, float] = {}
    consumer = _changes(settings)
    producer = _producer(settings, linger_ms=0)
    producer.produce(EVENTS, _event("first", "page_view"))  # waits for the producer's id
    producer.flush(TIMEOUT_S)
    with _other_events(settings, load) as others:
        following = threading.Thread(target=_follow, args=(consumer, sent, came))
        following.start()
        for user in sent:
            time.sleep(every_s)
            sent[user] = time.perf_counter()
            producer.produce(EVENTS, _event(user, "ping"), key=user)
            producer.poll(0)
        producer.flush(TIMEOUT_S)
        following.join()
        rate = others.number / (time.monotonic() - others.began)
    consumer.close()
    if len(came) < len(sent):
        raise RuntimeError(f"{len(sent) - len(came)} of {len(sent)} changes did not come within {TIMEOUT_S} s")
    return sorted(came[user] - sent[user] for user in sent), rate


def shown(seconds: list[float]) -> str:
    """Percentiles in milliseconds."""
    return ", ".join(f"p{p} {np.percentile(seconds, p) * 1000:.0f} ms" for p in (50, 99))


def _follow_rule(settings: Settings) -> None:
    context = Context(settings)
    context.audiences.add_tenant(TENANT, 1)
    if SEGMENT not in {overview.segment.name for overview in context.segments.overviews(TENANT)}:
        rule = rule_of(RULE, None)
        context.segments.create(TENANT, SEGMENT, rule, new_id=fresh_id(), author="bench", now_ms=now_ms())
    deadline = time.monotonic() + TIMEOUT_S
    (segment,) = (one.segment.segment_id for one in context.segments.overviews(TENANT) if one.segment.name == SEGMENT)
    while len(context.segments.partitions(segment)) < settings.partitions:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the segment is not followed after {TIMEOUT_S} s")
        time.sleep(0.1)


def _changes(settings: Settings) -> Consumer:
    config = librdkafka_config(settings.kafka_bootstrap)
    consumer = Consumer({**config, "group.id": "bench", "enable.auto.commit": False, "fetch.wait.max.ms": 5})
    consumer.assign([TopicPartition(MEMBERSHIP_CHANGES, p, OFFSET_END) for p in range(settings.partitions)])
    consumer.poll(1.0)  # the ends are looked up now
    return consumer


def _follow(consumer: Consumer, sent: dict[str, float], came: dict[str, float]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while len(came) < len(sent) and time.monotonic() < deadline:
        if (record := consumer.poll(0.1)) is None or record.error():
            continue
        now, message = time.perf_counter(), CODEC.decode(record.value())
        if isinstance(message, MembershipChanges) and message.segment == SEGMENT:
            users = emission_of(message).changes.user_ids.to_pylist()
            came.update({user: now for user in users if user in sent})


@dataclass(slots=True)
class Others:
    """Other events that were sent."""

    began: float
    number: int = 0


@contextmanager
def _other_events(settings: Settings, load: float) -> Iterator[Others]:
    stop, others = threading.Event(), Others(time.monotonic())

    def send() -> None:
        producer = _producer(settings, linger_ms=50)
        while not stop.wait(LOAD_STEP_S):
            while others.number < (time.monotonic() - others.began) * load and not stop.is_set():
                user = f"other-{others.number % 100_000}"
                try:
                    producer.produce(EVENTS, _event(user, "page_view"), key=user)
                except BufferError:
                    producer.poll(LOAD_STEP_S)
                else:
                    others.number += 1
            producer.poll(0)
        producer.flush(TIMEOUT_S)

    sending = threading.Thread(target=send)
    if load:
        sending.start()
    try:
        yield others
    finally:
        stop.set()
        if load:
            sending.join()


def _event(user: str, event: str) -> bytes:
    members = {"user_id": user, "event": event, "occurred_at": time.time_ns() // 1_000_000, "tenant": TENANT}
    return json.dumps(members).encode()


def _producer(settings: Settings, *, linger_ms: int) -> Producer:
    return Producer(
        {
            **librdkafka_config(settings.kafka_bootstrap),
            "enable.idempotence": True,
            "compression.type": "zstd",
            "linger.ms": linger_ms,
            "queue.buffering.max.messages": 1_000_000,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
