"""What reading a customer's file may cost, as plain values."""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseLimits:
    """What one untrusted file may cost.

    `memory_bytes`: address space of the child (RLIMIT_AS). `cpu_s` plus `cpu_s_per_mib` for each MiB of the file as it
    is stored: processor time (RLIMIT_CPU). `wall_s`: longest time without a sign of life from the child while it has
    bytes to work on; the reader's own pauses and those of the store do not count. `max_decoded_bytes`: bytes after
    decompression; `max_ratio`: how many times larger they may be than the file, beyond the first 64 MiB.
    `max_file_bytes`: largest Parquet file that is copied to local disk. `sandbox_required`: whether no file is read
    where the system cannot confine the child in every way (`connectors.sandbox`).
    """

    memory_bytes: int = 4096 * MIB
    cpu_s: float = 120.0
    cpu_s_per_mib: float = 1.0
    wall_s: float = 120.0
    max_decoded_bytes: int = 256 * 1024 * MIB
    max_ratio: float = 250.0
    max_file_bytes: int = 64 * 1024 * MIB
    sandbox_required: bool = False
