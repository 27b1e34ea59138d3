"""What a caller may see in the event streams of a tenant, and in those of the deployment."""

from collections.abc import Collection

from orchestration.access.guard import reads
from orchestration.access.policy import Action
from orchestration.access.topics import ACTIONS, DEPLOYMENT_KINDS, KINDS, Topic
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.tenant import TenantView
from orchestration.records.events import DeploymentEventKind, EventKind
from schemas.ids import job_id


class Events(TenantView):
    """Event streams as one caller sees them."""

    @reads(Action.READ_JOBS)
    def topics(self, *, kinds: Collection[EventKind] = (), job: str | None = None) -> frozenset[Topic]:
        """The topics of these kinds (empty: of all that the caller may see), or of one job.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB.
        """
        if job is not None:
            found = self._services.all_jobs.get(job_id(job), tenant=self._name)
            return frozenset({Topic(tenant=self._name, kind="job", job=found.job_id)})
        for kind in kinds:
            self.require(ACTIONS[kind])
        shown = kinds or [kind for kind in KINDS if ACTIONS[kind] in self.permitted]
        return frozenset(Topic(tenant=self._name, kind=kind) for kind in shown)


class DeploymentEvents(DeploymentView):
    """Event streams of the deployment as one caller sees them: workers, their lag, and the jobs of all tenants."""

    @reads(Action.READ_DEPLOYMENT)
    def topics(self, *, kinds: Collection[DeploymentEventKind] = ()) -> frozenset[Topic]:
        """The topics of these kinds (empty: of all). Who may read the deployment may read the jobs of every tenant."""
        return frozenset(Topic(tenant=None, kind=kind) for kind in kinds or DEPLOYMENT_KINDS)
