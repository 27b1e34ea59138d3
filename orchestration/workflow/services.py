"""Services of ECS whose desired count follows the work; the local engine answers the same calls for the local parts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from orchestration.workflow.engine import engine_errors
from orchestration.workflow.resources import CLUSTER
from segmentation.scaling import Scaled

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

    from orchestration.platform.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCounts:
    """Processes of a service: those it should have, and those that run; `starting` ones do not serve yet."""

    desired: int
    running: int
    starting: int

    @property
    def missing(self) -> int:
        """Processes that it should have and that do not run."""
        return max(0, self.desired - self.running)


class ScaledServices:
    """Every method raises `RetriableError` ENGINE_UNAVAILABLE and `FatalError` ENGINE_REFUSED.

    `connect` makes boto3's client, at first use: boto3 takes a third of a second to load.
    """

    def __init__(self, connect: "Callable[[], ECSClient]", settings: "Settings") -> None:
        self._connect = connect
        self._cluster = settings.deployment or CLUSTER

    @cached_property
    def _client(self) -> "ECSClient":
        return self._connect()

    def set_count(self, part: Scaled, count: int) -> None:
        """Let a service have so many processes; it starts and stops them later. The same count again has no effect."""
        with engine_errors("ECS", f"set the count of {part}"):
            self._client.update_service(cluster=self._cluster, service=part, desiredCount=count)

    def counts(self, parts: Iterable[Scaled] = tuple(Scaled)) -> dict[Scaled, ServiceCounts]:
        """The counts of services. A service that does not exist is missing."""
        with engine_errors("ECS", "describe the services"):
            found = self._client.describe_services(cluster=self._cluster, services=[*parts])["services"]
        return {
            Scaled(one["serviceName"]): ServiceCounts(
                desired=one["desiredCount"], running=one["runningCount"], starting=one["pendingCount"]
            )
            for one in found
            if one["status"] == "ACTIVE"
        }
