"""Sizes of an AWS deployment: defaults of its settings, and the input of quotes."""

from dataclasses import dataclass
from math import ceil
from typing import Final

from orchestration.platform.settings import MIB

FUNCTION_DISK_MIB: Final = 512
"""The free disk of a Lambda function."""
FUNCTION_DISK_MOST_MIB: Final = 10_240
"""The largest disk that a function may have (Lambda quotas)."""
COPIES: Final = 3
"""Copies of the file, or of what it is merged with, on a function's disk while they are sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Containers on Fargate: at most `count`, at least `min`, and between them as many as the work needs.

    `cpu` in 1/1024 of a processor.
    """

    count: int = 2
    min: int = 0
    cpu: int = 1024
    memory_mib: int = 4096
    ephemeral_gib: int = 20
    """The first 20 are free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeder:
    """The process that delivers feeds."""

    cpu: int = 512
    memory_mib: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The single control plane; a second one is harmless while one takes over from the other."""

    cpu: int = 512
    memory_mib: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """One Fargate task of an import or export."""

    cpu: int = 4096
    memory_mib: int = 16384
    ephemeral_gib: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """EC2 instances for tasks too large for Fargate; none run while there is no such task."""

    types: tuple[str, ...] = ("r7i.4xlarge", "r6i.4xlarge")
    max: int = 4
    cpu: int = 15 * 1024
    """What a task requests; an instance keeps the rest for its agent and system."""
    memory_mib: int = 120 * 1024
    disk_gib: int = 1000


def function_disk_mib(lambda_file_bytes: int) -> int:
    """Disk of a function that works on files, for the largest file it may get."""
    return FUNCTION_DISK_MIB + COPIES * ceil(lambda_file_bytes / MIB)
