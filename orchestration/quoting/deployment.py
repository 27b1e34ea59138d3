"""What a job would run on: sizes of functions, tasks, machines and workers."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from connectors.publishing.backlog import BacklogLimit
from orchestration.settings import Settings
from orchestration.steps.where import Place
from orchestration.workflow.resources import function_specs
from schemas.topics import CHUNK_MAX_ROWS

MB_PER_VCPU: Final = 1769
"""Lambda gives a function one vCPU for so much memory, and shares of it in proportion (Lambda developer guide)."""
MB_PER_GB: Final = 1024
FUNCTION_DISK_GB: Final = 0.512
"""Local disk of a function that asks for no more."""
FUNCTION_LONGEST_S: Final = 900
"""Lambda's own limit; functions.toml asks for all of it where a file is read."""
FREE_DISK_GB: Final = 20
"""Of a Fargate task; beyond it the disk is paid."""
ZONES: Final = 3
REPLICATION: Final = 3
"""Of a cluster in three zones. A stack on one machine has one replica, and pays nothing for it."""
LARGE_FUNCTION: Final = "VerifyFile"
"""As large as all of those that read a file or parts."""
SMALL_FUNCTION: Final = "Notify"
"""As large as all of those that only read and write the catalog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one function, task, machine or worker has. GB of memory are binary, as AWS counts them."""

    vcpu: float
    gb: float
    disk_gb: float


TASK: Final = Resources(vcpu=4, gb=16, disk_gb=100)
"""One task on Fargate, as it is deployed unless the settings of the deployment say otherwise; so are those below."""
TASK_MOST: Final = Resources(vcpu=16, gb=120, disk_gb=200)
"""Fargate's limits."""
MACHINE: Final = Resources(vcpu=15, gb=120, disk_gb=1000)
"""One task on the instance that `machine_hour` of prices.toml is for."""
WORKER: Final = Resources(vcpu=1, gb=4, disk_gb=20)
RELAY: Final = Resources(vcpu=0.5, gb=2, disk_gb=20)
WORKERS: Final = 2
"""Of imports, and as many of segments: one may be away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Settings and sizes. `traffic_charged`: whether the traffic between the brokers is paid; with MSK it is not."""

    settings: Settings
    zones: int = ZONES
    traffic_charged: bool = False
    task: Resources = TASK
    machine: Resources = MACHINE
    worker: Resources = WORKER

    @property
    def billed(self) -> bool:
        """Whether it runs where it is paid for: a stack with an S3 server of its own is not AWS."""
        return not self.settings.s3_endpoint

    @property
    def workers(self) -> int:
        """Workers that materialise imports, or those that archive events; one where the settings have none."""
        return max(self.settings.workers, 1)

    @property
    def partitions(self) -> int:
        """Of the topics."""
        return self.settings.partitions

    @property
    def replication(self) -> int:
        """Replicas of a message at AWS."""
        return max(self.settings.replication_factor, REPLICATION)

    @property
    def backlog_rows(self) -> int:
        """How many rows an importer may be ahead of the workers."""
        return BacklogLimit().chunks * CHUNK_MAX_ROWS * self.partitions

    def resources(self, place: Place) -> Resources:
        """What a step has in a place."""
        match place:
            case "function":
                gb = function_gb(LARGE_FUNCTION)
                return Resources(vcpu=gb * MB_PER_GB / MB_PER_VCPU, gb=gb, disk_gb=FUNCTION_DISK_GB)
            case "task":
                return self.task
            case "machine":
                return self.machine


@cache
def function_gb(name: str) -> float:
    """Memory of a function of the workflow."""
    return next(spec.memory_mb for spec in function_specs() if spec.name == name) / MB_PER_GB
