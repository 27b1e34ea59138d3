"""What a caller may see and do in one tenant. The only way from the API and the console to the catalog.

Every method requires an action first (`guard`). A tenant without a grant is unknown, and so is everything of another
tenant: the tenant is in the same statement as the id. Values are plain JSON data, as the command line prints them.
"""

from collections.abc import Collection, Sequence

from orchestration.access.authentication import Caller
from orchestration.access.grant_changes import replace_grants
from orchestration.access.grants import grants_record, revision, token_record
from orchestration.access.guard import Note, View, reads, recorded
from orchestration.access.new_tokens import make_token
from orchestration.access.pages import Page, Record, page_of
from orchestration.access.policy import Action, Rights, Role
from orchestration.access.stores import Stores
from orchestration.access.tokens import Token
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.records import Export, Job
from orchestration.catalog.references import ref_of
from orchestration.operations.audiences import audience_record, version_record
from orchestration.operations.audits import entry_record
from orchestration.operations.follow import ExportView
from orchestration.operations.job_records import any_record, export_view_record, view_record
from orchestration.operations.job_search import KINDS, JobKind
from orchestration.operations.notifying import recipients_record
from orchestration.operations.schedule_records import schedule_record
from orchestration.operations.segment_records import partition_record, rule_version_record, segment_record
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from schemas.ids import (
    NAME_PATTERN,
    JobId,
    TenantName,
    Version,
    audience_name,
    job_id,
    schedule_name,
    segment_name,
)
from segmentation.publishing import require_version


