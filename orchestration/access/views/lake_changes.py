"""Changes of audiences in the lake: operations, which the control plane carries out within seconds."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestration.access.guard import Entry, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.revisions import AUDIENCE, require_revision, revision_of
from orchestration.access.views.audience_records import AudienceRecordsView
from orchestration.access.views.operations import operation_record
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.operations import LakeChange, Operation
from orchestration.catalog.records import Audience
from orchestration.catalog.references import ref_of
from orchestration.operations import audiences as operations
from orchestration.platform.clock import fresh_id, now_ms
from schemas.ids import JobId, Version, audience_name


class LakeChangesView(AudienceRecordsView):
    """Operations as one caller may start and see them."""

    @recorded(Action.RUN_JOBS, "audiences rollback")
    def rollback(self, entry: Entry, name: str, *, version: int, reason: str, key: RequestKey) -> Record:
        """Publish the members of an older version as a new version.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, NO_SUCH_VERSION, and as `once`; `RetriableError`
        LAKE_UNAVAILABLE, S3_UNAVAILABLE.
        """

        def check(audience: Audience) -> None:
            self._services.histories.version(ref_of(audience), Version(version))

        return self._start(entry, key, "rollback", name, {"version": version, "reason": reason}, check)

    @recorded(Action.MANAGE_AUDIENCES, "audiences compact")
    def compact(self, entry: Entry, name: str, *, target_mb: int, key: RequestKey) -> Record:
        """Publish the current members in fewer files, as a new version.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, NOTHING_PUBLISHED, and as `once`; `RetriableError`
        LAKE_UNAVAILABLE, S3_UNAVAILABLE.
        """

        def check(audience: Audience) -> None:
            operations.require_published(audience, self._services.histories.current(ref_of(audience)))

        return self._start(entry, key, "compact", name, {"target_mb": target_mb}, check)

    @recorded(Action.MANAGE_AUDIENCES, "audiences expire")
    def expire(self, entry: Entry, name: str, *, versions: int | None, days: int | None, key: RequestKey) -> Record:
        """Expire old versions by the audience's retention, or by the given numbers.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, BAD_RETENTION, and as `once`.
        """
        changes = {name: n for name, n in (("versions", versions), ("days", days)) if n is not None}

        def check(audience: Audience) -> None:
            operations.changed_retention(audience.retention, changes)

        return self._start(entry, key, "expire", name, {"versions": versions, "days": days}, check)

    @recorded(Action.MANAGE_AUDIENCES, "audiences rename")
    def rename(self, entry: Entry, name: str, *, new_name: str, seen: str, key: RequestKey) -> Record:
        """Rename an audience. `seen`: the revision that was read.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, STALE_ETAG, AUDIENCE_EXISTS, NAME_TAKEN, AUDIENCE_IN_USE, and as
        `once`.
        """
        services = self._services

        def check(audience: Audience) -> None:
            self._require_seen(audience, seen)
            wanted = audience_name(new_name)
            operations.check_rename(audience, wanted, audiences=services.audiences, segments=services.segments)

        return self._start(entry, key, "rename", name, {"audience": new_name}, check)

    @recorded(Action.MANAGE_AUDIENCES, "audiences delete")
    def delete(self, entry: Entry, name: str, *, seen: str) -> Record:
        """Delete an audience with all its versions. `seen`: the revision that was read.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, STALE_ETAG, AUDIENCE_BUSY, AUDIENCE_IN_USE.
        """
        entry.object = name[:63]
        audience = self._find(name)
        self._require_seen(audience, seen)
        operations.check_delete(audience, jobs=self._services.jobs, segments=self._services.segments)
        return operation_record(self._add(fresh_id(), now_ms(), "delete", audience, {}))

    def _require_seen(self, audience: Audience, seen: str) -> None:
        require_revision(revision_of(self._audience_record(audience), AUDIENCE), seen)

    def _find(self, name: str) -> Audience:
        return self._services.audiences.get(self._name, audience_name(name))

    def _start(
        self,
        entry: Entry,
        key: RequestKey,
        kind: LakeChange,
        name: str,
        request: Mapping[str, Any],
        check: Callable[[Audience], None],
    ) -> Record:
        entry.object, entry.arguments = name[:63], request

        def start(claim: Claim) -> Record:
            audience = self._find(name)
            check(audience)
            return operation_record(self._add(claim.job_id, claim.at_ms, kind, audience, request))

        value = once(self._services, self._caller, self._name, key, start)
        entry.job_id = value["operation"]
        return value

    def _add(
        self, operation_id: JobId, at_ms: int, kind: LakeChange, audience: Audience, request: Mapping[str, Any]
    ) -> Operation:
        new = Operation(
            operation_id=operation_id,
            tenant=self._name,
            kind=kind,
            action=Action.READ.value,
            audience_id=audience.audience_id,
            audience=audience.name,
            request=request,
            created_at_ms=at_ms,
        )
        self._services.operations.add(new)
        return new
