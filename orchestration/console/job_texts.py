"""Jobs as pages show them: states, stages, results. The service gives facts; this puts them into words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from orchestration.access.pages import Record
from orchestration.console.formatting import duration, percent, size
from orchestration.console.language import Texts
from schemas.job_kinds import kind_of, traits_of
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
RUNNING: Final = sorted({*jobs.STATES, *export_jobs.EXPORT_STATES} - FINAL)


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


def is_final(job: Record) -> bool:
    """Whether a job has ended."""
    return job["state"] in FINAL


def kind_text(job: Record, t: Texts) -> str:
    """Import, snapshot, export ..."""
    return t(f"kind.{kind_of(job)}")


def title_of(job: Record, t: Texts) -> str:
    """What a job is about: its audience; for events and profiles, all of the tenant."""
    return str(job["audience"]) if traits_of(job).of_audience else kind_text(job, t)


def badge_of(job: Record, t: Texts) -> Badge:
    """A state. A later attempt continues the job; it is not a failure."""
    state, attempt = str(job["state"]), job.get("attempt", 1)
    tone: Tone = TONES.get(state, "running")
    if tone == "running" and attempt > 1:
        return Badge(tone="retrying", icon=ICONS["retrying"], text=t("job.retrying", attempt=attempt))
    if tone == "running" and job.get("no_worker_s") is not None:
        tone = "waiting"
    return Badge(tone=tone, icon=ICONS[tone], text=t(f"state.{state}"))


def stages_of(job: Record, t: Texts) -> tuple[Stage, ...]:
    """The stages of an import that runs or has stopped."""
    return tuple(
        Stage(
            name=t(f"stage.{stage['name']}"),
            state=stage["state"],
            done=1 if stage["state"] == "done" else stage["done"],
            total=1 if stage["state"] == "done" else max(stage["total"], 1),
            text=_stage_text(stage, t),
        )
        for stage in job.get("stages") or ()
    )


def _stage_text(stage: Mapping[str, Any], t: Texts) -> str:
    if stage["state"] == "waiting":
        return t("stage_state.waiting")
    if stage["state"] == "stopped":
        return t("stage_state.stopped")
    parts = [percent(stage["done"], stage["total"])] if stage["state"] == "running" and stage["total"] else []
    if stage["state"] == "done" and stage["rows"]:
        parts.append(t("job.rows", count=stage["rows"]))
    if stage["rate"] is not None and stage["rate"] >= 1:
        amount = size(round(stage["rate"])) if stage["unit"] == "bytes" else f"{round(stage['rate']):,}"
        parts.append(t("job.rate_bytes" if stage["unit"] == "bytes" else "job.rate_rows", amount=amount))
    if stage["left_s"] is not None:
        parts.append(t("job.left", duration=duration(stage["left_s"], t)))
    return " · ".join(parts) or t(f"stage_state.{stage['state']}")


def now_text(job: Record, t: Texts) -> str:
    """What a job that runs does at this moment."""
    if (position := job.get("queue_position")) is not None:
        return t("job.queued", position=position)
    if (seconds := job.get("no_worker_s")) is not None:
        return t("job.no_worker", duration=duration(seconds, t))
    for stage in job.get("stages") or ():
        if stage["state"] == "running":
            text = _stage_text(stage, t)
            return f"{t('stage.' + stage['name'])}: {text}"
    if "groups" in job:
        done, total = sum(g["rows"] for g in job["groups"]), sum(g["expected_rows"] for g in job["groups"])
        return t("job.exporting", done=done, total=total)
    return t(f"state.{job['state']}")


def result_text(job: Record, t: Texts) -> str:
    """The result of a job, in a few words."""
    if (error := job["error"]) is not None:
        code = str(error["code"])
        return t(f"problem.{code}.title") if t.has(f"problem.{code}.title") else str(error["message"])
    outcome = job["outcome"] or {}
    if job["state"] == "SUPERSEDED" and "version" in outcome:
        return t("job.superseded_by", version=outcome["version"])
    if "stored" in outcome:
        return t("job.stored", count=outcome["stored"])
    if "members" in outcome:
        return t("job.published", version=outcome["version"], count=outcome["members"])
    if "rows" in outcome:
        return t("job.exported", count=outcome["rows"])
    return ""


def origin_of(job: Record) -> str:
    """The file, the segment, or the destination."""
    if "export" in job:
        return str(job["request"].get("to", ""))
    source = job["source"]
    return str(source.get("key") or source.get("segment") or "").rpartition("/")[2]
