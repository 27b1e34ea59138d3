"""Entry point of the materialiser: `python -m orchestration.entrypoints.worker [NUMBER|FIRST+]`.

Exits with 0 on SIGTERM, else non-zero.
"""

from orchestration.entrypoints.faust_process import run
from orchestration.platform.ending import end
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings
from streams.app import Worker
from streams.config import WorkerConfig


def worker_config(settings: Settings, identity: str) -> WorkerConfig:
    """The worker's configuration from the settings."""
    return WorkerConfig(
        identity=identity,
        bootstrap=settings.kafka_bootstrap,
        store=s3_access(settings),
        staging_bucket=settings.staging_bucket,
        temp=settings.home / "worker",
        buffer_bytes=settings.worker_buffer_bytes,
        merge_bytes=settings.duckdb_memory_bytes,
        merge_threads=settings.duckdb_threads,
        merge_temp_bytes=settings.duckdb_temp_bytes,
        session_timeout_s=float(settings.worker_session_timeout_s),
        heartbeat_s=settings.worker_session_timeout_s / 10,
    )


def main() -> int:
    """Run one worker. Returns the exit code."""
    return run("worker", 0, lambda settings, identity: Worker(worker_config(settings, str(identity))))


if __name__ == "__main__":
    end(main())
