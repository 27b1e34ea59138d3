"""Jobs of a tenant: imports, snapshots and exports."""

from collections.abc import Collection
from typing import Any

from orchestration.access.authentication import Caller
from orchestration.access.guard import Note, reads, recorded
from orchestration.access.pages import Page, Record, page_of
from orchestration.access.policy import Action
from orchestration.access.stores import Stores
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.life_cycle import Tenants
from orchestration.catalog.records import Export, Job
from orchestration.operations.follow import ExportView
from orchestration.operations.job_records import any_record, export_view_record, view_record
from orchestration.operations.job_search import KINDS, JobKind
from orchestration.operations.notifying import notification_record
from orchestration.platform.clock import now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import ReadRejects
from schemas.errors import UserError
from schemas.ids import (
    JobId,
    TenantName,
    job_id,
)


class JobsView(TenantView):
    """Jobs as one caller sees them."""

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
        return job_detail(self._stores, self._caller, id_, tenant=self._name)

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
        return _counted_rejects(self._rejected(note, id_))

    @recorded(Action.READ_REJECTS, "rejects")
    def rejected_rows(
        self,
        note: Note,
        cancellation: Cancellation,
        id_: str,
        *,
        code: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> tuple[Record, Page]:
        """As `rejects`, and the rows [with a code], in the order of the file. Raises also as `Readers.ask`."""
        job = self._rejected(note, id_)
        note.arguments = {"code": code}
        skip = 0 if after is None else int(after)
        question = ReadRejects(tenant=self._name, job=job.job_id, code=code, skip=skip, limit=limit + 1)
        found = self._stores.readers.ask(question, cancellation)
        rows = page_of(found, limit, lambda row: str(row["number"]), lambda row: row)
        return _counted_rejects(job), rows

    def _rejected(self, note: Note, id_: str) -> Job:
        job = self._import(id_, "NO_REJECTS")
        note.object, note.job_id = job.audience, job.job_id
        return job

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


def job_detail(stores: Stores, caller: Caller, id_: str, *, tenant: Tenants) -> Record:
    """All of a job of one of these tenants. Who is notified is shown to those who manage audiences.

    Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB.
    """
    wanted = job_id(id_)
    view = stores.job_progress.any_view(wanted, now_ms(), tenant=tenant)
    if view is None:
        raise unknown_job(wanted)
    job = view.export if isinstance(view, ExportView) else view.job
    addresses = Action.MANAGE_AUDIENCES in caller.rights.in_tenant(TenantName(job.tenant))
    notifications = [
        {**notice, "recipient": notice["recipient"] if addresses else None}
        for notice in map(notification_record, stores.outbox.by_subject(job.job_id))
    ]
    if isinstance(view, ExportView):
        return {
            **export_view_record(view, stores.exports.history(job.job_id)),
            "notifications": notifications,
        }
    return {
        **view_record(view, stores.jobs.history(job.job_id), stores.jobs.attempt_reports(job.job_id)),
        "notifications": notifications,
        "duplicate_of": view.duplicate_of,
    }


def _counted_rejects(job: Job) -> dict[str, Any]:
    counted = job.evidence or {}
    return {
        "job": job.job_id,
        "rejected": counted.get("rejected"),
        "rejected_by_code": counted.get("rejected_by_code", {}),
    }
