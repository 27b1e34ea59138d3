"""Changes of audiences in the lake: operations, which the control plane carries out within seconds."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestration.access.bodies.common import Shape
from orchestration.access.bodies.operations import Compaction, Expiration, Rename, Rollback
from orchestration.access.guard import Entry, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.policy import Action
from orchestration.access.problems import OF_THE_LAKE
from orchestration.access.revisions import Seen, unchanged
from orchestration.access.views.audiences import with_recipients
from orchestration.access.views.tenant import TenantView
from orchestration.catalog import operations as rows
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.records import Audience
from orchestration.catalog.references import ref_of
from orchestration.operations import audiences as operations
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records import audiences as answers
from orchestration.records.operations import LakeChange, Operation
from schemas.ids import JobId, Version, audience_name


class LakeChanges(TenantView):
    """Changes of the lake as one caller may begin them."""

    @recorded(
        Action.RUN_JOBS,
        "audiences rollback",
        "POST /audiences/{audience}/rollbacks",
        status=202,
        problems=(*OF_THE_LAKE, "NO_SUCH_VERSION"),
    )
    def roll_back(self, entry: Entry, audience: str, body: Rollback, *, key: RequestKey) -> Operation:
        """Publish the members of an older version as a new version."""

        def check(found: Audience) -> None:
            self._services.histories.version(ref_of(found), Version(body.version))

        return self._start(entry, key, "rollback", audience, body, check)

    @recorded(
        Action.MANAGE_AUDIENCES,
        "audiences compact",
        "POST /audiences/{audience}/compactions",
        status=202,
        problems=(*OF_THE_LAKE, "NOTHING_PUBLISHED"),
    )
    def compact_audience(self, entry: Entry, audience: str, body: Compaction, *, key: RequestKey) -> Operation:
        """Publish the current members in fewer files, as a new version."""

        def check(found: Audience) -> None:
            operations.require_published(found, self._services.histories.current(ref_of(found)))

        return self._start(entry, key, "compact", audience, body, check)

    @recorded(
        Action.MANAGE_AUDIENCES,
        "audiences expire",
        "POST /audiences/{audience}/expirations",
        status=202,
        problems=("BAD_RETENTION",),
    )
    def expire_versions(self, entry: Entry, audience: str, body: Expiration, *, key: RequestKey) -> Operation:
        """Expire old versions now, by the audience's retention or by other numbers."""

        def check(found: Audience) -> None:
            operations.changed_retention(found.retention, body.model_dump(exclude_none=True))

        return self._start(entry, key, "expire", audience, body, check)

    @recorded(
        Action.MANAGE_AUDIENCES,
        "audiences rename",
        "POST /audiences/{audience}/renames",
        status=202,
        problems=("AUDIENCE_EXISTS", "NAME_TAKEN", "AUDIENCE_IN_USE"),
    )
    def rename_audience(self, entry: Entry, audience: str, body: Rename, *, seen: Seen, key: RequestKey) -> Operation:
        """Rename an audience. Its versions and jobs stay with it."""
        services = self._services

        def check(found: Audience) -> None:
            self._require_seen(found, seen)
            wanted = audience_name(body.audience)
            operations.check_rename(found, wanted, audiences=services.audiences, segments=services.segments)

        return self._start(entry, key, "rename", audience, body, check)

    @recorded(
        Action.MANAGE_AUDIENCES,
        "audiences delete",
        "DELETE /audiences/{audience}",
        status=202,
        problems=("AUDIENCE_BUSY", "AUDIENCE_IN_USE"),
    )
    def delete_audience(self, entry: Entry, audience: str, *, seen: Seen) -> Operation:
        """Delete an audience with all its versions, for good. Its jobs and receipts stay."""
        entry.object = audience[:63]
        found = self._audience(audience)
        self._require_seen(found, seen)
        operations.check_delete(
            found, jobs=self._services.jobs, segments=self._services.segments, consent=self._services.consent
        )
        return self._add(fresh_id(), now_ms(), "delete", found, {})

    def _require_seen(self, audience: Audience, seen: Seen) -> None:
        unchanged(answers.Audience.revision, seen)(with_recipients(self._services, audience))

    def _start(
        self,
        entry: Entry,
        key: RequestKey,
        kind: LakeChange,
        name: str,
        body: Shape,
        check: Callable[[Audience], None],
    ) -> Operation:
        entry.object, entry.arguments = name[:63], body.model_dump()

        def start(claim: Claim) -> Operation:
            audience = self._audience(name)
            check(audience)
            return self._add(claim.job_id, claim.at_ms, kind, audience, body.model_dump())

        begun = once(Operation, self._services, self._caller, self._name, key, start)
        entry.job_id = JobId(begun.operation)
        return begun

    def _add(
        self, operation_id: JobId, at_ms: int, kind: LakeChange, audience: Audience, request: Mapping[str, Any]
    ) -> Operation:
        new = rows.Operation(
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
        return new.shown(at_ms)
