"""Expires old versions by the retention of their audience.

Each audience is checked about once an hour, one per tick, so that the lane is never blocked for long.
"""

import logging
from typing import Final

from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.auditing import record
from orchestration.catalog.jobs import JobStore
from orchestration.operations.audiences import expire
from schemas.errors import MusterError
from schemas.ids import JobId
from schemas.topics import HOUR_MS
from segmentation.versions import VersionStore

_log: Final = logging.getLogger(__name__)


class ExpiredVersions:
    """Expires versions."""

    def __init__(self, audiences: AudienceStore, jobs: JobStore, versions: VersionStore, audit: AuditTrail) -> None:
        self._audiences = audiences
        self._jobs = jobs
        self._versions = versions
        self._audit = audit
        self._expired_ms: dict[JobId, int] = {}

    def tick(self, now_ms: int) -> None:
        """Expire versions of the next audience if its hour has passed. A failure is logged."""
        audiences = self._audiences.all(awaited=True)  # a failed import may have left files
        self._expired_ms = {a.audience_id: self._expired_ms.get(a.audience_id, 0) for a in audiences}
        due = next((a for a in audiences if now_ms - self._expired_ms[a.audience_id] > HOUR_MS), None)
        if due is None:
            return
        self._expired_ms[due.audience_id] = now_ms
        try:
            expired = expire(self._audiences, self._jobs, self._versions, due, versions=None, days=None)
        except MusterError as exc:
            _log.warning("cannot expire versions of %s/%s: %s", due.tenant, due.name, exc)
            return
        if expired.versions or expired.files:
            _log.info(
                "%s/%s: expired versions %s, %d files", due.tenant, due.name, list(expired.versions), expired.files
            )
            removed = {"versions": list(expired.versions), "files": expired.files}
            record(self._audit, "sweeper", "expire", f"{due.tenant}/{due.name}", after=removed)
