"""Jobs of all kinds in the catalog: imports, snapshots of segments, exports."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestration.catalog.job_filters import ALL_JOBS, JobFilter
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.life_cycle import Tenants
from orchestration.catalog.records import Export, Job
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.job_kinds import JOB_KINDS, JobKind
from schemas.messages import JobState
from segmentation.export_jobs import EXPORT_STATES, ExportState
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
        narrowed: JobFilter = ALL_JOBS,
        limit: int,
    ) -> list[AnyJob]:
        """Jobs of these kinds in one of these states (in any case; all if empty), newest first, at most `limit`.

        `before`: only those older than that job. `begins`: how their ids begin.
        Raises `UserError` UNKNOWN_STATE for a state that no job of these kinds can have.
        """
        where: dict[str, Any] = {"tenant": tenant, "audience": audience, "narrowed": narrowed}
        rest: dict[str, Any] = {"before": before, "begins": begins, "limit": limit}
        of_jobs, of_exports = _states(kinds, states)
        found: list[AnyJob] = []
        if of_jobs is not None:
            found += self.jobs.search(states=of_jobs, kinds=kinds, **where, **rest)
        if of_exports is not None:
            found += self.exports.search(states=of_exports, **where, **rest)
        return sorted(found, key=lambda job: job.job_id, reverse=True)[:limit]

    def count(
        self,
        *,
        kinds: Collection[JobKind] = JOB_KINDS.keys(),
        tenant: Tenants = None,
        audience: str | None = None,
        states: Collection[str] = (),
        narrowed: JobFilter = ALL_JOBS,
        most: int,
    ) -> int:
        """How many jobs `search` finds, at most `most`. Raises as `search`."""
        where: dict[str, Any] = {"tenant": tenant, "audience": audience, "narrowed": narrowed, "most": most}
        of_jobs, of_exports = _states(kinds, states)
        found = 0
        if of_jobs is not None:
            found += self.jobs.count(states=of_jobs, kinds=kinds, **where)
        if of_exports is not None:
            found += self.exports.count(states=of_exports, **where)
        return min(found, most)


def _states(
    kinds: Collection[JobKind], states: Collection[str]
) -> tuple[Sequence[JobState] | None, Sequence[ExportState] | None]:
    """The states that are asked for (empty: all) of imports and of exports; None if none of these is.

    Raises as `AllJobs.search`.
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
    return (
        of_jobs if imports and (of_jobs or not states) else None,
        of_exports if exports and (of_exports or not states) else None,
    )
