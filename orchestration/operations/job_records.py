"""Jobs as plain JSON data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestration.platform.clock import iso
from schemas.ids import Attempt

if TYPE_CHECKING:
    from orchestration.catalog.records import Job, Transition
    from orchestration.operations.follow import JobView

SHOWN_SOURCE = ("bucket", "key", "version_id", "etag", "size", "last_modified")


def job_record(job: "Job") -> dict[str, Any]:
    """A job as plain JSON data, for people and programs: without tokens and internals."""
    return {
        "job": job.job_id,
        "tenant": job.tenant,
        "kind": job.shown_kind,
        "audience": job.audience,
        "state": job.state,
        "mode": job.mode,
        "attempt": job.attempt,
        "partitions": job.partitions,
        "source": {name: job.source.get(name) for name in SHOWN_SOURCE} if job.segment is None else dict(job.source),
        "spec": job.spec.as_record(),
        "evidence": _counts(job.evidence),
        "outcome": None if job.outcome is None else dict(job.outcome),
        "error": None if job.error is None else job.error.as_record(),
        "failed_in": job.failed_in,
        "retry_of": job.retry_of,
        "execution": job.execution,
        "created_at": iso(job.created_at_ms),
        "finished_at": None if job.finished_at_ms is None else iso(job.finished_at_ms),
    }


def view_record(
    view: "JobView", history: "list[Transition]", attempts: Mapping[Attempt, Mapping[str, Any] | None]
) -> dict[str, Any]:
    """A job with its history, stages, partitions, and what each of its attempts has sent, as plain JSON data."""
    return {
        **job_record(view.job),
        "queue_position": view.queue_position,
        "no_worker_s": view.no_worker_s,
        "history": [
            {"sequence": t.sequence, "state": t.state, "attempt": t.attempt, "cause": t.cause, "at": iso(t.at_ms)}
            for t in history
        ],
        "attempts": [{"attempt": number, "sent": sent} for number, sent in attempts.items()],
        "stages": [{name: getattr(s, name) for name in s.__dataclass_fields__} for s in view.stages],
        "partition_progress": [{name: getattr(p, name) for name in p.__dataclass_fields__} for p in view.partitions],
    }


def _counts(evidence: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    return {name: evidence[name] for name in ("rows", "accepted", "rejected", "rejected_by_code")}
