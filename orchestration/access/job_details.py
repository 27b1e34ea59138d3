"""One job as plain JSON data, with its history and progress."""

from orchestration.access.pages import Record
from orchestration.access.stores import Stores
from orchestration.catalog.job_rows import unknown_job
from orchestration.operations.follow import ExportView
from orchestration.operations.job_records import export_view_record, view_record
from orchestration.platform.clock import now_ms
from schemas.ids import JobId, TenantName


def job_detail(stores: Stores, tenant: TenantName, wanted: JobId) -> Record:
    """A job of a tenant, of any kind; for a duplicate, its original. Raises `UserError` UNKNOWN_JOB."""
    view = stores.job_progress.any_view(wanted, now_ms(), tenant=tenant)
    if view is None:
        raise unknown_job(wanted)
    if isinstance(view, ExportView):
        return export_view_record(view, stores.exports.history(view.export.job_id))
    found = view.job.job_id
    history, attempts = stores.jobs.history(found), stores.jobs.attempt_reports(found)
    return {**view_record(view, history, attempts), "duplicate_of": view.duplicate_of}
