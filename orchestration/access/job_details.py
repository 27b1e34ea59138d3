"""Pages of jobs, and one job with its history, progress and notifications."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Annotated

from orchestration.access.authentication import Caller
from orchestration.access.pages import Page, page_of
from orchestration.access.policy import Action
from orchestration.catalog.job_filters import ALL_JOBS, JobFilter
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.life_cycle import Tenants
from orchestration.composition.service import Services
from orchestration.operations.follow import ExportView
from orchestration.operations.job_records import export_view_record, view_record
from orchestration.platform.clock import now_ms
from orchestration.records.fields import About
from orchestration.records.jobs import ExportJobDetail, ImportJobDetail, Job
from schemas.ids import JobId, TenantName
from schemas.job_kinds import JOB_KINDS, JobKind

Kinds = Annotated[list[JobKind] | None, About("Repeatable; default: all kinds.")]
States = Annotated[list[str] | None, About("Repeatable; default: all states.", max_length=20)]


def addresses_for(caller: Caller) -> Callable[[TenantName], bool]:
    """Whether a caller sees who is notified in a tenant: those who manage audiences do."""
    return lambda tenant: Action.MANAGE_AUDIENCES in caller.rights.in_tenant(tenant)


def job_detail(
    services: Services, wanted: JobId, *, tenant: Tenants, addresses: Callable[[TenantName], bool]
) -> ImportJobDetail | ExportJobDetail:
    """A job of one of these tenants, of any kind; for a duplicate, its original. Raises `UserError` UNKNOWN_JOB.

    `addresses`: whether the recipients of its notices are shown, by tenant.
    """
    view = services.job_progress.any_view(wanted, now_ms(), tenant=tenant)
    if view is None:
        raise unknown_job(wanted)
    job = view.export if isinstance(view, ExportView) else view.job
    shown = addresses(TenantName(job.tenant))
    notices = [one.shown for one in services.outbox.by_subject(job.job_id)]
    if not shown:
        notices = [replace(one, recipient=None) for one in notices]
    if isinstance(view, ExportView):
        return export_view_record(view, services.exports.history(job.job_id), notices)
    history, attempts = services.jobs.history(job.job_id), services.jobs.attempt_reports(job.job_id)
    return view_record(view, history, attempts, notices)


def job_page(
    services: Services,
    tenant: Tenants,
    *,
    kinds: Collection[JobKind] | None,
    audience: str | None,
    states: Collection[str] | None,
    before: str | None,
    begins: str | None = None,
    narrowed: JobFilter = ALL_JOBS,
    limit: int,
) -> Page[Job]:
    """Jobs of these tenants, of these kinds in one of these states (empty: all), newest first.

    Raises `UserError` UNKNOWN_STATE.
    """
    found = services.all_jobs.search(
        kinds=kinds or JOB_KINDS,
        tenant=tenant,
        audience=audience,
        states=states or (),
        before=None if before is None else JobId(before),
        begins=begins,
        narrowed=narrowed,
        limit=limit + 1,
    )
    return page_of(found, limit, lambda job: job.job_id, lambda job: job.shown)
