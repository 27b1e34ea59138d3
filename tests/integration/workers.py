"""Worker processes for tests, their announcements and files."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.kafka.aiokafka_logon import aiokafka_options
from connectors.kafka.clients import admin_client
from connectors.kafka.errors import kafka_error
from connectors.kafka.logon import librdkafka_config
from orchestration.platform.settings import Settings
from schemas.codec import CODEC
from schemas.errors import RetriableError
from schemas.layout import split_s3_uri, staging_prefix
from schemas.messages import DeadLetter, Message, PartitionFailed, PartitionMaterialised
from schemas.topics import DEAD_LETTERS, IMPORT_PROGRESS, IMPORT_TOPICS, WORKER_GROUP
from tests.waiting import until

SESSION_TIMEOUT_S = 6  # the minimum that a broker grants by default
ROOT = Path(__file__).parents[2]


class Workers:
    """Worker processes that are restarted if they end on their own, as by a process supervisor."""

    def __init__(self, settings: Settings, logs: Path, module: str = "orchestration.entrypoints.worker") -> None:
        self._module = module
        self._settings = settings
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._extra: dict[str, dict[str, str]] = {}
        self._stopped: set[str] = set()
        self._lock = threading.Lock()
        self._watching = True
        self.restarts = 0
        self.peak_rss = 0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def start(self, name: str, **extra: str) -> None:
        """Start (again) the worker of that name."""
        with self._lock:
            self._stopped.discard(name)
            self._extra[name] = extra
            self._spawn(name)

    def _spawn(self, name: str) -> None:
        home = self.home(name)
        home.mkdir(exist_ok=True)
        env = os.environ | self._settings.environment()
        env |= {
            "MUSTER_HOME": str(home),
            "MUSTER_WORKER_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
            "PYTHONPATH": str(ROOT),
        }
        with (self._logs / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", self._module], env=env | self._extra[name], stdout=log, stderr=log
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal; after SIGKILL, return once the worker has been restarted."""
        process = self._processes[name]
        process.send_signal(number)
        while number == signal.SIGKILL and self._processes[name] is process:
            time.sleep(0.01)

    def stop(self, name: str) -> int:
        """Send SIGTERM; returns the exit code."""
        with self._lock:
            self._stopped.add(name)
        self._processes[name].send_signal(signal.SIGTERM)
        return self._processes[name].wait(timeout=90)

    def runs(self, name: str) -> bool:
        """True if the worker of that name should run."""
        return name in self._processes and name not in self._stopped

    def home(self, name: str) -> Path:
        """The worker's home."""
        return self._logs / name

    def pid(self, name: str) -> int:
        """Process id of the worker now."""
        return self._processes[name].pid

    def rss(self, name: str) -> int:
        """Memory of the worker now, in bytes."""
        return int(psutil.Process(self._processes[name].pid).memory_info().rss)

    def wait_exit(self, name: str, timeout_s: float = 120) -> int:
        """Exit code of a worker that is expected to end, and is not restarted."""
        with self._lock:
            self._stopped.add(name)
        return self._processes[name].wait(timeout=timeout_s)

    def log(self, name: str) -> str:
        """The complete log of a worker."""
        path = self._logs / f"{name}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def close(self) -> None:
        """End all workers, gracefully if possible, so that the group need not wait for a session timeout."""
        self._watching = False
        self._watcher.join()
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self) -> None:
        while self._watching:
            with self._lock:
                for name, process in list(self._processes.items()):
                    if process.poll() is not None:
                        if name not in self._stopped:
                            self.restarts += 1
                            self._spawn(name)
                    else:
                        try:
                            self.peak_rss = max(self.peak_rss, psutil.Process(process.pid).memory_info().rss)
                        except psutil.Error:
                            continue
            time.sleep(0.1)


def member_ids(settings: Settings, group: str) -> frozenset[str]:
    """Member ids of a group."""
    admin = admin_client(settings.kafka_bootstrap)  # kept alive until the answer arrives
    return frozenset(member.member_id for member in admin.describe_consumer_groups([group])[group].result(10).members)


def end_sessions(settings: Settings, group: str, members: Iterable[str]) -> None:
    """Do what the broker does once the sessions of killed members have timed out."""

    async def leave() -> None:
        client = AIOKafkaClient(**aiokafka_options(settings.kafka_bootstrap))
        try:
            await client.bootstrap()
            for member in members:
                await client.send(client.get_random_node(), LeaveGroupRequest(group, member))
        finally:
            await client.close()

    asyncio.run(leave())


_kept: dict[tuple[str, str], Consumer] | None = None
"""Consumers reused for the next question, by address and group; None outside of `readers_are_kept`."""


@contextmanager
def readers_are_kept() -> Iterator[None]:
    """Let the functions below reuse the same few consumers, in one thread.

    A new consumer costs 40 ms of processor time, half of it the broker's, and `until` asks again and again. In
    tests that kill a broker, each question should have a new consumer.
    """
    global _kept  # noqa: PLW0603 - a fixture's
    _kept = {}
    try:
        yield
    finally:
        for consumer in _kept.values():
            consumer.close()
        _kept = None


