"""End markers that will never be announced: detected by offsets, answered with another attempt."""

from dataclasses import dataclass

import pytest

from orchestration.catalog.records import Job
from orchestration.composition import control_plane
from orchestration.control.liveness import WorkerLiveness
from orchestration.kinds.materialised import from_row
from schemas.codec import CODEC
from schemas.ids import Partition
from schemas.layout import intent_key, result_key
from schemas.topics import IMPORTS_SMALL
from segmentation.completion import Complete
from tests.fakes.deployment import Deployment

STAGING = "staging"


@dataclass(frozen=True, kw_only=True)
class Position:
    """The workers' group, at the same offset in every partition of the small lane."""

    at: int
    end: int

    def committed(self) -> dict[tuple[str, int], int]:
        return {(IMPORTS_SMALL, p): self.at for p in (0, 1)}

    def ends(self) -> dict[tuple[str, int], int]:
        return {(IMPORTS_SMALL, p): self.end for p in (0, 1)}


TOKEN = "token-1"


class Alive(WorkerLiveness):
    def __init__(self) -> None:
        pass

    def fault(self, now_ms: int) -> str | None:  # noqa: ARG002
        return None


def waiting(deployment: Deployment) -> Job:
    """A job with partition 0 materialised, and no announcement for partition 1."""
    job = deployment.at("AWAITING")
    deployment.begin_await(job, TOKEN)
    deployment.materialise(job, 0)
    return deployment.context.jobs.get(job.job_id)


def look(deployment: Deployment, position: Position, *minutes: float) -> None:
    """Run the control plane's check at these minutes from now, then its answers."""
    markers = control_plane.lost_markers(deployment.context, position)
    for minute in minutes:
        markers.tick(deployment.context.jobs.live(), deployment.later(minutes=minute))
    for job in deployment.context.jobs.live():
        control_plane.answers(deployment.context, Alive(), Alive()).answer(job, deployment.later(minutes=minutes[-1]))


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (Position(at=2, end=2), "it ends at 2, the end marker was at 2"),
        (Position(at=3, end=3), "the workers have passed the end marker at 2"),
    ],
    ids=["the-log-is-shorter", "the-workers-are-past-it"],
)
def test_lost_end_marker_fails_its_partition_and_starts_another_attempt(
    deployment: Deployment, position: Position, reason: str
) -> None:
    job = waiting(deployment)
    look(deployment, position, 1, 2.1)
    (kind, said) = deployment.workflow.answers[-1]
    assert (kind, said["taskToken"], said["error"]) == ("failure", TOKEN, "MaterialisationFailed")
    assert reason in said["cause"]
    deployment.step(job, "retry_import", failure={"Error": said["error"], "Cause": said["cause"]})
    assert deployment.context.jobs.get(job.job_id).state == "IMPORTING"
    ended = deployment.run(job)
    assert (ended.state, ended.attempt, deployment.versions(job)) == ("READY", 2, [1])


def test_marker_awaiting_the_workers_is_not_lost(deployment: Deployment) -> None:
    waiting(deployment)
    look(deployment, Position(at=2, end=3), 1, 2.1, 60)
    assert deployment.workflow.said() == ["heartbeat"]


def test_marker_counts_as_lost_after_a_minute(deployment: Deployment) -> None:
    waiting(deployment)
    look(deployment, Position(at=3, end=3), 1, 1.5, 1.9)
    assert deployment.workflow.said() == ["heartbeat"]


def test_pending_merge_is_not_lost(deployment: Deployment) -> None:
    job = waiting(deployment)
    key = intent_key(IMPORTS_SMALL, Partition(1), job.job_id, job.attempt)
    deployment.objects.put(STAGING, key, b"the end marker")
    look(deployment, Position(at=3, end=3), 1, 2.1, 60)
    assert deployment.workflow.said() == ["heartbeat"]
    deployment.objects.delete(STAGING, key)
    look(deployment, Position(at=3, end=3), 1, 2.1)
    assert deployment.workflow.said() == ["heartbeat", "failure"]


def test_lost_announcement_is_read_from_staging(deployment: Deployment) -> None:
    job = waiting(deployment)
    deployment.materialise(job, 1)
    (row,) = [p for p in deployment.context.progress.partitions(job.job_id) if p.partition == 1]
    deployment.forget_partition(job, 1)
    deployment.objects.put(STAGING, result_key(job.job_id, job.attempt, Partition(1)), CODEC.encode(from_row(row)))
    look(deployment, Position(at=3, end=3), 1, 2.1)
    assert deployment.workflow.said() == ["success"]
    assert deployment.run(job).state == "READY"
    assert deployment.context.jobs.get(job.job_id).attempt == 1


@pytest.mark.parametrize(("which", "body"), [("result", b""), ("intent", b""), ("result", b"rubbish")])
def test_an_empty_object_or_an_unreadable_result_in_staging_is_absent(
    deployment: Deployment, which: str, body: bytes
) -> None:
    job = waiting(deployment)
    suspect = (job.job_id, job.attempt, Partition(1))
    intent = intent_key(IMPORTS_SMALL, Partition(1), job.job_id, job.attempt)
    deployment.objects.put(STAGING, result_key(*suspect) if which == "result" else intent, body)
    look(deployment, Position(at=3, end=3), 1, 2.1)
    assert deployment.workflow.said() == ["failure"]


def test_late_announcement_is_accepted(deployment: Deployment) -> None:
    from orchestration.kinds.materialised import completion_of  # noqa: PLC0415

    job = waiting(deployment)
    look(deployment, Position(at=3, end=3), 1, 2.1)
    deployment.materialise(job, 1)
    assert isinstance(completion_of(deployment.context.progress, job), Complete)


def test_a_stream_that_loses_every_attempt_ends_in_a_system_error(deployment: Deployment) -> None:
    job = waiting(deployment)
    for attempt in (1, 2, 3):
        look(deployment, Position(at=10, end=10), 1, 2.1)
        failure = {"Error": "MaterialisationFailed", "Cause": deployment.workflow.answers[-1][1]["cause"]}
        if attempt == 3:
            break
        deployment.step(job, "retry_import", failure=failure)
        deployment.run(job, until="AWAITING")
        deployment.begin_await(job, f"token-{attempt + 1}")
    with pytest.raises(Exception, match="NOT_RECONCILED"):
        deployment.step(job, "retry_import", failure=failure)
