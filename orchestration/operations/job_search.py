"""Jobs of all kinds in the catalog: imports, snapshots of segments, exports."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.life_cycle import Tenants
from orchestration.catalog.records import Export, Job
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.job_kinds import JOB_KINDS, JobKind
from segmentation.export_jobs import EXPORT_STATES
from segmentation.jobs import STATES

if TYPE_CHECKING:
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.jobs import JobStore

AnyJob: TypeAlias = Job | Export


@dataclass(frozen=True, slots=True, kw_only=True)
class AllJobs:
    """The catalog's jobs of all kinds."""

    exports: "ExportStore"
    jobs: "JobStore"

    def find(self, job_id: JobId, *, tenant: Tenants = None) -> AnyJob | None:
        """A job [of these tenants] of any kind; for a duplicate, the original. None if it is not registered."""
        return self.jobs.find(job_id, tenant=tenant) or self.exports.find(job_id, tenant=tenant)

    def get(self, job_id: JobId, *, tenant: Tenants = None) -> AnyJob:
        """As `find`. Raises `UserError` UNKNOWN_JOB."""
        if (found := self.find(job_id, tenant=tenant)) is None:
            raise unknown_job(job_id)
        return found

    def stamps(self, tenant: Tenants, *, limit: int) -> dict[JobId, tuple[str, int | None]]:
        """As `LifeCycleStore.stamps`, of the newest jobs of all kinds."""
        found = self.jobs.stamps(tenant, limit=limit) | self.exports.stamps(tenant, limit=limit)
        return {job_id: found[job_id] for job_id in sorted(found, reverse=True)[:limit]}

    def search(
        self,
        *,
        kinds: Collection[JobKind] = JOB_KINDS.keys(),
        tenant: Tenants = None,
        audience: str | None = None,
        states: Collection[str] = (),
        before: JobId | None = None,
        begins: str | None = None,
        limit: int,
    ) -> list[AnyJob]:
        """Jobs of these kinds in one of these states (in any case; all if empty), newest first, at most `limit`.

        `before`: only those older than that job. `begins`: how their ids begin.
        Raises `UserError` UNKNOWN_STATE for a state that no job of these kinds can have.
        """
        keys = {JOB_KINDS[kind].key for kind in kinds}
        imports, exports = "job" in keys, "export" in keys
        known: set[str] = {*(STATES if imports else ()), *(EXPORT_STATES if exports else ())}
        if unknown := [state for state in states if state.upper() not in known]:
            what = "job" if imports else "export"
            raise UserError("UNKNOWN_STATE", f"no {what} is ever {unknown[0]!r}; states are {', '.join(sorted(known))}")
        wanted = {state.upper() for state in states}
        of_jobs = [state for state in STATES if state in wanted]
        of_exports = [state for state in EXPORT_STATES if state in wanted]
        found: list[AnyJob] = []
        if imports and (of_jobs or not states):
            found += self.jobs.search(
                tenant=tenant, audience=audience, states=of_jobs, kinds=kinds, before=before, begins=begins, limit=limit
            )
        if exports and (of_exports or not states):
            found += self.exports.search(
                tenant=tenant, audience=audience, states=of_exports, before=before, begins=begins, limit=limit
            )
        return sorted(found, key=lambda job: job.job_id, reverse=True)[:limit]
