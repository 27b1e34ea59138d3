"""The periodic tasks of the control plane: one table, in lanes that do not block each other."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from orchestration.composition import control_plane as parts
from orchestration.composition.context import Context
from orchestration.control.catalog_watch import CatalogWatch
from orchestration.control.foreign_logs import ForeignLogs
from orchestration.control.gc.access import EndedAccess
from orchestration.control.job_loop import JobLoop
from orchestration.control.liveness import WorkerLiveness
from orchestration.control.periodic import REST_S, Lane, PeriodicTask
from orchestration.control.sampling import Sampling
from orchestration.control.scaled_workers import FOLLOW_S
from orchestration.control.segment_checks import SegmentChecks
from orchestration.control.summary import log_summary
from orchestration.control.worker_groups import WorkerGroups
from orchestration.operations.scaling import limits_of
from orchestration.operations.workers import running_workers
from schemas.counters import Counters
from schemas.metrics import Sample

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
ARCHIVE_S: Final = 300.0
"""With a commit every two seconds, a partition gains 150 small files in this time."""


def jobs_lane(
    context: Context, groups: WorkerGroups, counters: Counters, quiet: Callable[[int], bool] = lambda _: False
) -> Lane:
    """Tasks that jobs wait for. None of them may take long."""
    limits = limits_of(context.settings)
    answers = parts.answers(
        context,
        WorkerLiveness(groups.imports, on_demand=not limits.workers.fixed),
        WorkerLiveness(groups.activity, on_demand=not limits.segment_workers.fixed),
    )
    loop = JobLoop(context.jobs, context.lanes, answers)
    lag, absence = parts.stream_lag(context, groups), parts.worker_absence(context, groups)
    markers = parts.lost_markers(context, groups.imports)
    events = parts.job_events(context, counters)

    def task(
        name: str, every_s: float, run: Callable[[int], object], *, rest_s: float | None = None, on_wake: bool = False
    ) -> PeriodicTask:
        return PeriodicTask(name=name, every_s=every_s, run=run, first_s=0, rest_s=rest_s, on_wake=on_wake)

    return Lane(
        name="jobs",
        vital=True,
        quiet=quiet,
        tasks=(
            task("answers", 0.5, loop.tick, rest_s=REST_S, on_wake=True),
            task("awaited snapshots", 1, parts.awaited_snapshots(context).tick, rest_s=REST_S),
            task("lag", 1, lambda now: lag.tick(loop.live, now), rest_s=REST_S),
            task("absence", 1, lambda now: absence.tick(loop.live, now), rest_s=REST_S),
            task("lost markers", 10, lambda now: markers.tick(loop.live, now)),
            task("job events", 0.5, lambda _: events.announce(), rest_s=REST_S, on_wake=True),
            task("schedules", 1, parts.schedules(context).tick, rest_s=REST_S),
            task("executions", 5, parts.job_reconciler(context).tick),
            task("sweeper", 5, parts.ended_jobs(context).tick),
            task("exports", 5, parts.export_reconciler(context).tick),
            task("expiry", 5, parts.expired_versions(context).tick),
            task("orphans", HOUR_S, parts.orphans(context).tick),
            task("ended access", HOUR_S, EndedAccess(context.tokens, context.sessions, context.codes).tick),
        ),
    )


def scaling_lanes(context: Context, groups: WorkerGroups) -> Sequence[Lane]:
    """The task that ends this process: whoever stops the lane waits for it, since it looks again after that.

    None if the counts are fixed.
    """
    if context.scaler.fixed:
        return ()
    run = parts.scaled_workers(context, groups).tick
    every_s = min(FOLLOW_S, max(1.0, context.settings.idle_minutes * MINUTE_S / 4))
    return (Lane(name="workers", tasks=(PeriodicTask(name="workers", every_s=every_s, run=run, first_s=0),)),)


def other_lanes(
    context: Context,
    groups: WorkerGroups,
    stop: threading.Event,
    counters: Counters,
    checks: SegmentChecks,
    foreign_logs: ForeignLogs,
    samples: Callable[[], Iterable[Sample]],
    watch: CatalogWatch,
) -> Sequence[Lane]:
    """Tasks that may take long, each in its own lane."""
    sampled = (groups.imports, groups.activity, groups.archive)
    sampling = Sampling(context.samples, sampled, lambda: running_workers(context.settings), watch.unnoticed)
    maintenance, notifier = parts.archive_maintenance(context, stop), parts.delivery(context)
    checked_s = context.settings.segment_check_minutes * MINUTE_S

    def lane(*tasks: PeriodicTask) -> Lane:
        return Lane(name=tasks[0].name, tasks=tasks, quiet=watch.quiet)

    def task(
        name: str,
        every_s: float,
        run: Callable[[int], object],
        *,
        first_s: float | None = None,
        rest_s: float | None = None,
        on_wake: bool = False,
    ) -> PeriodicTask:
        return PeriodicTask(name=name, every_s=every_s, run=run, first_s=first_s, rest_s=rest_s, on_wake=on_wake)

    return (
        parts.activations(context).lane(watch.quiet),
        lane(
            task("notifier", 1, notifier.tick, rest_s=REST_S),
            task("old notifications", HOUR_S, notifier.forget, first_s=MINUTE_S),
        ),
        lane(task("operations", 1, parts.lake_operations(context).tick, rest_s=REST_S, on_wake=True)),
        lane(task("recipient tests", 1, parts.recipient_tests(context).tick, rest_s=REST_S, on_wake=True)),
        lane(task("inbox folders", HOUR_S, parts.inbox_folders(context).tick, first_s=MINUTE_S)),
        lane(task("served requests", HOUR_S, parts.served_requests(context).tick, first_s=MINUTE_S)),
        lane(task("export-cleaner", 5, parts.ended_exports(context, counters).tick)),
        lane(
            task("archive", ARCHIVE_S, maintenance.maintain),
            task("archive garbage", HOUR_S, maintenance.remove_garbage, first_s=ARCHIVE_S),
        ),
        *([lane(task("segment-checks", checked_s, lambda _: checks.tick()))] if checked_s > 0 else []),
        lane(task("other-logs", MINUTE_S, lambda _: foreign_logs.tick(), first_s=0)),
        lane(task("samples", 1, sampling.tick, first_s=0)),
        lane(task("summary", MINUTE_S, lambda _: log_summary(samples()), first_s=0)),
    )
