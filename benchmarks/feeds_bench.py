"""Feeds: how soon a receiver over HTTP has a change, and how fast a backlog goes to a topic.

Events of new users, who enter a segment, go through the segment workers of the stack. The receiver answers after 20 ms.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from benchmarks.measure import Measured, Result
from benchmarks.segments.events import TENANT
from benchmarks.setting import Setting
from connectors.kafka.clients import admin_client
from connectors.kafka.logon import librdkafka_config
from orchestration.catalog.feed_records import Feed
from orchestration.composition.context import Context
from orchestration.operations.segments import rule_of
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records.feeds import FeedStart
from schemas.ids import AudienceName
from schemas.topics import EVENTS

ENVIRONMENT: Final = {
    "MUSTER_WEBHOOK_SECRET": "a secret of the benchmark",
    "MUSTER_WEBHOOK_PRIVATE_TARGETS": "127.0.0.1",
}
"""Of the stack: its feeder may send to the receiver."""
SEGMENT: Final = AudienceName("arrived")
RATE: Final = 5_000
SECONDS: Final = 20
ANSWER_S: Final = 0.02
P99_S: Final = 1.0
BACKLOG: Final = 500_000
BACKLOG_RATE: Final = 50_000
BATCH: Final = 5_000
TIMEOUT_S: Final = 300.0
TOPICS: Final = ("bench.feed", "bench.plain")
TOPIC_PARTITIONS: Final = 4


def run(setting: Setting) -> list[Result]:
    """A steady stream over HTTP, then a backlog to a topic."""
    bench = Bench(setting)
    return [bench.steady(), *bench.backlog()]


class Bench:
    """One segment, and a feed for each measurement."""

    def __init__(self, setting: Setting) -> None:
        self._settings = setting.settings
        self._context = context = Context(self._settings)
        context.audiences.add_tenant(TENANT, 1)
        rule = rule_of("ever(arrival)", None)
        context.segments.create(TENANT, SEGMENT, rule, new_id=fresh_id(), author="bench", now_ms=now_ms())
        (self._segment,) = (one.segment.segment_id for one in context.segments.overviews(TENANT))
        self._until("the segment", lambda: len(context.segments.partitions(self._segment)) == self._settings.partitions)
        config = librdkafka_config(self._settings.kafka_bootstrap)
        options = {"linger.ms": 5, "partitioner": "murmur2_random", "queue.buffering.max.messages": 2_000_000}
        self._producer = Producer({**config, **options, "enable.idempotence": True, "log_level": 2})
        self._sent = 0
        admin = admin_client(self._settings.kafka_bootstrap)
        for made in admin.create_topics([NewTopic(name, TOPIC_PARTITIONS, 1) for name in TOPICS]).values():
            made.result(30)

    def steady(self) -> Result:
        """`RATE` changes a second for a while."""
        with receiver() as (url, waits):
            self._create("http", url, "now")
            self._until("the feed", lambda: self._phase("http") == "changes")
            began = time.monotonic()
            for second in range(SECONDS * 20):
                self._send(RATE // 20)
                time.sleep(max(0.0, began + (second + 1) / 20 - time.monotonic()))
            sent_s = time.monotonic() - began
            self._until("the receiver", lambda: len(waits) >= RATE * SECONDS)
            self._end("http")
        p50, p99 = (float(np.percentile(waits, p)) for p in (50, 99))
        return Result(
            benchmark="feeds",
            label=f"over HTTP at {RATE * SECONDS / sent_s:,.0f} changes/s, p99",
            best=Measured(rows=len(waits), wall_s=sent_s, cpu_s=0.0, peak_bytes=0),
            target=f"p99 < {P99_S:.0f} s",
            met=p99 < P99_S,
            note=f"from the change to its arrival: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms",
        )

    def backlog(self) -> Iterator[Result]:
        """Many changes that wait, and the same bytes by a plain producer in transactions of the same size."""
        self._create("topic", f"kafka://{TOPICS[0]}", "now")
        self._until("the feed", lambda: self._phase("topic") == "changes")
        self._context.feeds.pause(TENANT, "topic", lambda _: None)
        members = self._members()
        self._send(BACKLOG)
        self._until("the changes", lambda: self._members() == members + BACKLOG)
        delivered = self._context.feeds.get(TENANT, "topic").delivered
        began = time.monotonic()
        self._context.feeds.resume(TENANT, "topic", lambda _: None, skip=False)
        self._until("the backlog", lambda: self._context.feeds.get(TENANT, "topic").delivered >= delivered + BACKLOG)
        wall_s = time.monotonic() - began
        self._end("topic")
        plain, plain_s = f"{BACKLOG:,} by a plain producer", self._plain()
        yield _result(plain, plain_s)
        note = f"{BACKLOG / wall_s:,.0f} a second, with the start of its consumer and producer"
        yield _result(
            f"{BACKLOG:,} to a topic", wall_s, baseline=plain, note=note, met=BACKLOG / wall_s >= BACKLOG_RATE
        )

    def _plain(self) -> float:
        config = librdkafka_config(self._settings.kafka_bootstrap)
        reading = {"group.id": "bench", "enable.auto.commit": False, "isolation.level": "read_committed"}
        consumer = Consumer({**config, **reading})
        consumer.assign([TopicPartition(TOPICS[0], p, OFFSET_BEGINNING) for p in range(TOPIC_PARTITIONS)])
        records: list[tuple[bytes | str | None, bytes | str | None]] = []
        while len(records) < BACKLOG:
            records += [(m.key(), m.value()) for m in consumer.consume(10_000, 1.0) if m.error() is None]
        consumer.close()
        writing = {"partitioner": "murmur2_random", "compression.type": "zstd", "compression.level": 1, "linger.ms": 5}
        began = time.monotonic()
        producer = Producer({**config, **writing, "transactional.id": "bench", "log_level": 2})
        producer.init_transactions(30)
        for start in range(0, len(records), BATCH):
            producer.begin_transaction()
            for key, value in records[start : start + BATCH]:
                producer.produce(TOPICS[1], value, key)
            producer.commit_transaction(30)
        return time.monotonic() - began

    def _create(self, name: str, target: str, start: FeedStart) -> None:
        self._context.feeds.add(
            Feed(
                feed_id=fresh_id(),
                tenant=TENANT,
                name=name,
                segment=SEGMENT,
                target=target,
                shape="changes",
                start=start,
                author="bench",
                created_at_ms=now_ms(),
            )
        )

    def _end(self, name: str) -> None:
        self._context.feeds.delete(TENANT, name, lambda _: None)

    def _phase(self, name: str) -> str:
        return self._context.feeds.get(TENANT, name).phase

    def _members(self) -> int:
        return sum(one.members for one in self._context.segments.partitions(self._segment).values())

    def _send(self, users: int) -> None:
        for number in range(self._sent, self._sent + users):
            user = f"arrival-{number}"
            members = {
                "user_id": user,
                "event": "arrival",
                "occurred_at": time.time_ns() // 1_000_000,
                "tenant": TENANT,
            }
            while True:
                try:
                    self._producer.produce(EVENTS, json.dumps(members).encode(), key=user)
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self._sent += users
        self._producer.flush(TIMEOUT_S)

    def _until(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}: nothing after {TIMEOUT_S:.0f} s")
            time.sleep(0.05)


def _result(
    label: str, wall_s: float, *, baseline: str | None = None, note: str = "", met: bool | None = None
) -> Result:
    best = Measured(rows=BACKLOG, wall_s=wall_s, cpu_s=0.0, peak_bytes=0)
    target = "" if met is None else f"{BACKLOG_RATE:,} a second"
    return Result(benchmark="feeds", label=label, best=best, baseline=baseline, note=note, met=met, target=target)


@contextmanager
def receiver() -> Iterator[tuple[str, list[float]]]:
    """Its address, and for each event that it has, how many seconds after its change it came."""
    waits: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body, now = self.rfile.read(int(self.headers["Content-Length"])), time.time()
            time.sleep(ANSWER_S)
            waits.extend(now - datetime.fromisoformat(event["time"]).timestamp() for event in json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its base class' name
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/members", waits
        finally:
            server.shutdown()
            thread.join()
