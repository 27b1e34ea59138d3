"""Progress of a job, read from the catalog as values that a screen or a log line is made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from schemas.digest import Digest
from schemas.ids import JobId
from segmentation.export_jobs import ENDED
from segmentation.jobs import FINAL

if TYPE_CHECKING:
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.life_cycle import Tenants
    from orchestration.catalog.progress import ProgressStore
    from orchestration.catalog.records import Export, ExportGroup, Job, PartitionProgress, StageProgress
    from orchestration.operations.job_search import AllJobs

StageName = Literal["upload", "verify", "import", "materialise", "build", "publish"]
PartitionState = Literal["materialised", "failed", "archived"]
"""`archived`: events and profiles only, the archive has the rows; no end marker is judged."""
StageState = Literal["waiting", "running", "done", "stopped"]
STAGES: Final[tuple[StageName, ...]] = ("verify", "import", "materialise", "build", "publish")
ABSENCE: Final = "no_worker"
"""Stored beside a job's stages: since when the partitions that it waits for have had no worker."""
ABSENCE_FRESH_MS: Final = 15_000
ABSENCE_SHOWN_S: Final = 3.0
"""Partitions being reassigned, as when a worker joins, have no worker for a moment."""

_REACHED: Final = {"REGISTERED": -1, "VERIFYING": 0, "IMPORTING": 1, "AWAITING": 2, "BUILDING": 3, "PUBLISHING": 4}
_ALL_DONE: Final = len(STAGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """One stage. `unit` names what `done`, `total` and `rate` (per second) count; `left_s` is None if unknown.

    `place` is where it runs, or last ran: `function`, `task` or `machine`. None before it has begun, and if there is no
    choice: `materialise` always runs in the workers.
    """

    name: StageName
    state: StageState
    done: int = 0
    total: int = 0
    unit: str = ""
    rows: int = 0
    rate: float | None = None
    left_s: float | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionView:
    """One partition of the newest attempt, in rows; `state` is None until the partition is known to be complete or not.

    `taken`: rows that the workers have made durable. `lag`: messages sent that the workers have not taken yet; None if
    unknown. `rate` is rows taken per second since the first was sent; `left_s` is the time for the rest at that rate.
    """

    partition: int
    expected: int
    sent: int
    taken: int = 0
    lag: int | None = None
    rate: float | None = None
    left_s: float | None = None
    state: PartitionState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job and its progress. `duplicate_of` is set if the requested job was a duplicate: then `job` is the original.

    `queue_position`: position among the jobs waiting for their turn in its lane, from 1; None once it has begun.
    `no_worker_s`: how long no worker has had the partitions that it waits for; None while any worker has some.
    """

    job: "Job"
    stages: tuple[StageView, ...]
    partitions: tuple[PartitionView, ...]
    duplicate_of: JobId | None = None
    queue_position: int | None = None
    no_worker_s: float | None = None

    @property
    def final(self) -> bool:
        """True if the job has ended."""
        return self.job.state in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportView:
    """An export and its progress."""

    export: "Export"
    groups: "tuple[ExportGroup, ...]"

    @property
    def final(self) -> bool:
        """True if it has ended."""
        return self.export.state in ENDED

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return sum(group.rows for group in self.groups)

    @property
    def expected_rows(self) -> int:
        """Rows to be written; an upper bound for a delta or a selection."""
        return sum(group.expected_rows for group in self.groups)

    @property
    def written(self) -> int:
        """Groups written so far."""
        return sum(group.record is not None for group in self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """Reads the progress of jobs of all kinds from the catalog."""

    all_jobs: "AllJobs"
    exports: "ExportStore"
    jobs: "JobStore"
    progress: "ProgressStore"

    def view(self, job_id: JobId, now_ms: int, *, tenant: "Tenants" = None) -> JobView | None:
        """Progress of a job [of a tenant] now. None if it is not registered yet."""
        job = self.jobs.find(job_id, tenant=tenant)
        if job is None:
            return None
        reports = self.progress.stages(job.job_id)
        announced = [p for p in self.progress.partitions(job.job_id) if p.attempt == job.attempt]
        reached = _reached(job, lambda: [t.state for t in self.jobs.history(job.job_id)])
        return JobView(
            job=job,
            stages=stage_views(job, reached, reports, announced, now_ms),
            partitions=partition_views(job, reports, announced, now_ms),
            duplicate_of=job.job_id if job.job_id != job_id else None,
            queue_position=self.jobs.queue_position(job.job_id) if job.state == "REGISTERED" else None,
            no_worker_s=without_worker_s(job, reports, now_ms),
        )

    def export_view(self, export_id: JobId, *, tenant: "Tenants" = None) -> ExportView | None:
        """Progress of an export [of a tenant] now. None if it is not registered yet."""
        export = self.exports.find(export_id, tenant=tenant)
        return None if export is None else ExportView(export=export, groups=tuple(self.exports.groups(export_id)))

    def any_view(self, job_id: JobId, now_ms: int, *, tenant: "Tenants" = None) -> JobView | ExportView | None:
        """Progress of a job [of a tenant] of any kind now. None if it is not registered yet."""
        return self.view(job_id, now_ms, tenant=tenant) or self.export_view(job_id, tenant=tenant)


def without_worker_s(job: "Job", reports: "Mapping[str, StageProgress]", now_ms: int) -> float | None:
    """Seconds without a worker, from the relay's latest note, for a job that waits for workers."""
    report = reports.get(ABSENCE)
    if job.state != "AWAITING" or report is None or report.record["since_ms"] is None:
        return None
    absent_s = (now_ms - int(report.record["since_ms"])) / 1000
    return absent_s if absent_s >= ABSENCE_SHOWN_S and now_ms - report.at_ms < ABSENCE_FRESH_MS else None


def stage_views(
    job: "Job",
    reached: int,
    reports: "dict[str, StageProgress]",
    announced: "list[PartitionProgress]",
    now_ms: int,
) -> tuple[StageView, ...]:
    """The stages of a job; `build` exists for append to and remove from an audience, and for snapshots."""
    ended = job.state in FINAL
    views = []
    for index, name in enumerate(STAGES):
        if name == "build" and job.segment is None and (job.mode == "replace" or job.kind != "audience"):
            continue
        state: StageState
        if index < reached:
            state = "done"
        elif index == reached:
            state = "stopped" if ended else "running"
        else:
            state = "waiting"
        if name == "materialise":
            views.append(_materialise(job, state, reports, announced, now_ms))
        elif (report := reports.get(name)) is not None:
            views.append(_reported(name, state, report.record, report.at_ms))
        else:
            views.append(StageView(name=name, state=state))
    return tuple(views)


def partition_views(
    job: "Job", reports: "dict[str, StageProgress]", announced: "list[PartitionProgress]", now_ms: int
) -> tuple[PartitionView, ...]:
    """The partitions of the newest attempt; empty until verification has counted them."""
    if job.evidence is None:
        return ()
    expected = [Digest.parse(text).count for text in job.evidence["partitions"]]
    published = job.state in {"READY", "SUPERSEDED"}
    import_ = reports["import"].record if "import" in reports else {}
    stream = _stream_record(job, reports)
    by_partition = {p.partition: p for p in announced}
    views = []
    for number, count in enumerate(expected):
        announcement = by_partition.get(number)
        done = published or (announcement is not None and announcement.materialised)
        rows = count if done else _at(stream.get("partitions"), number) or 0
        state: PartitionState | None = None
        if announcement is not None:
            state = "materialised" if announcement.materialised else "failed"
        elif job.kind != "audience" and (published or (stream and rows == count)):
            state = "archived"
        end_ms = announcement.at_ms if announcement is not None else now_ms
        rate = _rate(rows, end_ms - int(import_["started_at_ms"])) if import_ and not published else None
        views.append(
            PartitionView(
                partition=number,
                expected=count,
                sent=count if done else _at(import_.get("partitions"), number) or 0,
                taken=rows,
                lag=0 if done else _at(stream.get("lag"), number),
                rate=rate,
                left_s=(count - rows) / rate if rate and announcement is None and job.state not in FINAL else None,
                state=state,
            )
        )
    return tuple(views)


def _stream_record(job: "Job", reports: "dict[str, StageProgress]") -> "Mapping[str, Any]":
    """What the relay has recorded about the job's newest attempt."""
    report = reports.get("materialise")
    return report.record if report is not None and report.record.get("attempt") == job.attempt else {}


def _at(values: Any, number: int) -> int | None:
    return int(values[number]) if values is not None and number < len(values) else None


def _reached(job: "Job", history: Callable[[], list[Any]]) -> int:
    """Index of the stage that a job is in, or was in when it failed or was cancelled."""
    if job.state in {"READY", "SUPERSEDED"}:
        return _ALL_DONE
    if job.state in _REACHED:
        return _REACHED[job.state]
    if job.failed_in is not None:
        return _REACHED.get(job.failed_in, -1)
    return max((_REACHED.get(state, -1) for state in history()), default=-1)


def _reported(name: StageName, state: StageState, record: Any, at_ms: int) -> StageView:
    done, total = int(record["done"]), int(record["total"])
    rate = _rate(done, at_ms - int(record["started_at_ms"]))
    return StageView(
        name=name,
        state=state,
        done=total if state == "done" else done,
        total=total,
        unit=str(record["unit"]),
        rows=int(record["rows"]),
        rate=rate,
        left_s=(total - done) / rate if rate and state == "running" else None,
        place=record.get("place"),  # absent in jobs of earlier releases
    )


def _materialise(
    job: "Job",
    state: StageState,
    reports: "dict[str, StageProgress]",
    announced: "list[PartitionProgress]",
    now_ms: int,
) -> StageView:
    """Counted in rows that the workers have made durable, from the moment the first one was sent."""
    total = int(job.evidence["accepted"]) if job.evidence is not None else 0
    partitions = partition_views(job, reports, announced, now_ms)
    rows = total if state == "done" else sum(p.taken for p in partitions)
    if rows and state == "waiting":
        state = "running"
    rate = None
    if (report := reports.get("import")) is not None and rows:
        end_ms = max((p.at_ms for p in announced), default=now_ms) if rows >= total else now_ms
        rate = _rate(rows, end_ms - int(report.record["started_at_ms"]))
    return StageView(
        name="materialise",
        state=state,
        done=rows,
        total=total,
        unit="rows",
        rows=rows,
        rate=rate,
        left_s=(total - rows) / rate if rate and state == "running" else None,
    )


def _rate(done: int, elapsed_ms: int) -> float | None:
    return done * 1000 / elapsed_ms if done > 0 and elapsed_ms > 0 else None
