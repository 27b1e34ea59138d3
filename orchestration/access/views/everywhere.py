"""Jobs in all tenants in which a caller may read them: a job is known by its id, whichever tenant it belongs to."""

from collections.abc import Collection

from orchestration.access.authentication import Caller
from orchestration.access.guard import View, reads
from orchestration.access.job_details import addresses_for, job_detail, job_page
from orchestration.access.pages import Page, Record
from orchestration.access.policy import Action
from orchestration.catalog.life_cycle import Tenants
from orchestration.composition.service import Services
from schemas.ids import job_id
from schemas.job_kinds import JobKind


class EverywhereView(View):
    """All that one caller may read, in any tenant."""

    def __init__(self, services: Services, caller: Caller) -> None:
        super().__init__(services, caller, tenant=None)

    @reads(Action.OWN_ACCOUNT)
    def jobs(
        self,
        *,
        kinds: Collection[JobKind] = (),
        audience: str | None = None,
        states: Collection[str] = (),
        before: str | None = None,
        begins: str | None = None,
        limit: int,
    ) -> Page[Record]:
        """As `JobsView.jobs`. `begins`: how their ids begin."""
        return job_page(
            self._services,
            self._readable,
            kinds=kinds,
            audience=audience,
            states=states,
            before=before,
            begins=begins,
            limit=limit,
        )

    @reads(Action.OWN_ACCOUNT)
    def job(self, id_: str) -> Record:
        """As `JobsView.job`."""
        return job_detail(self._services, job_id(id_), tenant=self._readable, addresses=addresses_for(self._caller))

    @property
    def _readable(self) -> Tenants:
        """Tenants in which the caller may read jobs; None if in all."""
        rights = self._caller.rights
        if Action.READ_JOBS in rights.everywhere:
            return None
        return [tenant for tenant, actions in rights.tenants.items() if Action.READ_JOBS in actions]
