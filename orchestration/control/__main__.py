"""`python -m orchestration.control`: threads read what workers say, the main one goes round the jobs."""

import logging
import signal
import threading
from collections.abc import Callable
from typing import Final

from connectors.kafka.worker_group import WorkerGroup
from orchestration.catalog.admission import WAITS
from orchestration.context import Context
from orchestration.control.absence import WorkerAbsence
from orchestration.control.activations import Activations
from orchestration.control.answers import Answers
from orchestration.control.archiving import ArchiveConsumer
from orchestration.control.cleaning import ExportCleaner
from orchestration.control.events import JobEvents
from orchestration.control.lag import StreamLag
from orchestration.control.liveness import WorkerLiveness
from orchestration.control.lost_markers import LostMarkers
from orchestration.control.metrics import RelayMetrics
from orchestration.control.notifying import Notifier
from orchestration.control.other_logs import OtherLogs
from orchestration.control.progress import progress_fold
from orchestration.control.schedules import Schedules
from orchestration.control.segment_checks import SegmentChecks
from orchestration.control.segment_status import status_fold
from orchestration.control.summary import tell_every_minute
from orchestration.control.sweeper import Sweeper
from orchestration.control.upkeep import ArchiveKeeper
from orchestration.platform.clock import now_ms
from orchestration.platform.ending import end
from orchestration.platform.logs import configure
from orchestration.platform.metrics import serve_metrics
from orchestration.platform.settings import Settings
from schemas.errors import MusterError, RetriableError
from schemas.log_ids import bound
from schemas.metrics import Sample
from schemas.topics import ACTIVITY_TOPICS, SEGMENT_WORKER_GROUP
from streams.counters import Counters

ROUND_S: Final = 0.5
_log = logging.getLogger("orchestration.control")


def main() -> int:
    """Run until SIGTERM. Exit code 1 when the relay cannot go on: the supervisor starts it anew."""
    settings = Settings.load()
    configure(settings)
    try:
        return run(settings)
    except MusterError as exc:  # the traceback of a foreseen error helps nobody
        _log.critical("the relay ends: %s", exc)
        return 1


def run(settings: Settings) -> int:
    """As `main`. Raises `FatalError`, and `RetriableError` CATALOG_REFUSED."""
    # Before there are threads: two that import it at once, each from another end, find a half of it.
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
            _log.critical("the consumer %s ends the relay: %s", name, exc)
            failed.set()
        except Exception:  # noqa: BLE001  # a thread that ends would end without a word
            _log.exception("the consumer %s has failed", name)
            failed.set()
        finally:
            stop.set()
            changed.set()

    consumers = {
        "progress": progress_fold(context, stop, changed).run,
        "status": status_fold(context, stop, changed).run,
        "archive": ArchiveConsumer(context, stop, counters).run,
    }
    threads = [threading.Thread(target=consume, args=of, name=of[0], daemon=True) for of in consumers.items()]
    for thread in threads:
        thread.start()
    Activations(context, stop).start()
    Notifier(context, stop).start()
    ExportCleaner(context, stop).start()
    ArchiveKeeper(context, stop).start()
    checks = SegmentChecks(context, stop, counters)
    checks.start()
    other_logs = OtherLogs(context, stop)
    other_logs.start()
    metrics = RelayMetrics(context, counters)

    def samples() -> list[Sample]:
        return [*metrics.samples(), *checks.samples(), *other_logs.samples()]

    serve_metrics(settings, "relay", settings.metrics_port, samples)
    tell_every_minute(samples, stop)
    _go_round(context, stop, changed)
    for thread in threads:
        thread.join(10)
    return 1 if failed.is_set() else 0


def _go_round(context: Context, stop: threading.Event, changed: threading.Event) -> None:
    group = WorkerGroup(context.settings.kafka_bootstrap, context.settings.partitions)
    activity = WorkerGroup(
        context.settings.kafka_bootstrap,
        context.settings.partitions,
        name=SEGMENT_WORKER_GROUP,
        topics=ACTIVITY_TOPICS,
    )
    answers = Answers(context, WorkerLiveness(group), WorkerLiveness(activity))
    lag, absence = StreamLag(context, group, activity), WorkerAbsence(context, group, activity)
    markers, events, sweeper = LostMarkers(context, group), JobEvents(context), Sweeper(context)
    schedules = Schedules(context)
    _log.info("ready")
    while not stop.is_set():
        changed.wait(ROUND_S)
        changed.clear()
        try:
            live = context.jobs.live()
            if any(job.state == WAITS for job in live) and context.jobs.admit(context.lanes, now_ms=now_ms()):
                live = context.jobs.live()
            for job in live:
                with bound(job=job.job_id, attempt=job.attempt, tenant=job.tenant, audience=job.audience):
                    answers.give(job, now_ms())
            answers.forget_all_but(live)
            lag.look(live, now_ms())
            absence.look(live, now_ms())
            markers.look(live, now_ms())
            events.announce()
            schedules.look(now_ms())
            sweeper.look(now_ms())
        except RetriableError as exc:
            if exc.code == "CATALOG_REFUSED":  # whoever starts it again gives it the password of now
                raise
            _log.warning("%s", exc)
            stop.wait(ROUND_S)


if __name__ == "__main__":
    end(main())
