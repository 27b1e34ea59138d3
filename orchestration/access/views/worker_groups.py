"""The groups of workers, for those who run the deployment: their members, and how far they are behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from orchestration.access.guard import reads
from orchestration.access.policy import Action
from orchestration.access.sampled import present_lag, present_workers, series
from orchestration.access.views.deployment import DeploymentView
from orchestration.platform.clock import now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import ListWorkers, ReadLag
from orchestration.records.fields import About
from orchestration.records.workers import Lag, Samples, ScaledPart, Worker, Workers
from schemas.records import from_record

OF_KAFKA: Final = ("KAFKA_UNAVAILABLE", "LOGON_REFUSED", "STACK_NOT_RUNNING")
FRESH_MS: Final = 30_000
"""An older sample says nothing about the present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestWorkers:
    """`members`: workers as last sampled; `scaled`: as `Workers.scaled`."""

    members: Sequence[Worker]
    scaled: Sequence[ScaledPart]


class WorkerGroups(DeploymentView):
    """What Kafka says of the groups now, and what the control plane has sampled in the last day."""

    @reads(Action.READ_DEPLOYMENT, "GET /workers", problems=OF_KAFKA)
    def list_workers(self, cancellation: Cancellation) -> Workers:
        """Workers wherever they run, with their partitions."""
        return self._ask(Workers, ListWorkers(), cancellation)

    @reads(Action.READ_DEPLOYMENT, "GET /lag", problems=OF_KAFKA)
    def get_lag(self, cancellation: Cancellation) -> Lag:
        """How many messages each group of workers has not acknowledged, by partition."""
        return self._ask(Lag, ReadLag(), cancellation)

    @reads(Action.READ_DEPLOYMENT, "GET /samples")
    def list_samples(self, *, minutes: Annotated[int, About("How far to look back.", ge=1, le=1440)] = 60) -> Samples:
        """Lag, members and rates of the groups of workers over time, from the catalog: samples of every ten seconds."""
        return series(self._services.samples, span_ms=minutes * 60_000, now_ms=now_ms())

    @reads(Action.READ_DEPLOYMENT)
    def newest_workers(self) -> NewestWorkers:
        """Workers as of the newest sample of each group, which says nothing of now if it is old and they may leave."""
        scaled = self._services.scaled_parts()
        since_ms = now_ms() - FRESH_MS if scaled else 0
        members = present_workers(self._services.samples, since_ms=since_ms).values()
        return NewestWorkers(members=[from_record(Worker, one) for one in members], scaled=scaled)

    @reads(Action.READ_DEPLOYMENT)
    def newest_lag(self) -> list[Mapping[str, Any]]:
        """The newest sample of each group in each of its topics; as `sampled.present_lag`."""
        return list(present_lag(self._services.samples).values())
