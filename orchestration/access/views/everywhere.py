"""Jobs in all tenants in which a caller may read them: a job is known by its id, whichever tenant it belongs to."""

from typing import Annotated

from orchestration.access.authentication import Caller
from orchestration.access.bodies.common import Named
from orchestration.access.guard import View, reads
from orchestration.access.job_details import Kinds, States, addresses_for, job_detail, job_page
from orchestration.access.pages import Page
from orchestration.access.policy import Action
from orchestration.catalog.life_cycle import Tenants
from orchestration.composition.service import Services
from orchestration.records.fields import About
from orchestration.records.jobs import ExportJobDetail, ImportJobDetail, Job
from schemas.ids import job_id


class Everywhere(View):
    """All that one caller may read, in any tenant."""

    def __init__(self, services: Services, caller: Caller) -> None:
        super().__init__(services, caller, tenant=None)

    @reads(Action.OWN_ACCOUNT, "GET /jobs", problems=("UNKNOWN_STATE",))
    def list_all_jobs(
        self,
        *,
        kind: Kinds = None,
        audience: Named = None,
        state: States = None,
        begins: Annotated[str | None, About("Beginning of their ids.", "^[0-9a-hjkmnp-tv-z]{1,26}$")] = None,
        before: str | None = None,
        limit: int,
    ) -> Page[Job]:
        """Jobs of all kinds in all tenants in which you may read them, newest first."""
        return job_page(
            self._services,
            self._readable,
            kinds=kind,
            audience=audience,
            states=state,
            before=before,
            begins=begins,
            limit=limit,
        )

    @reads(Action.OWN_ACCOUNT, "GET /jobs/{job}")
    def find_job(self, job: str) -> ImportJobDetail | ExportJobDetail:
        """A job by its id alone, in any tenant. For a duplicate, its original."""
        return job_detail(self._services, job_id(job), tenant=self._readable, addresses=addresses_for(self._caller))

    @property
    def _readable(self) -> Tenants:
        """Tenants in which the caller may read jobs; None if in all."""
        rights = self._caller.rights
        if Action.READ_JOBS in rights.everywhere:
            return None
        return [tenant for tenant, actions in rights.tenants.items() if Action.READ_JOBS in actions]
