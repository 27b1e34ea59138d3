"""Plots of the groups of workers, for those who run the deployment."""

from orchestration.access.guard import reads
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.sampled import present_lag, present_workers, series
from orchestration.access.views.deployment import DeploymentView
from orchestration.platform.clock import now_ms


class DeploymentSamplesView(DeploymentView):
    """What the control plane has sampled in the last day."""

    @reads(Action.READ_DEPLOYMENT)
    def samples(self, *, minutes: int) -> Record:
        """Lag, members and rates of the last minutes, topic by topic; as `sampled.series`."""
        return series(self._services.samples, span_ms=minutes * 60_000, now_ms=now_ms())

    @reads(Action.READ_DEPLOYMENT)
    def present(self) -> Record:
        """{workers, lag} as of the newest sample of each group; as `sampled.present_workers` and `present_lag`."""
        samples = self._services.samples
        return {"workers": list(present_workers(samples).values()), "lag": list(present_lag(samples).values())}
