"""Workers wherever they run: the members of their consumer groups, as Kafka knows them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException

from connectors.kafka.errors import kafka_error
from connectors.kafka.groups import GroupMember, describe_groups
from orchestration.operations.availability import require_services
from orchestration.operations.follow import without_worker_s
from orchestration.platform.settings import Settings
from orchestration.platform.worker_identity import WorkerIdentity
from orchestration.records.workers import ScaledPart, WaitingJobs, Worker
from schemas.topics import SEGMENT_WORKER_GROUP, WORKER_GROUP
from segmentation.scaling import Scaled

if TYPE_CHECKING:
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.progress import ProgressStore

TIMEOUT_S: Final = 5.0
GROUPS: Final[Mapping[str, str]] = {Scaled.WORKER: WORKER_GROUP, Scaled.SEGMENT_WORKER: SEGMENT_WORKER_GROUP}


def running_workers(settings: Settings) -> list[Worker]:
    """Workers by group, then by name. Raises `RetriableError` KAFKA_UNAVAILABLE, STACK_NOT_RUNNING."""
    require_services(settings, "Kafka")
    try:
        described = describe_groups(settings.kafka_bootstrap, (WORKER_GROUP, SEGMENT_WORKER_GROUP), TIMEOUT_S)
    except KafkaException as exc:
        raise kafka_error(exc, "listing the workers") from exc
    found = [_worker(group, member) for group, description in described.items() for member in description.members]
    return sorted(found, key=lambda one: (one.group != WORKER_GROUP, one.worker, one.host))


def starting(running: Iterable[Worker], scaled: Iterable[ScaledPart]) -> list[ScaledPart]:
    """Kinds of workers that are wanted and of which none runs."""
    groups = {worker.group for worker in running}
    return [one for one in scaled if one.wanted and one.part in GROUPS and GROUPS[one.part] not in groups]


def waiting_jobs(now_ms: int, *, jobs: "JobStore", progress: "ProgressStore") -> WaitingJobs | None:
    """Jobs that wait for a worker. None if there are none. Raises `RetriableError` CATALOG_UNAVAILABLE."""
    absences = [
        absent_s
        for job in jobs.live()
        if job.state == "AWAITING"
        and (absent_s := without_worker_s(job, progress.stages(job.job_id), now_ms)) is not None
    ]
    return WaitingJobs(jobs=len(absences), no_worker_s=max(absences)) if absences else None


def _worker(group: str, member: GroupMember) -> Worker:
    identity = WorkerIdentity.parse(member.client_id)
    return Worker(
        worker=member.client_id if identity is None else identity.name,
        host=member.host if identity is None else identity.host,
        pid=None if identity is None else identity.pid,
        address=member.host,
        group=group,
        partitions=tuple(sorted({partition for _, partition in member.partitions})),
    )