class TenantView(View):
    """A tenant as one caller sees it.

    Raises `UserError` UNKNOWN_TENANT without any right in it, whether or not it exists. Its methods raise FORBIDDEN,
    and `RetriableError` CATALOG_UNAVAILABLE.
    """

    def __init__(self, stores: Stores, caller: Caller, tenant: str) -> None:
        known = NAME_PATTERN.fullmatch(tenant) is not None
        self._name = TenantName(tenant if known else "")
        super().__init__(stores, caller, tenant=self._name)
        if not known or not self.permitted:
            raise _unknown_tenant(tenant)
        if self._name not in caller.rights.tenants:  # a role in every tenant says nothing of this one
            try:
                stores.audiences.require_tenant(self._name)
            except UserError as exc:
                raise _unknown_tenant(tenant) from exc

    @reads(Action.READ_JOBS)
    def jobs(
        self,
        *,
        kinds: Collection[JobKind] = (),
        audience: str | None = None,
        states: Collection[str] = (),
        before: str | None = None,
        limit: int,
    ) -> Page:
        """Jobs of these kinds in one of these states (empty: all), newest first. Raises `UserError` UNKNOWN_STATE."""
        found = self._stores.all_jobs.search(
            kinds=kinds or KINDS,
            tenant=self._name,
            audience=audience,
            states=states,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return page_of(found, limit, lambda job: job.job_id, any_record)

    @reads(Action.READ_JOBS)
    def job(self, id_: str) -> Record:
        """A job of any kind with its history and progress; for a duplicate, its original.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB.
        """
        wanted = job_id(id_)
        view = self._stores.job_progress.any_view(wanted, now_ms(), tenant=self._name)
        if view is None:
            raise unknown_job(wanted)
        if isinstance(view, ExportView):
            return export_view_record(view, self._stores.exports.history(view.export.job_id))
        found = view.job.job_id
        history, attempts = self._stores.jobs.history(found), self._stores.jobs.attempt_reports(found)
        return {**view_record(view, history, attempts), "duplicate_of": view.duplicate_of}

    @reads(Action.READ_JOBS)
    def receipt(self, id_: str) -> Record:
        """The receipt of a job. Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NO_RECEIPT."""
        job = self._import(id_, "NO_RECEIPT")
        found = self._stores.jobs.receipt(job.job_id, tenant=self._name)
        if found is None:
            raise UserError("NO_RECEIPT", f"job {job.job_id} is {job.state} and has no receipt", state=job.state)
        return found

    @recorded(Action.READ_REJECTS, "rejects")
    def rejects(self, note: Note, id_: str) -> Record:
        """How many rows of a job were rejected, by code; None before they are counted.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NO_REJECTS.
        """
        job = self._import(id_, "NO_REJECTS")
        note.object, note.job_id = job.audience, job.job_id
        counted = job.evidence or {}
        return {
            "job": job.job_id,
            "rejected": counted.get("rejected"),
            "rejected_by_code": counted.get("rejected_by_code", {}),
        }

    @reads(Action.READ)
    def audiences(self, *, after: str = "", limit: int) -> Page:
        """Audiences by name."""
        found = self._stores.audiences.page(self._name, after=after, limit=limit + 1)
        return page_of(found, limit, lambda audience: audience.name, audience_record)

    @reads(Action.READ)
    def audience(self, name: str) -> Record:
        """The audience of that name. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE."""
        return audience_record(self._stores.audiences.get(self._name, audience_name(name)))

    @reads(Action.READ)
    def versions(self, name: str, *, before: str | None = None, limit: int) -> Page:
        """Kept versions of an audience, newest first, with whether each is pinned. Raises as `audience`."""
        audience = self._stores.audiences.get(self._name, audience_name(name))
        pins, oldest = self._stores.audiences.pins(audience.audience_id), None if before is None else int(before)
        kept = self._stores.histories.of(audience).versions
        found = [info for info in reversed(kept) if oldest is None or info.version < oldest]
        return page_of(
            found,
            limit,
            lambda info: str(info.version),
            lambda info: {**version_record(info), "pinned": info.version in pins},
        )

    @reads(Action.READ)
    def version(self, name: str, number: int) -> Record:
        """One kept version of an audience. Raises as `audience`, and `UserError` NO_SUCH_VERSION."""
        audience = self._stores.audiences.get(self._name, audience_name(name))
        history = self._stores.histories.of(audience)
        info = require_version(history, ref_of(audience), Version(number))
        return {**version_record(info), "pinned": info.version in self._stores.audiences.pins(audience.audience_id)}

    @reads(Action.READ)
    def segments(self, *, after: str = "", limit: int) -> Page:
        """Segments by name, with their sizes."""
        found, now = self._stores.segments.page(self._name, after=after, limit=limit + 1), now_ms()
        partitions = self._stores.partitions
        return page_of(found, limit, lambda one: one.segment.name, lambda one: segment_record(one, partitions, now))

    @reads(Action.READ)
    def segment(self, name: str) -> Record:
        """The segment of that name, with its partitions. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT."""
        found = self._stores.segments.overview(self._name, segment_name(name))
        return {
            **segment_record(found, self._stores.partitions, now_ms()),
            "of_partitions": [partition_record(one) for one in found.partitions.values()],
        }

    @reads(Action.READ)
    def segment_versions(self, name: str) -> Sequence[Record]:
        """All rules of a segment, oldest first. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT."""
        versions = self._stores.segments.versions_of(self._name, segment_name(name))
        return [rule_version_record(version) for version in versions]

    @reads(Action.READ)
    def schedules(self, *, after: str = "", limit: int) -> Page:
        """Schedules by name."""
        found = self._stores.schedules.page(self._name, after=after, limit=limit + 1)
        jobs, exports = self._stores.jobs, self._stores.exports
        return page_of(found, limit, lambda one: one.name, lambda one: schedule_record(jobs, exports, one))

    @reads(Action.READ)
    def schedule(self, name: str) -> Record:
        """The schedule of that name. Raises `UserError` BAD_NAME, UNKNOWN_SCHEDULE."""
        found = self._stores.schedules.get(self._name, schedule_name(name))
        return schedule_record(self._stores.jobs, self._stores.exports, found)

    @reads(Action.MANAGE_AUDIENCES)
    def recipients(self, audience: str | None = None) -> Sequence[Record]:
        """Recipients of notices about an audience, or about all of the tenant. Raises as `audience`."""
        if audience is None:
            return recipients_record(self._stores.recipients.get(self._name, None))
        found = self._stores.audiences.get(self._name, audience_name(audience))
        return recipients_record(self._stores.recipients.get(self._name, found.audience_id))

    @reads(Action.MANAGE_ACCESS)
    def grants(self) -> tuple[Record, str]:
        """The roles in the tenant, and their revision."""
        held = self._stores.principals.grants(self._name)
        return grants_record(held), revision(held)

    @recorded(Action.MANAGE_ACCESS, "grants replace")
    def replace_grants(
        self, note: Note, items: Sequence[tuple[JobId, Collection[Role]]], *, seen: str
    ) -> tuple[Record, str]:
        """Replace all roles in the tenant; returns them and their revision. `seen`: the revision that was read.

        Raises `UserError` STALE_ETAG, UNKNOWN_ROLE, UNKNOWN_PRINCIPAL, DUPLICATE_PRINCIPAL, LAST_ADMINISTRATOR.
        """
        return replace_grants(self._stores, note, self._name, items, seen=seen)

    @reads(Action.OWN_ACCOUNT)
    def tokens(self, *, before: str | None = None, limit: int) -> Page:
        """Tokens that reach the tenant, newest first: the caller's own, or all for those who manage access."""
        found = self._stores.tokens.page(
            principal_id=self._only_own(),
            scope=self._name,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return page_of(found, limit, lambda one: one.token_id, lambda one: token_record(one, {self._name}))

    @recorded(Action.OWN_ACCOUNT, "tokens create")
    def create_token(
        self, note: Note, *, name: str, roles: Collection[Role], days: int | None, principal: str | None = None
    ) -> tuple[Record, Token]:
        """A token that reaches this tenant alone: of the caller, or of a service account of the tenant.

        Raises as `make_token`, and UNKNOWN_PRINCIPAL.
        """
        note.object = "tokens"
        note.arguments = {"name": name, "roles": sorted(roles), "days": days, "principal": principal}
        owner, limit = self._caller.principal.principal_id, self._caller.rights
        if principal is not None and principal != owner:
            self.require(Action.MANAGE_ACCESS)
            owner, limit = self._service_account(principal)
        cap = {(self._name, role) for role in roles}
        token, secret = make_token(self._stores.tokens, owner=owner, name=name, cap=cap, limit=limit, days=days)
        note.after = token_record(token)
        return token_record(token), secret

    @recorded(Action.OWN_ACCOUNT, "tokens revoke")
    def revoke_token(self, note: Note, id_: str) -> Record:
        """Take the tenant from a token, and revoke one that reaches no other. Raises `UserError` UNKNOWN_TOKEN."""
        note.object, note.arguments = "tokens", {"token": id_[:26]}
        found = self._stores.tokens.revoke_in(job_id(id_), self._name, principal_id=self._only_own(), now_ms=now_ms())
        note.after = token_record(found, {self._name})
        return note.after

    @reads(Action.MANAGE_ACCESS)
    def audit(
        self,
        *,
        audience: str | None = None,
        job: str | None = None,
        since_ms: int = 0,
        before: str | None = None,
        limit: int,
    ) -> Page:
        """Entries of the audit trail, newest first: [of an audience] [of a job] [since a time]."""
        found = self._stores.audit.page(
            self._name,
            object_=None if audience is None else f"{self._name}/{audience}",
            job_id=None if job is None else job_id(job),
            since_ms=since_ms,
            before=None if before is None else JobId(before),
            limit=limit + 1,
        )
        return page_of(found, limit, lambda entry: entry.entry_id, entry_record)

    def _import(self, id_: str, code_of_exports: str) -> Job:
        """An import or a snapshot; for a duplicate, its original."""
        wanted = job_id(id_)
        found = self._stores.all_jobs.find(wanted, tenant=self._name)
        if found is None:
            raise unknown_job(wanted)
        if isinstance(found, Export):
            raise UserError(
                code_of_exports, f"job {wanted} is an export; its manifest says what it has written", job=wanted
            )
        return found

    def _only_own(self) -> JobId | None:
        return None if Action.MANAGE_ACCESS in self.permitted else self._caller.principal.principal_id

    def _service_account(self, wanted: str) -> tuple[JobId, Rights]:
        """A service account with a role in the tenant, and its rights there."""
        for one in self._stores.principals.grants(self._name):
            if one.principal.principal_id == wanted and one.principal.kind == "service":
                return one.principal.principal_id, Rights.of((self._name, role) for role in one.roles)
        raise UserError(
            "UNKNOWN_PRINCIPAL",
            f"tenant {self._name} has no service account {wanted[:26]}; people make their own tokens",
            principal=wanted[:26],
        )


def _unknown_tenant(tenant: str) -> UserError:
    return UserError(
        "UNKNOWN_TENANT", f"there is no tenant {tenant[:63]!r}, or you have no role in it", tenant=tenant[:63]
    )
