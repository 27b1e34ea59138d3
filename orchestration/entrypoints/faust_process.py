"""The process around a Faust app: heaps, metrics, the event loop, and the exit code.

The supervisor restarts it after any exit code but 0: crash and restart is how a worker recovers (docs/adr/0004).
"""

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Final, Protocol

from mode import Worker as ModeWorker

from connectors.loading import hide_pandas
from orchestration.platform.logs import configure
from orchestration.platform.metrics import Read, forget_metrics, serve_metrics
from orchestration.platform.settings import Settings
from orchestration.platform.tracing import start_tracing
from orchestration.platform.worker_identity import WorkerIdentity, claim_identity
from schemas.errors import FatalError, UserError
from streams import memory
from streams.faust_app import CRASH_EXIT_CODE, FaustApp

USAGE_EXIT_CODE: Final = 64  # EX_USAGE of sysexits.h
_log = logging.getLogger(__name__)


class FaustWorker(Protocol):
    """The worker to run; its `samples` are served as metrics."""

    @property
    def faust(self) -> FaustApp:
        """The app."""

    @property
    def samples(self) -> Read:
        """Current metrics."""


def run(part: str, first_port: int, make: Callable[[Settings, WorkerIdentity], FaustWorker]) -> int:
    """Run one worker until it is told to stop or cannot continue. Returns the exit code.

    `sys.argv[1]` is its number, or `2+`: the first free one from 2 on; the default is the first free one. It serves its
    metrics under its name on `metrics_port` + `first_port` + number.
    """
    hide_pandas()
    try:
        settings = Settings.load()
        configure(settings)
        start_tracing(settings.otlp_endpoint, part)
        memory.bound()
        identity = claim_identity(settings.home, part, sys.argv[1] if len(sys.argv) > 1 else "1+")
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        worker = make(settings, identity)
        serve_metrics(settings, identity.name, settings.metrics_port + first_port + identity.number, worker.samples)
    except UserError as exc:
        sys.stderr.write(f"{exc}\n")
        return USAGE_EXIT_CODE
    except FatalError as exc:
        _log.critical("the worker stops: %s", exc)
        return CRASH_EXIT_CODE
    _log.info("%s has started", identity)
    app = worker.faust.app
    runner = ModeWorker(app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True)
    try:
        runner.execute_from_commandline()
    except SystemExit as exc:  # how it returns; after a crash it has written the traceback
        if not exc.code and worker.faust.error is None and runner.crash_reason is None and app.crash_reason is None:
            forget_metrics(settings, identity.name)
            _log.info("%s has stopped", identity)
            return 0
    return CRASH_EXIT_CODE
