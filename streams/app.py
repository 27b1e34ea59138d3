"""The Faust app of the materialiser: settings that were measured, one agent per import topic, and how it ends.

The two lanes (`muster.imports`, `muster.imports.small`) have an agent and a queue each, so that small imports are taken
while big ones wait for memory. Acknowledgement is manual throughout (`noack`): see docs/adr/0004.
"""

import asyncio
import logging
import os
import threading
import time
from typing import Any, Final

import faust
from mode import CrashingSupervisor

from schemas.errors import MusterError
from schemas.topics import TOPICS
from streams.config import WorkerConfig
from streams.guards import install
from streams.materialiser import Materialiser
from streams.merges import remove_leftovers
from streams.staging import S3Store

_log = logging.getLogger(__name__)

MIB: Final = 1024 * 1024
CRASH_EXIT_CODE: Final = 70  # EX_SOFTWARE of sysexits.h
CRASH_GRACE_S: Final = 10.0
"""How long a crashing worker may take to stop in order; after it the process just ends, which is always safe."""


class Worker:
    """One materialiser, made of a Faust app and what it drives."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.error: Exception | None = None
        self.store = S3Store(config.store)
        self.app = _faust_app(config)
        remove_leftovers(config.temp)
        self._raw: dict[str, Any] = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
        }
        self._topics = {
            name: self.app.topic(name, **self._raw)
            for name in (
                config.import_topic,
                config.small_import_topic,
                config.progress_topic,
                config.dead_letter_topic,
            )
        }
        self.materialiser = Materialiser(
            config, self.store, publish=self._publish, fail=self._fail, now_us=lambda: time.time_ns() // 1000
        )
        install(self.app, self.materialiser)
        for name in (config.import_topic, config.small_import_topic):
            self.app.agent(self._topics[name], name=name)(self._consume)
        self.app.task(self.materialiser.tick)

    async def _consume(self, stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                await self.materialiser.accept(event)
            except Exception as exc:
                self._fail(exc)
                raise

    async def _publish(self, topic: str, key: bytes, value: bytes) -> None:
        # Two awaits: the first hands the message over, the second waits for the broker's acknowledgement.
        await (await self._topics[topic].send(key=key, value=value))

    def _fail(self, exc: Exception) -> None:
        """End the process, in order if that works within the grace period. The first error is the one that counts."""
        if self.error is not None:
            return
        self.error = exc
        if isinstance(exc, MusterError):
            _log.critical("worker ends: %s", exc)
        else:
            _log.critical("worker ends: %r", exc, exc_info=exc)
        self.store.stop()
        timer = threading.Timer(CRASH_GRACE_S, os._exit, (CRASH_EXIT_CODE,))
        timer.daemon = True
        timer.start()
        self._crashing = asyncio.get_running_loop().create_task(self.app.crash(exc))


def _faust_app(config: WorkerConfig) -> faust.App:
    """Settings by what was measured; docs/adr/0004 says why for each that is not a default."""
    largest = max(topic.message_max_bytes for topic in TOPICS)
    config.temp.mkdir(parents=True, exist_ok=True)
    return faust.App(
        config.group,
        broker=[f"kafka://{server.strip()}" for server in config.bootstrap.split(",")],
        store="memory://",
        datadir=config.temp,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        table_standby_replicas=0,
        worker_redirect_stdouts=False,
        agent_supervisor=CrashingSupervisor,
        stream_buffer_maxsize=32,  # chunks of up to 768 KiB, per topic
        stream_wait_empty=False,  # what is in flight at a rebalance comes again
        stream_processing_timeout=300.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=2 * MIB,  # per partition
        broker_max_poll_records=64,
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