@contextmanager
def _reader(settings: Settings, group: str = "tests") -> Iterator[Consumer]:
    at = (settings.kafka_bootstrap, group)
    if _kept is not None and at in _kept:
        yield _kept[at]
        return
    consumer = Consumer({**librdkafka_config(settings.kafka_bootstrap), "group.id": group})
    if _kept is not None:
        _kept[at] = consumer
        yield consumer
        return
    try:
        yield consumer
    finally:
        consumer.close()


def read_topic(settings: Settings, topic: str) -> list[Message]:
    """All messages of a topic with one partition."""
    return [CODEC.decode(value) for value in read_values(settings, topic)]


def read_values(settings: Settings, topic: str, partition: int = 0) -> list[bytes]:
    """All values of one partition."""
    with _reader(settings) as consumer:
        here = TopicPartition(topic, partition, 0)
        first, end = consumer.get_watermark_offsets(here, timeout=10)
        here.offset = first
        consumer.assign([here])
        values: list[bytes] = []
        while first + len(values) < end:
            message = consumer.poll(5)
            assert message is not None, f"{topic} ends at {end}, {len(values)} read"
            assert message.error() is None, message.error()
            values.append(message.value() or b"")
        consumer.unassign()
        return values


def dead_letters(settings: Settings) -> list[DeadLetter]:
    """All dead letters."""
    return [m for m in read_topic(settings, DEAD_LETTERS) if isinstance(m, DeadLetter)]


def announced(settings: Settings, import_id: str) -> list[PartitionMaterialised | PartitionFailed]:
    """Announcements for an import, in order."""
    return [
        m
        for m in read_topic(settings, IMPORT_PROGRESS)
        if isinstance(m, PartitionMaterialised | PartitionFailed) and m.import_id == import_id
    ]


def all_announced(
    settings: Settings, import_id: str, partitions: int, attempt: int = 1, timeout_s: float = 120
) -> dict[int, PartitionMaterialised | PartitionFailed]:
    """The last announcement of every partition of an attempt, once all are there."""

    def complete() -> dict[int, PartitionMaterialised | PartitionFailed] | None:
        by_partition = {int(m.partition): m for m in announced(settings, import_id) if m.attempt == attempt}
        return by_partition if len(by_partition) == partitions else None

    found: dict[int, PartitionMaterialised | PartitionFailed] = until(complete, timeout_s=timeout_s)
    return found


def s3(settings: Settings) -> Any:
    """A client of the stack's object store."""
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.reveal(),
    )


def read_part(settings: Settings, part: PartitionMaterialised) -> pa.Table:
    """Rows of an announced part."""
    assert part.part is not None
    bucket, key = split_s3_uri(part.part)
    return pq.read_table(io.BytesIO(s3(settings).get_object(Bucket=bucket, Key=key)["Body"].read()))


def staged(settings: Settings, import_id: str) -> list[str]:
    """Keys of an import's objects in staging."""
    pages = s3(settings).get_paginator("list_objects_v2")
    return [
        entry["Key"]
        for page in pages.paginate(Bucket=settings.staging_bucket, Prefix=staging_prefix(import_id))  # type: ignore[arg-type]
        for entry in page.get("Contents", ())
    ]


def committed_everything(settings: Settings, group: str = WORKER_GROUP, topics: Sequence[str] = IMPORT_TOPICS) -> bool:
    """True if the workers have acknowledged all records of their topics."""
    with _reader(settings, group) as consumer:
        found = _committed(consumer, settings, topics)
        ends = [consumer.get_watermark_offsets(tp, timeout=10)[1] for tp in found]
        return all(tp.offset == end or (end == 0 and tp.offset < 0) for tp, end in zip(found, ends, strict=True))


def committed(settings: Settings, group: str = WORKER_GROUP, topics: Sequence[str] = IMPORT_TOPICS) -> int:
    """Number of records that the workers have acknowledged in their topics."""
    with _reader(settings, group) as consumer:
        return sum(max(0, tp.offset) for tp in _committed(consumer, settings, topics))


def _committed(consumer: Consumer, settings: Settings, topics: Sequence[str]) -> list[TopicPartition]:
    """Committed positions of the workers. A busy broker may first have to reload the group."""
    partitions = [TopicPartition(topic, p) for topic in topics for p in range(settings.partitions)]

    def ask() -> list[TopicPartition] | None:
        try:
            return list(consumer.committed(partitions, timeout=10))
        except KafkaException as exc:
            if isinstance(kafka_error(exc, "committed offsets"), RetriableError):
                return None
            raise

    return list(until(ask))


def rows_of(tables: Iterable[pa.Table]) -> dict[str, tuple[Any, ...]]:
    """Rows by user id; fails if a user is in two parts."""
    found: dict[str, tuple[Any, ...]] = {}
    for table in tables:
        columns = [table.column(name).to_pylist() for name in table.column_names if name != "user_id"]
        for user, *values in zip(table.column("user_id").to_pylist(), *columns, strict=True):
            assert user not in found, f"{user} is there twice"
            found[user] = tuple(values)
    return found
