"""A Faust app configured for Muster: measured settings, raw topics, manual acknowledgement, and shutdown on errors.

docs/adr/0004 explains each setting that is not a default, and why a worker ends when it cannot continue.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import faust
from faust.types import TP, EventT
from mode import CrashingSupervisor

from schemas.errors import MusterError
from schemas.log_ids import headers
from schemas.topics import TOPICS
from streams.guards import Ownership, SafeConsumer, install
from streams.lanes import Acknowledgeable
from streams.logon import faust_options

_log = logging.getLogger(__name__)

MIB: Final = 1024 * 1024
CRASH_EXIT_CODE: Final = 70  # EX_SOFTWARE of sysexits.h
CRASH_GRACE_S: Final = 10.0
"""Time for an orderly stop after a crash. Then the process exits at once, which is always safe."""


class AppConfig(Protocol):
    """Settings of an app. Times are seconds."""

    @property
    def bootstrap(self) -> str:
        """The address of Kafka, in the format of `schemas.kafka_address`."""

    @property
    def group(self) -> str:
        """Consumer group; also the id of the app."""

    @property
    def identity(self) -> str:
        """The `client.id` that the consumer group lists. Empty: Faust's own."""

    @property
    def temp(self) -> Path:
        """A writable directory."""

    @property
    def session_timeout_s(self) -> float:
        """Time without a heartbeat after which the group reassigns this worker's partitions."""

    @property
    def heartbeat_s(self) -> float:
        """Interval of heartbeats."""

    @property
    def commit_interval_s(self) -> float:
        """Interval of offset commits."""


class FaustApp:
    """One app. A crash calls `stopping` first, so that blocking calls give up."""

    def __init__(self, config: AppConfig, topics: Iterable[str], *, stopping: Callable[[], None]) -> None:
        self.error: Exception | None = None
        self.app = _app(config)
        self._stopping = stopping
        self._topics = {
            name: self.app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
            for name in topics
        }

    def consume(
        self,
        topics: Iterable[str],
        accept: Callable[[EventT[Any]], Awaitable[None]],
        ownership: Ownership,
        *,
        whole_batches: bool = False,
    ) -> None:
        """Pass records of these topics to `accept`, in order within each partition.

        The message of each event is a `streams.guards.Fetched`; with `whole_batches` most of its records are a
        `streams.record_batches.WholeBatch`. `ownership` is notified of partitions gained and lost.
        """
        install(self.app, ownership, whole_batches=whole_batches)

        async def agent(stream: Any) -> None:
            async for event in stream.noack().events():
                try:
                    await accept(event)
                except Exception as exc:
                    self.fail(exc)
                    raise

        for name in topics:
            self.app.agent(self._topics[name], name=name)(agent)

    async def send(self, topic: str, key: bytes, value: bytes, partition: int | None = None) -> Awaitable[Any]:
        """Send a message with the ids of the current work, in the order of calls.

        The returned awaitable is the broker's answer (topic, offset, ...).
        """
        carried = list(headers()) or None
        return await self._topics[topic].send(key=key, value=value, partition=partition, headers=carried)

    def gap(self, tp: TP, end: int) -> Acknowledgeable:
        """Acknowledges offsets below `end` that hold no record, as an event acknowledges its record."""
        return _Gap(cast(SafeConsumer, self.app.consumer), tp, end)

    def fail(self, exc: Exception) -> None:
        """End the process, in order if that works within the grace period. Only the first error counts."""
        if self.error is not None:
            return
        self.error = exc
        if isinstance(exc, MusterError):
            _log.critical("the worker stops: %s", exc)
        else:
            _log.critical("the worker stops: %r", exc, exc_info=exc)
        self._stopping()
        timer = threading.Timer(CRASH_GRACE_S, os._exit, (CRASH_EXIT_CODE,))
        timer.daemon = True
        timer.start()
        self._crashing = asyncio.get_running_loop().create_task(self.app.crash(exc))


@dataclass(frozen=True, slots=True)
class _Gap:
    consumer: SafeConsumer
    tp: TP
    end: int

    def ack(self) -> bool:
        self.consumer.skip_to(self.tp, self.end)
        return True


def _app(config: AppConfig) -> faust.App:
    largest = max(topic.message_max_bytes for topic in TOPICS)
    config.temp.mkdir(parents=True, exist_ok=True)
    return faust.App(
        config.group,
        **faust_options(config.bootstrap),
        broker_client_id=config.identity or None,
        store="memory://",
        datadir=config.temp,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        table_standby_replicas=0,
        worker_redirect_stdouts=False,
        agent_supervisor=CrashingSupervisor,
        stream_buffer_maxsize=32,  # records of 256 KiB or a chunk of up to 768 KiB, per topic
        stream_wait_empty=False,  # records in flight at a rebalance are delivered again
        stream_processing_timeout=300.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=2 * MIB,  # per partition
        broker_max_poll_records=1_000,
        broker_session_timeout=config.session_timeout_s,
        broker_heartbeat_interval=config.heartbeat_s,
        broker_request_timeout=max(60.0, 2 * config.session_timeout_s),
        broker_commit_interval=config.commit_interval_s,
        broker_commit_every=1_000_000,  # by time only: every commit is a round trip
        broker_commit_livelock_soft_timeout=300.0,
        producer_acks=-1,
        producer_linger=0.02,
        producer_max_batch_size=256 * 1024,
        producer_max_request_size=largest + 64 * 1024,
        producer_request_timeout=60.0,
    )
