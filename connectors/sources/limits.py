"""Limits on the cost of reading a customer's file, as plain values."""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseLimits:
    """Limits on the cost of one untrusted file.

    `memory_bytes`: address space of the child (RLIMIT_AS). `cpu_s` plus `cpu_s_per_mib` for each MiB of the stored
    file: processor time (RLIMIT_CPU). `wall_s`: longest time without a sign of life from the child while it has bytes
    to process; pauses of the reader or the store do not count. `max_decoded_bytes`: bytes after decompression;
    `max_ratio`: how many times larger than the file they may be, beyond the first 64 MiB. `max_file_bytes`: largest
    binary file that is copied to local disk. `sandbox_required`: if true, no file is read on a system that cannot
    confine the child in every way (`connectors.sandbox`).
    """

    memory_bytes: int = 4096 * MIB
    cpu_s: float = 120.0
    cpu_s_per_mib: float = 1.0
    wall_s: float = 120.0
    max_decoded_bytes: int = 256 * 1024 * MIB
    max_ratio: float = 250.0
    max_file_bytes: int = 64 * 1024 * MIB
    sandbox_required: bool = False
