"""Entry point of the materialiser: `python -m orchestration.worker [NUMBER]`. Ends with 0 on SIGTERM, else non-zero.

Whoever starts it starts it again when it ends otherwise: crash and restart is how it recovers (docs/adr/0004).
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import sys
from typing import Final

import pyarrow as pa
from mode import Worker as ModeWorker

from orchestration.logs import configure
from orchestration.metrics import serve_metrics
from orchestration.settings import Settings
from schemas.errors import UserError
from streams.app import CRASH_EXIT_CODE, Worker
from streams.config import StoreConfig, WorkerConfig

USAGE_EXIT_CODE: Final = 64  # EX_USAGE of sysexits.h
_M_ARENA_MAX: Final = -8  # mallopt(3)
_M_MMAP_THRESHOLD: Final = -3
_MMAP_BYTES: Final = 256 * 1024
"""From this size memory goes back to the system when it is freed. By default glibc raises its threshold to 32 MiB, and
the heap keeps the largest size that it ever had."""


def worker_config(settings: Settings) -> WorkerConfig:
    """What the worker needs of the settings."""
    return WorkerConfig(
        bootstrap=settings.kafka_bootstrap,
        store=StoreConfig(
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.reveal(),
        ),
        staging_bucket=settings.staging_bucket,
        temp=settings.home / "worker",
        buffer_bytes=settings.worker_buffer_bytes,
        merge_bytes=settings.duckdb_memory_bytes,
        merge_threads=settings.duckdb_threads,
        merge_temp_bytes=settings.duckdb_temp_bytes,
        session_timeout_s=float(settings.worker_session_timeout_s),
        heartbeat_s=settings.worker_session_timeout_s / 10,
    )


def main() -> int:
    """Run one worker until it is told to stop or cannot go on. The exit code."""
    try:
        settings = Settings.load()
    except UserError as exc:
        sys.stderr.write(f"{exc}\n")
        return USAGE_EXIT_CODE
    configure(settings)
    _bound_heaps()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(worker_config(settings))
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    try:
        serve_metrics(settings, f"worker-{number}", settings.metrics_port + number, worker.materialiser.samples)
    except UserError as exc:
        sys.stderr.write(f"{exc}\n")
        return USAGE_EXIT_CODE
    runner = ModeWorker(worker.app, loop=loop, override_logging=False, redirect_stdouts=False)
    try:
        runner.execute_from_commandline()
    except SystemExit as exc:  # its way to return; after a crash it has written the traceback
        if not exc.code and worker.error is None and runner.crash_reason is None and worker.app.crash_reason is None:
            return 0
    return CRASH_EXIT_CODE


def _bound_heaps() -> None:
    """Keep freed memory from piling up, per thread and per size: half of the peak. Elsewhere than glibc: no effect."""
    pa.set_memory_pool(pa.system_memory_pool())
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # A merge or a flush may still run in a thread; what it does is safe to cut off, and waiting for it is not wanted.
    os._exit(code)
