"""Entry point of the segment worker: `python -m orchestration.entrypoints.segment_worker [NUMBER|FIRST+]`.

Exits with 0 on SIGTERM, else non-zero.
"""

from orchestration.composition.context import Context
from orchestration.entrypoints.faust_process import run
from orchestration.kinds.archived_logs import archived_logs
from orchestration.platform.ending import end
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings
from orchestration.platform.worker_identity import WorkerIdentity
from schemas.ids import TenantName
from streams.segments.app import SegmentWorker
from streams.segments.config import SegmentWorkerConfig

FIRST_PORT = 50
"""Metrics of the first one are on `metrics_port` + this + 1; the ports before it belong to materialisers."""


def segment_worker_config(settings: Settings, identity: WorkerIdentity) -> SegmentWorkerConfig:
    """The worker's configuration from the settings."""
    return SegmentWorkerConfig(
        identity=str(identity),
        bootstrap=settings.kafka_bootstrap,
        partitions=settings.partitions,
        store=s3_access(settings),
        staging_bucket=settings.staging_bucket,
        lake_bucket=settings.lake_bucket,
        temp=settings.home / identity.name,
        name=f"{identity.host}/{identity.name}",
        checkpoint_after_s=float(settings.segment_checkpoint_s),
        session_timeout_s=float(settings.worker_session_timeout_s),
        heartbeat_s=settings.worker_session_timeout_s / 10,
    )


def main() -> int:
    """Run one worker. Returns the exit code."""
    return run(
        "segment-worker",
        FIRST_PORT,
        _worker,
    )


def _worker(settings: Settings, identity: WorkerIdentity) -> SegmentWorker:
    context = Context(settings)

    def tenants() -> dict[TenantName, int]:
        return {tenant: at_ms * 1000 for tenant, at_ms in context.audiences.tenants_since().items()}

    return SegmentWorker(
        segment_worker_config(settings, identity),
        context.history,
        lambda: archived_logs(context.archive, settings.kafka_bootstrap),
        tenants,
    )


if __name__ == "__main__":
    end(main())
