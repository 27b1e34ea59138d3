"""Workers, lag and dead letters, for those who run the deployment."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.views.kafka import DeploymentKafkaView
from orchestration.api.answers import json_answer
from orchestration.api.models import kafka as models
from orchestration.api.operation import OF_READERS, operation
from orchestration.api.service import asked_in_deployment

router = APIRouter(tags=["workers"])
OF_KAFKA = ("KAFKA_UNAVAILABLE", "LOGON_REFUSED", "STACK_NOT_RUNNING")


@router.get("/workers", **operation(DeploymentKafkaView.workers, models.Workers, *OF_READERS, *OF_KAFKA))
async def list_workers(request: Request) -> Response:
    """Workers wherever they run, with their partitions."""
    return json_answer(
        await asked_in_deployment(request, DeploymentKafkaView, lambda view, cancellation: view.workers(cancellation))
    )


@router.get("/lag", **operation(DeploymentKafkaView.lag, models.Lag, *OF_READERS, *OF_KAFKA))
async def get_lag(request: Request) -> Response:
    """How many messages each group of workers has not acknowledged, by partition."""
    return json_answer(
        await asked_in_deployment(request, DeploymentKafkaView, lambda view, cancellation: view.lag(cancellation))
    )


@router.get("/dead-letters", **operation(DeploymentKafkaView.dead_letters, models.DeadLetters, *OF_READERS, *OF_KAFKA))
async def list_dead_letters(request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> Response:
    """The newest records that no worker could decode."""
    return json_answer(
        await asked_in_deployment(
            request, DeploymentKafkaView, lambda view, cancellation: view.dead_letters(cancellation, limit=limit)
        )
    )


@router.post(
    "/dead-letters/replays",
    **operation(
        DeploymentKafkaView.replay_dead_letters,
        models.Replayed,
        *OF_READERS,
        *OF_KAFKA,
        "BAD_BODY",
        "NO_SUCH_DEAD_LETTER",
    ),
)
async def replay_dead_letters(request: Request, body: models.NewReplay) -> Response:
    """Send dead letters to their topics again: the original bytes to the original partitions."""
    return json_answer(
        await asked_in_deployment(
            request, DeploymentKafkaView, lambda view, _: view.replay_dead_letters(body.dead_letters)
        )
    )
