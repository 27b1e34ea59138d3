"""Reasons why a job could not finish as quoted: limits of AWS, of the workflow, and of the disks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from orchestration.kinds.timeouts import LONGEST_S
from orchestration.quoting.deployment import FUNCTION_LONGEST_S, Deployment
from orchestration.quoting.stage_plans import StagePlans, allowed_s
from orchestration.quoting.stages import StageQuote
from schemas.topics import MAX_JOB_AGE_S

ObstacleCode = Literal["OVER_15_MINUTES", "OVER_TIMEOUT", "OVER_24_HOURS", "OVER_JOB_AGE", "OVER_DISK"]
HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One reason, and what to do about it."""

    code: ObstacleCode
    stage: str | None
    message: str


def obstacles(deployment: Deployment, plans: StagePlans, stages: Sequence[StageQuote]) -> tuple[Obstacle, ...]:
    """All obstacles, in the order of the stages, then those of the whole job. Empty if the job can finish."""
    allowed = allowed_s(plans)
    found = [obstacle for stage in stages for obstacle in _stage_obstacles(stage, deployment, allowed)]
    total = sum(stage.seconds for stage in stages)
    if total > MAX_JOB_AGE_S:
        found.append(
            Obstacle(
                code="OVER_JOB_AGE",
                stage=None,
                message=f"all stages take {total / HOUR_S:.1f} h; a job that is older than {MAX_JOB_AGE_S // HOUR_S} h "
                "is ended. Run more workers, or split the file",
            )
        )
    return tuple(found)


def _stage_obstacles(stage: StageQuote, deployment: Deployment, allowed: dict[str, int]) -> Iterator[Obstacle]:
    one = f"a unit of {stage.stage}" if stage.runs > 1 else stage.stage
    text = f"{one} takes {stage.longest_s / 60:.0f} min"
    if stage.longest_s > LONGEST_S:
        yield Obstacle(
            code="OVER_24_HOURS",
            stage=stage.stage,
            message=f"{text}; no stage may take more than {LONGEST_S // HOUR_S} h. Run more workers, or split the file",
        )
    elif stage.where == "function" and stage.longest_s > FUNCTION_LONGEST_S:
        yield Obstacle(
            code="OVER_15_MINUTES",
            stage=stage.stage,
            message=f"{text} in a function, which may run for {FUNCTION_LONGEST_S // 60}. Lower lambda_file_bytes, or "
            "run more workers",
        )
    elif (limit := allowed.get(stage.stage)) is not None and stage.longest_s > limit:
        yield Obstacle(
            code="OVER_TIMEOUT",
            stage=stage.stage,
            message=f"{text}; its limit for a file of this size is {limit / 60:.0f}. Run more workers, or split the "
            "file",
        )
    if stage.disk_gb > (room := _room(stage, deployment)):
        yield Obstacle(
            code="OVER_DISK",
            stage=stage.stage,
            message=f"{stage.stage} needs {stage.disk_gb:.1f} GB of disk, but where it runs ({stage.where}) there are "
            f"{room:.1f}. {_more_room(stage)}",
        )


def _room(stage: StageQuote, deployment: Deployment) -> float:
    match stage.where:
        case "workers":
            return deployment.worker.disk_gb
        case "functions":
            return 0.0  # they need no disk
        case target:
            return deployment.resources(target).disk_gb


def _more_room(stage: StageQuote) -> str:
    match stage.where:
        case "workers":
            return "Give the topics more partitions, or the workers more disk"
        case "function":
            return "Lower lambda_file_bytes"
        case _:
            return "Give tasks more disk, or lower fargate_file_bytes"
