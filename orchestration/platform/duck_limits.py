"""The limits of DuckDB from the settings."""

from connectors.storage.duck_limits import DuckLimits
from orchestration.platform.settings import Settings


def duck_limits(settings: Settings) -> DuckLimits:
    """Limits of one connection of a process."""
    return DuckLimits(
        memory_bytes=settings.duckdb_memory_bytes,
        threads=settings.duckdb_threads,
        temp_directory=settings.home / "tmp" / "duckdb",
        temp_bytes=settings.duckdb_temp_bytes,
    )
