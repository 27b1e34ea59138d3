"""What DuckDB may use, as plain values: known where DuckDB is not loaded."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckLimits:
    """What one connection may use: bytes of memory, threads, and bytes below `temp_directory` when memory is full."""

    memory_bytes: int
    threads: int
    temp_directory: Path
    temp_bytes: int
