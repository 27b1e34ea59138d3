"""Plots of the groups of workers, for those who run the deployment."""

from orchestration.access.guard import reads
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.sampled import series
from orchestration.access.views.deployment import DeploymentView
from orchestration.platform.clock import now_ms


class DeploymentSamplesView(DeploymentView):
    """What the control plane has sampled in the last day."""

    @reads(Action.READ_DEPLOYMENT)
    def samples(self, *, minutes: int) -> Record:
        """Lag, members and rates of the last minutes, topic by topic; as `sampled.series`."""
        return series(self._stores.samples, span_ms=minutes * 60_000, now_ms=now_ms())
