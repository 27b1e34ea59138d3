"""The process around a Faust app: heaps, metrics, the event loop, and the exit code.

Whoever starts it starts it again when it ends with another code than 0: crash and restart is how a worker recovers
(docs/adr/0004).
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

import pyarrow as pa
from mode import Worker as ModeWorker

from orchestration.logs import configure
from orchestration.metrics import Read, serve_metrics
from orchestration.settings import Settings
from schemas.errors import FatalError, UserError
from streams.config import StoreConfig
from streams.faust_app import CRASH_EXIT_CODE, FaustApp

USAGE_EXIT_CODE: Final = 64  # EX_USAGE of sysexits.h
_M_ARENA_MAX: Final = -8  # mallopt(3)
_M_MMAP_THRESHOLD: Final = -3
_M_TRIM_THRESHOLD: Final = -1
_MMAP_BYTES: Final = 4 * 1024 * 1024
"""From this size memory goes back to the system when it is freed. By default glibc raises its threshold to 32 MiB, and
the heap keeps the largest size that it ever had. With a lower one most of the time of a step goes into fresh pages."""
_TRIM_BYTES: Final = 64 * 1024 * 1024
"""So much of the end of a heap is kept when it is free."""
_log = logging.getLogger(__name__)


class FaustWorker(Protocol):
    """What is run; its `samples` are served as metrics."""

    @property
    def faust(self) -> FaustApp:
        """The app."""

    @property
    def samples(self) -> Read:
        """Metrics as of now."""


def store_config(settings: Settings) -> StoreConfig:
    """The object store of the settings."""
    return StoreConfig(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.reveal(),
    )


def run(part: str, first_port: int, make: Callable[[Settings, int], FaustWorker]) -> int:
    """Run one worker, number `sys.argv[1]` of its kind, until it is told to stop or cannot go on. The exit code.

    It serves its metrics as `part`-number on `metrics_port` + `first_port` + number.
    """
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    try:
        settings = Settings.load()
        configure(settings)
        _bound_heaps()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        worker = make(settings, number)
        serve_metrics(settings, f"{part}-{number}", settings.metrics_port + first_port + number, worker.samples)
    except UserError as exc:
        sys.stderr.write(f"{exc}\n")
        return USAGE_EXIT_CODE
    except FatalError as exc:
        _log.critical("worker ends: %s", exc)
        return CRASH_EXIT_CODE
    app = worker.faust.app
    runner = ModeWorker(app, loop=loop, override_logging=False, redirect_stdouts=False)
    try:
        runner.execute_from_commandline()
    except SystemExit as exc:  # its way to return; after a crash it has written the traceback
        if not exc.code and worker.faust.error is None and runner.crash_reason is None and app.crash_reason is None:
            return 0
    return CRASH_EXIT_CODE


def end(code: int) -> NoReturn:
    """End the process at once: what still runs in a thread is safe to cut off, and waiting for it is not wanted."""
    logging.shutdown()
    os._exit(code)


def _bound_heaps() -> None:
    """Keep freed memory from piling up, per thread and per size: half of the peak. Elsewhere than glibc: no effect."""
    pa.set_memory_pool(pa.system_memory_pool())
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
