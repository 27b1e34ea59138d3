"""Notices about ended jobs: decides who is notified of what, and writes rows to the outbox."""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from orchestration.catalog.operations import Operation
from orchestration.catalog.records import Audience, Export, Job, JobError
from orchestration.notifications.courier import Backoff, Courier
from orchestration.notifications.outbox import Notification, Outbox, Outcome
from orchestration.notifications.recipients import Recipient, RecipientStore, operators
from orchestration.platform.clock import iso
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.job_kinds import JOB_KINDS, REQUEST_KINDS

LOG: Final = Recipient(channel="log", address="")
"""Every notice goes to the log too; its row shows that the outcome of a job has been handled."""
COUNTS: Final = ("rows", "accepted", "rejected", "duplicates", "distinct", "stored", "members")
EXPORT_COUNTS: Final = ("rows", "files", "bytes")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Writes notices to the outbox. `receipt`: looks up a job's receipt, or None; `settings` name the operators.

    Every method that writes is one transaction, may be repeated, and returns the new rows. Outages of the catalog raise
    `RetriableError` CATALOG_UNAVAILABLE.
    """

    outbox: Outbox
    recipients: RecipientStore
    receipt: Callable[[JobId], Mapping[str, Any] | None]
    settings: Settings

    def courier(self) -> Courier:
        """A courier that delivers the rows of the outbox."""
        s = self.settings
        backoff = Backoff(first_s=s.notify_first_retry_s, tries=s.notify_tries)
        return Courier(self.outbox, s, backoff=backoff, dice=random.SystemRandom())

    def write_for_job(self, job: Job, outcome: Outcome, now_ms: int) -> list[Notification]:
        """Notices of an import or a snapshot: to customers about their files, to operators about system errors."""
        if outcome in {"system-error", "not-registered"}:
            recipients = self._operators()
        else:
            recipients = self.recipients.notified(job.tenant, job.audience_id)
        body = body_of(job, outcome, self.receipt(job.job_id))
        return self.outbox.write(job.job_id, outcome, [LOG, *recipients], body, now_ms=now_ms)

    def write_for_export(self, export: Export, outcome: Outcome, now_ms: int) -> list[Notification]:
        """Notices of an export, otherwise as `write_for_job`."""
        if outcome == "system-error":
            recipients = self._operators()
        else:
            recipients = self.recipients.notified(export.tenant, export.audience_id)
        known: Mapping[str, Any] = export.outcome or {}
        body = {
            "job": export.job_id,
            "kind": "export",
            "outcome": outcome,
            "tenant": export.tenant,
            "audience": export.audience,
            "state": export.state,
            "version": known.get("version", export.request.get("version")),
            "counts": {name: known[name] for name in EXPORT_COUNTS if name in known},
            "cause": _cause(export.error),
            "to": export.request.get("to"),
            "manifest": known.get("manifest"),
            "occurred_at": iso(export.finished_at_ms or export.created_at_ms),
        }
        return self.outbox.write(export.job_id, outcome, [LOG, *recipients], body, now_ms=now_ms)

    def write_for_unregistered(
        self, event: object, execution: str, cause: Mapping[str, Any], now_ms: int
    ) -> list[Notification]:
        """Notices of an execution that could not register a job; the execution takes the place of the job."""
        body = {
            "job": execution,
            "kind": next((kind for kind in REQUEST_KINDS if isinstance(event, Mapping) and kind in event), "import"),
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
        return self.outbox.write(execution, "not-registered", [LOG, *self._operators()], body, now_ms=now_ms)

    def write_for_folder(
        self, audience: Audience, uri: str, last: datetime, fault: UserError, now_ms: int
    ) -> list[Notification]:
        """Notices of a folder in the inbox that is not imported, in its state after the file that came `last`."""
        subject = f"folder {sha256(f'{uri} {fault.code} {last.isoformat()}'.encode()).hexdigest()[:24]}"
        cause = {"kind": fault.kind, "code": fault.code, "message": fault.message}
        body = {
            "job": subject,
            "kind": "import",
            "outcome": "not-registered",
            "tenant": audience.tenant,
            "audience": audience.name,
            "state": None,
            "attempt": None,
            "version": None,
            "counts": {},
            "cause": cause,
            "source": uri,
            "occurred_at": iso(now_ms),
        }
        recipients = self.recipients.notified(audience.tenant, audience.audience_id)
        return self.outbox.write(subject, "not-registered", [LOG, *recipients], body, now_ms=now_ms)

    def _operators(self) -> list[Recipient]:
        try:
            return operators(self.settings.operator_emails, self.settings.operator_webhooks)
        except UserError as exc:  # a typo in the settings must not keep the others from being notified
            _log.error("cannot notify the operators: %s", exc)
            return []


def notification_of_test(one: Operation) -> Notification:
    """The test notification that an operation asks for: in no outbox, so that nothing sends it later."""
    body: dict[str, Any] = {
        "id": one.operation_id,
        "job": one.operation_id,
        "kind": "test",
        "outcome": "test",
        "tenant": one.tenant,
        "audience": one.audience,
        "state": None,
        "attempt": None,
        "version": None,
        "counts": {},
        "cause": None,
        "source": None,
        "occurred_at": iso(one.created_at_ms),
    }
    return Notification(
        notification_id=one.operation_id,
        subject=one.operation_id,
        outcome="test",
        channel=one.request["channel"],
        address=one.request["address"],
        tenant=one.tenant,
        body=body,
        attempts=0,
        created_at_ms=one.created_at_ms,
        next_attempt_at_ms=None,
        delivered_at_ms=None,
        last_error=None,
    )


def outcome_of(job: Job | Export) -> Outcome:
    """The outcome to report for a job in READY, SUPERSEDED or FAILED."""
    if job.state == "READY":
        return "ready"
    if job.state == "SUPERSEDED":
        return "superseded"
    return "user-error" if job.error is not None and job.error.kind == "user" else "system-error"


def body_of(job: Job, outcome: Outcome, receipt: Mapping[str, Any] | None) -> dict[str, Any]:
    """The notification as plain JSON data: no user ids, no secrets."""
    known: Mapping[str, Any] = receipt or job.evidence or {}
    return {
        "job": job.job_id,
        "kind": JOB_KINDS[job.shown_kind].request,
        "outcome": outcome,
        "tenant": job.tenant,
        "audience": job.audience,
        "state": job.state,
        "attempt": job.attempt,
        "version": (job.outcome or {}).get("version") if outcome == "ready" else None,
        "superseded_by": (job.outcome or {}).get("superseded_by"),
        "counts": {name: known[name] for name in COUNTS if name in known},
        "cause": _cause(job.error),
        "source": job.origin,
        "occurred_at": iso(job.finished_at_ms or job.created_at_ms),
    }


def _cause(error: JobError | None) -> dict[str, Any] | None:
    return None if error is None else {"kind": error.kind, "code": error.code, "message": error.message}


def _source(event: object) -> str | None:
    """The object that an execution was started for, if its input names one."""
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
