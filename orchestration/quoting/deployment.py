"""The deployment that a job would run on: sizes of functions, tasks, machines and workers."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from connectors.publishing.backlog import BacklogLimit
from orchestration.kinds.compute_target import ComputeTarget
from orchestration.platform.settings import Settings
from orchestration.platform.sizes import FUNCTION_DISK_MIB, Machines, Service, Tasks, function_disk_mib
from orchestration.workflow.resources import function_specs
from schemas.topics import CHUNK_MAX_ROWS

CPU: Final = 1024
"""Units of a vCPU in ECS."""
MB_PER_VCPU: Final = 1769
"""Lambda gives a function one vCPU per this much memory, and shares of it in proportion (Lambda developer guide)."""
MB_PER_GB: Final = 1024
FREE_FUNCTION_DISK_GB: Final = FUNCTION_DISK_MIB / 1024
"""Free disk of a function; more is billed."""
FUNCTION_LONGEST_S: Final = 900
"""Lambda's own limit; functions.toml uses all of it for functions that read a file."""
FREE_DISK_GB: Final = 20
"""Free disk of a Fargate task; more is billed."""
ZONES: Final = 3
REPLICATION: Final = 3
"""Replicas in a cluster across three zones. A stack on one machine has one replica, and pays nothing for it."""
LARGE_FUNCTION: Final = "VerifyFile"
"""Has the size of all functions that read a file or parts."""
SMALL_FUNCTION: Final = "Notify"
"""Has the size of all functions that only read and write the catalog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Resources of one function, task, machine or worker. GB are binary here, as AWS counts memory and disks."""

    vcpu: float
    gb: float
    disk_gb: float


TASK: Final = Resources(vcpu=Tasks().cpu / CPU, gb=Tasks().memory_mib / 1024, disk_gb=Tasks().ephemeral_gib)
"""One Fargate task at the default size, unless the deployment's settings differ; the same goes for those below."""
MACHINE: Final = Resources(vcpu=Machines().cpu / CPU, gb=Machines().memory_mib / 1024, disk_gb=Machines().disk_gib)
"""One task on the instance that `machine_hour` in prices.toml is for."""
WORKER: Final = Resources(vcpu=Service().cpu / CPU, gb=Service().memory_mib / 1024, disk_gb=FREE_DISK_GB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Settings and sizes. `traffic_charged`: whether traffic between the brokers is billed; with MSK it is not."""

    settings: Settings
    zones: int = ZONES
    traffic_charged: bool = False
    task: Resources = TASK
    machine: Resources = MACHINE
    worker: Resources = WORKER

    @property
    def billed(self) -> bool:
        """Whether it runs at AWS, where it is billed: a stack with an S3 server of its own does not."""
        return not self.settings.s3_endpoint

    @property
    def workers(self) -> int:
        """Workers that materialise imports, or those that archive events; at least one."""
        return max(self.settings.workers, 1)

    def workers_always_run(self, kind: str) -> bool:
        """Whether the workers of such imports are there without them."""
        settings = self.settings
        return (settings.min_workers if kind == "audience" else settings.min_segment_workers) != 0

    @property
    def partitions(self) -> int:
        """Partitions of the topics."""
        return self.settings.partitions

    @property
    def replication(self) -> int:
        """Replicas of a message at AWS."""
        return max(self.settings.replication_factor, REPLICATION)

    @property
    def function_disk_gb(self) -> float:
        """Local disk of a function that works on files, sized for the largest file it may get."""
        return function_disk_mib(self.settings.lambda_file_bytes) / 1024

    @property
    def backlog_rows(self) -> int:
        """How many rows an importer may be ahead of the workers."""
        return BacklogLimit().chunks * CHUNK_MAX_ROWS * self.partitions

    def resources(self, target: ComputeTarget) -> Resources:
        """Resources of a step on a compute target."""
        match target:
            case "function":
                gb = function_gb(LARGE_FUNCTION)
                return Resources(vcpu=gb * MB_PER_GB / MB_PER_VCPU, gb=gb, disk_gb=self.function_disk_gb)
            case "task":
                return self.task
            case "machine":
                return self.machine


@cache
def function_gb(name: str) -> float:
    """Memory of a function of the workflow, in GB."""
    return next(spec.memory_mb for spec in function_specs() if spec.name == name) / MB_PER_GB
