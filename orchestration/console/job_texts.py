"""Jobs as pages show them: states, stages, results. The service gives facts; this puts them into words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from orchestration.console.formatting import duration, percent, size
from orchestration.console.language import Texts
from orchestration.records.jobs import ExportJob, ExportJobDetail, ImportJob, ImportJobDetail, Job
from schemas.job_kinds import JOB_KINDS, JobKind, JobTraits
from segmentation import export_jobs, jobs

Tone = Literal["running", "retrying", "waiting", "good", "bad", "neutral"]
ICONS: Final[Mapping[Tone, str]] = {
    "running": "▸",
    "retrying": "↻",
    "waiting": "…",
    "good": "✓",
    "bad": "✕",
    "neutral": "–",
}
"""Shown beside the words: no state is recognisable by colour alone."""
TONES: Final[Mapping[str, Tone]] = {
    "READY": "good",
    "FAILED": "bad",
    "CANCELLED": "neutral",
    "SUPERSEDED": "neutral",
    "REGISTERED": "waiting",
}
FINAL: Final = frozenset({*jobs.FINAL, *export_jobs.ENDED})
RUNNING: Final[list[str]] = sorted({*jobs.STATES, *export_jobs.EXPORT_STATES} - FINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A state in words, with its icon and colour."""

    tone: Tone
    icon: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a bar. `done` of `total`; `text`: how far it is, how fast, and how long it will take."""

    name: str
    state: str
    done: int
    total: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWords:
    """A job in words. `text`: its result, or what it does now; `waits`: no worker has the partitions it waits for."""

    record: Job
    id: str
    title: str
    kind: str
    origin: str
    final: bool
    waits: bool
    badge: Badge
    stages: Sequence[Stage]
    text: str


def words_of(job: Job, t: Texts) -> JobWords:
    """A job of any kind, in the reader's language."""
    final = is_final(job)
    return JobWords(
        record=job,
        id=id_of(job),
        title=title_of(job, t),
        kind=_kind_text(job, t),
        origin=_origin_of(job, t),
        final=final,
        waits=_waits(job),
        badge=_badge_of(job, t),
        stages=_stages_of(job, t),
        text=_result_text(job, t) if final else _now_text(job, t),
    )


def id_of(job: Job) -> str:
    """The id of a job of any kind."""
    return job.job if isinstance(job, ImportJob) else job.export


def kind_of(job: Job) -> JobKind:
    """Its kind."""
    return job.kind if isinstance(job, ImportJob) else "export"


def traits_of(job: Job) -> JobTraits:
    """What its kind implies."""
    return JOB_KINDS[kind_of(job)]


def is_final(job: Job) -> bool:
    """Whether a job has ended."""
    return job.state in FINAL


def _kind_text(job: Job, t: Texts) -> str:
    """Import, snapshot, export ..."""
    return t(f"kind.{kind_of(job)}")


def title_of(job: Job, t: Texts) -> str:
    """What a job is about: its audience; for events and profiles, all of the tenant."""
    return job.audience if traits_of(job).of_audience else _kind_text(job, t)


def _badge_of(job: Job, t: Texts) -> Badge:
    """A state. A later attempt continues the job; it is not a failure."""
    badge = replace(badge_of_state(job.state, t), text=_state_text(job, t))
    if badge.tone == "running" and isinstance(job, ImportJob) and job.attempt > 1:
        return Badge(tone="retrying", icon=ICONS["retrying"], text=t("job.retrying", attempt=job.attempt))
    return replace(badge, tone="waiting", icon=ICONS["waiting"]) if badge.tone == "running" and _waits(job) else badge


def _state_text(job: Job, t: Texts) -> str:
    """An import awaits its workers, an export of a segment the snapshot."""
    awaits = isinstance(job, ExportJob) and job.state == "AWAITING"
    return t("job.taking_snapshot" if awaits else f"state.{job.state}")


