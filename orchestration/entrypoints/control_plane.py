"""The control plane: threads consume what workers report; the main thread runs what jobs wait for."""

import logging
import signal
import threading
from collections.abc import Callable
from typing import Final

from connectors.loading import hide_pandas
from orchestration.composition import control_plane as parts
from orchestration.composition.context import Context
from orchestration.composition.control_lanes import jobs_lane, other_lanes, scaling_lanes
from orchestration.control.catalog_watch import CatalogWatch
from orchestration.control.worker_groups import WorkerGroups
from orchestration.platform.ending import end
from orchestration.platform.logs import configure
from orchestration.platform.metrics import serve_metrics
from orchestration.platform.settings import Settings
from orchestration.platform.tracing import start_tracing
from schemas.counters import Counters
from schemas.errors import MusterError
from schemas.metrics import Sample
from streams import memory

SECOND_LOOK_S: Final = 8.0
"""The task that has stopped this process may still have to start it again; within 10 s it is killed."""
_log = logging.getLogger("orchestration.control")


def main() -> int:
    """Run until SIGTERM. Exit code 1 when the process cannot go on; the supervisor restarts it."""
    hide_pandas()
    settings = Settings.load()
    configure(settings)
    start_tracing(settings.otlp_endpoint, "control-plane")
    try:
        return run(settings)
    except MusterError as exc:  # the traceback of a foreseen error helps nobody
        _log.critical("the relay stops: %s", exc)
        return 1


def run(settings: Settings) -> int:
    """As `main`. Raises `FatalError`, and `RetriableError` CATALOG_REFUSED."""
    # Imported before there are threads: two threads that import it at once each see half of it.
    import pyiceberg.catalog.sql  # noqa: F401, PLC0415

    stop, changed = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    context = Context(settings)
    counters = Counters()
    failed = threading.Event()

    def consume(name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except MusterError as exc:
            _log.critical("consumer %s stops the relay: %s", name, exc)
            failed.set()
        except Exception:  # noqa: BLE001  # a thread that ends would end without a word
            _log.exception("consumer %s failed", name)
            failed.set()
        finally:
            stop.set()
            changed.set()

    consumers = {
        "progress": parts.progress(context, stop, changed).run,
        "status": parts.segment_status(context, stop, changed).run,
        "archive": parts.archive_consumer(context, stop, counters).run,
    }
    threads = [
        threading.Thread(target=consume, args=consumer, name=consumer[0], daemon=True) for consumer in consumers.items()
    ]
    for thread in threads:
        thread.start()
    checks, foreign_logs = parts.segment_checks(context, counters), parts.foreign_logs(context)
    groups = WorkerGroups.of(settings)
    metrics = parts.control_plane_metrics(context, groups, counters)

    def samples() -> list[Sample]:
        return [*metrics.samples(), *checks.samples(), *foreign_logs.samples()]

    serve_metrics(settings, "relay", settings.metrics_port, samples)
    watch, wakes = CatalogWatch(context.database.version), [changed]
    for lane in other_lanes(context, groups, stop, counters, checks, foreign_logs, samples, watch):
        wakes.append(threading.Event())
        lane.start(stop, wakes[-1])
    scaling = [lane.start(stop) for lane in scaling_lanes(context, groups)]
    jobs = jobs_lane(context, groups, counters, watch.quiet)
    threading.Thread(target=watch.run, args=(stop, wakes), name="catalog", daemon=True).start()
    memory.release_compiler()
    memory.release_free()
    _log.info("ready")
    jobs.run(stop, changed)
    for thread in scaling:
        thread.join(SECOND_LOOK_S)
    for thread in threads:
        thread.join(10)
    return 1 if failed.is_set() else 0


if __name__ == "__main__":
    end(main())
