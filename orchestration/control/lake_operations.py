"""Carries out changes of the lake that the service was asked for, which loads neither pyiceberg nor DuckDB.

Each may run twice: a version is published once for the id of its operation, and an audience that was renamed or
deleted by a run that died is found by its id. An outage leaves an operation pending.
"""

import logging
from collections.abc import Mapping
from typing import Any

from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.auditing import record
from orchestration.catalog.consent import ConsentStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.operations import LAKE_CHANGES, Operation, OperationStore
from orchestration.catalog.records import Audience
from orchestration.catalog.segments import SegmentStore
from orchestration.operations import audiences as operations
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.log_ids import bound
from schemas.records import as_record
from segmentation.versions import VersionStore

MOVED = "VERSION_MOVED"
"""A version was published in the meantime: whether to go back is for the caller to decide anew."""
_log = logging.getLogger(__name__)


class LakeOperations:
    """Carries them out, the oldest first."""

    def __init__(
        self,
        store: OperationStore,
        *,
        audiences: AudienceStore,
        consent: ConsentStore,
        jobs: JobStore,
        segments: SegmentStore,
        versions: VersionStore,
        audit: AuditTrail,
    ) -> None:
        self._store = store
        self._audiences = audiences
        self._consent = consent
        self._jobs = jobs
        self._segments = segments
        self._versions = versions
        self._audit = audit

    def tick(self, now_ms: int) -> bool:
        """Carry out what is pending; returns True if some of it is still pending, after an outage."""
        left = False
        for one in self._store.pending(LAKE_CHANGES):
            with bound(tenant=one.tenant):
                left |= not self._run(one, now_ms)
        return left

    def _run(self, one: Operation, now_ms: int) -> bool:
        try:
            result = self._carry_out(one)
        except (UserError, FatalError) as exc:
            self._fail(one, exc, now_ms)
        except RetriableError as exc:
            if exc.code != MOVED:
                _log.warning("operation %s, %s of %s, has to wait: %s", one.operation_id, one.kind, one.audience, exc)
                return False
            self._fail(one, exc, now_ms)
        else:
            self._store.finish(one.operation_id, result, now_ms=now_ms)
            self._record(one, dict(result), None)
        return True

    def _carry_out(self, one: Operation) -> Mapping[str, Any]:
        audience = None if one.audience_id is None else self._audiences.by_id(one.audience_id)
        if audience is None:
            if one.kind == "delete":  # by a run that died before it said so
                return {"deleted": one.audience}
            raise UserError("AUDIENCE_DELETED", f"audience {one.audience} has been deleted", audience=one.audience)
        match one.kind:
            case "rollback":
                request = one.request
                done = operations.rollback(
                    self._versions, audience, request["version"], request["reason"], operation=one.operation_id
                )
                return {**as_record(done), "digest": str(done.digest)}
            case "compact":
                size = one.request["target_mb"] * 1_000_000
                done = operations.compact(self._versions, audience, size, operation=one.operation_id)
                return {**as_record(done), "digest": str(done.digest)}
            case "expire":
                return self._expire(audience, one.request)
            case "rename":
                return self._rename(audience, one.request["audience"])
            case "delete":
                operations.delete(
                    audience,
                    audiences=self._audiences,
                    jobs=self._jobs,
                    segments=self._segments,
                    versions=self._versions,
                    consent=self._consent,
                )
                return {"deleted": one.audience}
            case _:
                raise AssertionError(f"{one.kind} is not pending for the control plane")

    def _expire(self, audience: Audience, request: Mapping[str, Any]) -> Mapping[str, Any]:
        expired = operations.expire(
            self._audiences,
            self._jobs,
            self._versions,
            audience,
            versions=request["versions"],
            days=request["days"],
        )
        return {"versions": list(expired.versions), "files": expired.files, "bytes": expired.bytes}

    def _rename(self, audience: Audience, name: str) -> Mapping[str, Any]:
        if audience.name == name:
            return as_record(audience.shown)
        renamed = operations.rename(
            audience, name, audiences=self._audiences, segments=self._segments, versions=self._versions
        )
        return as_record(renamed.shown)

    def _fail(self, one: Operation, error: MusterError, now_ms: int) -> None:
        if isinstance(error, FatalError):
            _log.error("operation %s, %s of %s, failed: %s", one.operation_id, one.kind, one.audience, error)
        self._store.finish(one.operation_id, error, now_ms=now_ms)
        self._record(one, None, error.code)

    def _record(self, one: Operation, after: dict[str, Any] | None, error: str | None) -> None:
        object_ = f"{one.tenant}/{one.audience}"
        record(
            self._audit,
            f"operation {one.operation_id}",
            f"audiences {one.kind}",
            object_,
            after=after,
            error=error,
            tenant=one.tenant,
        )
