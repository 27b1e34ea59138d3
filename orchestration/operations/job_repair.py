"""Repair by `muster fsck --repair`: rewrites everything of a job that derives from the snapshot of its version."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.catalog.records import Job
from orchestration.catalog.references import audience_ref
from orchestration.kinds.materialised import require_complete
from orchestration.kinds.receipts import make_receipt, outcome_of
from orchestration.platform.clock import now_ms
from segmentation.publishing import version_before
from segmentation.versions import VersionInfo

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.progress import ProgressStore
    from orchestration.kinds.specs import Specs
    from segmentation.versions import VersionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRepair:
    """Makes the catalog agree with a published version."""

    audiences: "AudienceStore"
    jobs: "JobStore"
    progress: "ProgressStore"
    specs: "Specs"
    versions: "VersionStore"

    def repair(self, job: Job, info: VersionInfo) -> None:
        """Make an ended job READY with the receipt and outcome of its version, whatever the catalog said of it.

        Raises `FatalError` NOT_VERIFIED, NOT_COMPLETE or RECEIPT_DOES_NOT_ADD_UP if the catalog has lost what the
        receipt is made from; nothing has changed then.
        """
        published_ms = int(info.published_at.timestamp() * 1000)
        finished_ms = job.finished_at_ms if job.state == "READY" and job.finished_at_ms is not None else published_ms
        before = version_before(self.versions.versions(audience_ref(job)), info)
        completed = require_complete(self.progress, job, attempt=info.attempt)
        receipt = make_receipt(job, completed, info, before, finished_at_ms=finished_ms)
        audience = self.audiences.by_id(audience_ref(job).audience_id)
        if audience is not None and audience.state == "awaited":
            self.specs.store_columns(job)
        self.jobs.repair(
            job.job_id,
            receipt=receipt,
            outcome=outcome_of(info),
            finished_at_ms=finished_ms,
            now_ms=now_ms(),
            cause=f"fsck: version {info.version} is published",
        )