def badge_of_state(state: str, t: Texts) -> Badge:
    """A state by itself."""
    tone: Tone = TONES.get(state, "running")
    return Badge(tone=tone, icon=ICONS[tone], text=t(f"state.{state}"))


def _waits(job: Job) -> bool:
    """Whether no worker has the partitions that it waits for."""
    return isinstance(job, ImportJobDetail) and job.no_worker_s is not None


def _stages_of(job: Job, t: Texts) -> tuple[Stage, ...]:
    """The stages of an import that runs or has stopped."""
    return tuple(
        Stage(
            name=t(f"stage.{stage['name']}"),
            state=stage["state"],
            done=1 if stage["state"] == "done" else stage["done"],
            total=1 if stage["state"] == "done" else max(stage["total"], 1),
            text=_stage_text(stage, t),
        )
        for stage in _stages(job)
    )


def _stages(job: Job) -> Sequence[Mapping[str, Any]]:
    return job.stages if isinstance(job, ImportJobDetail) else ()


def _stage_text(stage: Mapping[str, Any], t: Texts) -> str:
    if stage["state"] == "waiting":
        return t("stage_state.waiting")
    if stage["state"] == "stopped":
        return t("stage_state.stopped")
    parts = [percent(stage["done"], stage["total"])] if stage["state"] == "running" and stage["total"] else []
    if stage["state"] == "done" and stage["rows"]:
        parts.append(t("job.rows", count=stage["rows"]))
    if stage["rate"] is not None and stage["rate"] >= 1:
        amount = size(round(stage["rate"])) if stage["unit"] == "bytes" else f"{_rounded(stage['rate']):,}"
        parts.append(t("job.rate_bytes" if stage["unit"] == "bytes" else "job.rate_rows", amount=amount))
    if stage["left_s"] is not None:
        parts.append(t("job.left", duration=duration(stage["left_s"], t)))
    return " · ".join(parts) or t(f"stage_state.{stage['state']}")


def _rounded(rate: float) -> int:
    """To two digits: a rate is no more exact than that."""
    whole = round(rate)
    return round(whole, 2 - len(str(whole))) if whole >= 100 else whole


def _now_text(job: Job, t: Texts) -> str:
    """What a job that runs does at this moment."""
    if isinstance(job, ImportJobDetail) and job.queue_position is not None:
        return t("job.queued", position=job.queue_position)
    if isinstance(job, ImportJobDetail) and job.no_worker_s is not None:
        return t("job.no_worker", duration=duration(job.no_worker_s, t))
    for stage in _stages(job):
        if stage["state"] == "running":
            text = _stage_text(stage, t)
            return f"{t('stage.' + stage['name'])}: {text}"
    if isinstance(job, ExportJobDetail) and job.groups:
        done, total = sum(g["rows"] for g in job.groups), sum(g["expected_rows"] for g in job.groups)
        return t("job.exporting", done=done, total=total)
    return _state_text(job, t)


def _result_text(job: Job, t: Texts) -> str:
    """The result of a job, in a few words."""
    if (error := job.error) is not None:
        key = error.code if t.has(f"problem.{error.code}.title") else "file" if error.kind == "user" else "system"
        return t(f"problem.{key}.title")
    outcome = job.outcome or {}
    if job.state == "SUPERSEDED" and "version" in outcome:
        return t("job.superseded_by", version=outcome["version"])
    if "stored" in outcome:
        return t("job.stored", count=outcome["stored"])
    if "members" in outcome:
        return t("job.published", version=outcome["version"], count=outcome["members"])
    if "rows" in outcome:
        return t("job.exported", count=outcome["rows"])
    return ""


def _origin_of(job: Job, t: Texts) -> str:
    """The file, the folder of several and how many they are, the segment, or the destination."""
    if isinstance(job, ExportJob):
        return str(job.request.get("to", ""))
    source = job.source
    name = str(source.get("key") or source.get("segment") or "").rstrip("/").rpartition("/")[2]
    if "files" not in source:
        return name
    files = t("job.files", count=source["files"])
    return files if source.get("form") == "list" else f"{name}/ ({files})"
