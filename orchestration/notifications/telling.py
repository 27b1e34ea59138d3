"""What is told of a job, and to whom: from its end in the catalog to rows in the outbox."""

import logging
import random
from collections.abc import Mapping
from typing import Any, Final

from orchestration.catalog.records import Export, Job
from orchestration.context import Context
from orchestration.notifications.courier import Backoff, Courier
from orchestration.notifications.outbox import Notification, Outcome
from orchestration.notifications.recipients import Recipient, operators
from orchestration.platform.clock import iso
from schemas.errors import UserError
from schemas.ids import JobId

LOG: Final = Recipient(channel="log", address="")
"""Everything is told to the log as well; its row shows that the outcome of a job has been dealt with."""
COUNTS: Final = ("rows", "accepted", "rejected", "duplicates", "distinct", "stored", "members")
EXPORT_COUNTS: Final = ("rows", "files", "bytes")
_log = logging.getLogger(__name__)


def courier(context: Context) -> Courier:
    """The courier of this process."""
    s = context.settings
    backoff = Backoff(first_s=s.notify_first_retry_s, tries=s.notify_tries)
    return Courier(context.outbox, s, backoff=backoff, dice=random.SystemRandom())


def tell(context: Context, job: Job, outcome: Outcome, now_ms: int) -> list[Notification]:
    """Write what is to be told of a job: of a file to customers, of a fault of ours to operators. Returns new rows."""
    if outcome in {"system-error", "not-registered"}:
        recipients = _operators(context)
    else:
        recipients = context.recipients.told(job.tenant, job.audience_id)
    return context.outbox.write(job.job_id, outcome, [LOG, *recipients], body_of(context, job, outcome), now_ms=now_ms)


def tell_export(context: Context, export: Export, outcome: Outcome, now_ms: int) -> list[Notification]:
    """As `tell`, of an export."""
    if outcome == "system-error":
        recipients = _operators(context)
    else:
        recipients = context.recipients.told(export.tenant, export.audience_id)
    known: Mapping[str, Any] = export.outcome or {}
    body = {
        "job": export.export_id,
        "kind": "export",
        "outcome": outcome,
        "tenant": export.tenant,
        "audience": export.audience,
        "state": export.state,
        "version": known.get("version", export.request.get("version")),
        "counts": {name: known[name] for name in EXPORT_COUNTS if name in known},
        "cause": None
        if export.error is None
        else {"kind": export.error.kind, "code": export.error.code, "message": export.error.message},
        "to": export.request.get("to"),
        "manifest": known.get("manifest"),
        "occurred_at": iso(export.finished_at_ms or export.created_at_ms),
    }
    return context.outbox.write(export.export_id, outcome, [LOG, *recipients], body, now_ms=now_ms)


def tell_unregistered(
    context: Context, event: object, execution: str, cause: Mapping[str, Any], now_ms: int
) -> list[Notification]:
    """Write that an object could not be registered: there is no job, the execution stands for it."""
    body = {
        "job": execution,
        "kind": next((k for k in ("export", "snapshot") if isinstance(event, Mapping) and k in event), "import"),
        "outcome": "not-registered",
        "tenant": None,
        "audience": None,
        "state": None,
        "attempt": None,
        "version": None,
        "counts": {},
        "cause": cause,
        "source": _source(event),
        "occurred_at": iso(now_ms),
    }
    return context.outbox.write(execution, "not-registered", [LOG, *_operators(context)], body, now_ms=now_ms)


def _operators(context: Context) -> list[Recipient]:
    s = context.settings
    try:
        return operators(s.operator_emails, s.operator_webhooks)
    except UserError as exc:  # a typo in the settings must not keep the others from being told
        _log.error("operators are not told: %s", exc)
        return []


def outcome_of(job: Job | Export) -> Outcome:
    """How a job that has ended is told. READY, SUPERSEDED or FAILED."""
    if job.state == "READY":
        return "ready"
    if job.state == "SUPERSEDED":
        return "superseded"
    return "user-error" if job.error is not None and job.error.kind == "user" else "system-error"


def body_of(context: Context, job: Job, outcome: Outcome) -> dict[str, Any]:
    """The message as plain JSON data: no user ids, no secrets."""
    known: Mapping[str, Any] = context.jobs.receipt(job.job_id) or job.evidence or {}
    return {
        "job": job.job_id,
        "kind": "import" if job.segment is None else "snapshot",
        "outcome": outcome,
        "tenant": job.tenant,
        "audience": job.audience,
        "state": job.state,
        "attempt": job.attempt,
        "version": (job.outcome or {}).get("version") if outcome == "ready" else None,
        "superseded_by": (job.outcome or {}).get("superseded_by"),
        "counts": {name: known[name] for name in COUNTS if name in known},
        "cause": None
        if job.error is None
        else {"kind": job.error.kind, "code": job.error.code, "message": job.error.message},
        "source": job.origin,
        "occurred_at": iso(job.finished_at_ms or job.created_at_ms),
    }


def _source(event: object) -> str | None:
    """The object that an execution was started for, as far as its input tells."""
    if not isinstance(event, Mapping):
        return None
    detail = event.get("detail") or {}
    try:
        bucket, key = (
            (event["import"]["bucket"], event["import"]["key"])
            if "import" in event
            else (detail["bucket"]["name"], detail["object"]["key"])
        )
    except (KeyError, TypeError):
        return None
    return f"s3://{bucket}/{key}"


def untold(context: Context, *, finished_before_ms: int, finished_after_ms: int) -> list[JobId]:
    """Jobs whose workflow ended before it could tell anybody."""
    return context.outbox.untold(finished_before_ms=finished_before_ms, finished_after_ms=finished_after_ms)
