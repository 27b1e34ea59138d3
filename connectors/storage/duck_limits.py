"""Limits of DuckDB, also for processes that do not load it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckLimits:
    """Limits of one connection: bytes of memory, threads, and bytes below `temp_directory` once memory is full."""

    memory_bytes: int
    threads: int
    temp_directory: Path
    temp_bytes: int
