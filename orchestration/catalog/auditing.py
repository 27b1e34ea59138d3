"""Writes actions to the audit trail: those of people (`cli.audit_trail`) and automatic ones."""

import logging
from collections.abc import Mapping
from typing import Any

from orchestration.catalog.audit import AuditEntry, AuditTrail
from orchestration.catalog.records import Export, Job
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import RetriableError
from schemas.ids import JobId

_log = logging.getLogger("muster.audit")


def record(
    trail: AuditTrail,
    actor: str,
    action: str,
    object_: str,
    *,
    job_id: JobId | None = None,
    arguments: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    error: str | None = None,
    tenant: str | None = None,
    principal: str | None = None,
    token: str | None = None,
    request_id: str | None = None,
    session: str | None = None,
) -> bool:
    """Write an entry. If that fails, the action still stands: the entry goes to the log, and the result is False."""
    entry = AuditEntry(
        entry_id=fresh_id(),
        at_ms=now_ms(),
        actor=actor,
        action=action,
        object=object_,
        job_id=job_id,
        arguments=arguments or {},
        before=before,
        after=after,
        error=error,
        tenant=tenant,
        principal=principal,
        token=token,
        request_id=request_id,
        session=session,
    )
    try:
        trail.append(entry)
    except RetriableError as exc:
        _log.error("missing in the audit trail, %s: %s", exc, entry)
        return False
    return True


def record_automatic(trail: AuditTrail, actor: str, action: str, job: "Job | Export", after: Mapping[str, Any]) -> None:
    """Record an action that a part of Muster took on a job."""
    attempt = {"attempt": job.attempt} if isinstance(job, Job) else {}
    before = {"state": job.state, **attempt, "execution": job.execution}
    object_ = f"{job.tenant}/{job.audience}"
    record(trail, actor, action, object_, job_id=job.job_id, before=before, after=after, tenant=job.tenant)
