"""Repair by `muster fsck --repair`: rewrites everything of a job that derives from the snapshot of its version."""

from typing import TYPE_CHECKING

from orchestration.catalog.records import Job
from orchestration.catalog.references import audience_ref
from orchestration.kinds.materialised import complete
from orchestration.kinds.receipts import make_receipt, outcome_of
from orchestration.kinds.wiring import specs
from orchestration.platform.clock import now_ms
from segmentation.publishing import version_before
from segmentation.versions import VersionInfo

if TYPE_CHECKING:
    from orchestration.context import Context


def mend(context: "Context", job: Job, info: VersionInfo) -> None:
    """Make an ended job READY with the receipt and outcome of its version, whatever the catalog said of it.

    Raises `FatalError` NOT_VERIFIED, NOT_COMPLETE or RECEIPT_DOES_NOT_ADD_UP if the catalog has lost what the receipt
    is made from; nothing has changed then.
    """
    published_ms = int(info.published_at.timestamp() * 1000)
    finished_ms = job.finished_at_ms if job.state == "READY" and job.finished_at_ms is not None else published_ms
    before = version_before(context.versions.versions(audience_ref(job)), info)
    whole = complete(context.progress, job, attempt=info.attempt)
    receipt = make_receipt(job, whole, info, before, finished_at_ms=finished_ms)
    audience = context.audiences.by_id(audience_ref(job).audience_id)
    if audience is not None and audience.state == "awaited":
        specs(context).keep(job)
    context.jobs.mend(
        job.job_id,
        receipt=receipt,
        outcome=outcome_of(info),
        finished_at_ms=finished_ms,
        now_ms=now_ms(),
        cause=f"fsck: version {info.version} is published",
    )
