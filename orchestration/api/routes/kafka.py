"""Workers, lag, dead letters and events, for those who run the deployment."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.views.events import DeploymentEventsView
from orchestration.access.views.kafka import ChosenLetters, DeploymentKafkaView
from orchestration.access.views.samples import DeploymentSamplesView
from orchestration.api.answers import json_answer
from orchestration.api.models import kafka as models
from orchestration.api.models.events import DeploymentEvent, DeploymentEventKind
from orchestration.api.operation import OF_READERS, operation
from orchestration.api.routes.events import event_stream
from orchestration.api.service import asked_in_deployment, in_deployment_view
from orchestration.api.streams.response import EventStream
from schemas.dead_letters import DeadLetterState

router = APIRouter(tags=["workers"])
OF_KAFKA = ("KAFKA_UNAVAILABLE", "LOGON_REFUSED", "STACK_NOT_RUNNING")
OF_LETTERS = (*OF_KAFKA, "TOPIC_MISSING")
MAX_OFFSET = 2**63 - 1


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


@router.get("/samples", **operation(DeploymentSamplesView.samples, models.Samples))
async def list_samples(
    request: Request,
    minutes: Annotated[int, Query(ge=1, le=1440, description="How far to look back.")] = 60,
) -> Response:
    """Lag, members and rates of the groups of workers over time, from the catalog: samples of every ten seconds."""
    return json_answer(
        await in_deployment_view(request, DeploymentSamplesView, lambda view: view.samples(minutes=minutes))
    )


@router.get(
    "/events",
    **operation(DeploymentEventsView.topics, DeploymentEvent, "TOO_MANY_STREAMS", response_class=EventStream),
)
async def stream_deployment_events(
    request: Request,
    kind: Annotated[list[DeploymentEventKind] | None, Query(description="Repeatable; default: all kinds.")] = None,
) -> Response:
    """Like the events of a tenant: workers, their lag every ten seconds, and the jobs of all tenants."""
    return await event_stream(
        request,
        lambda: in_deployment_view(request, DeploymentEventsView, lambda view: view.topics(kinds=kind or ())),
    )


@router.get(
    "/dead-letters", **operation(DeploymentKafkaView.dead_letters, models.DeadLetters, *OF_READERS, *OF_LETTERS)
)
async def list_dead_letters(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 50,
    state: Annotated[list[DeadLetterState] | None, Query(description="Repeatable; default: all states.")] = None,
) -> Response:
    """The newest records that no worker could process, and what became of them."""
    return json_answer(
        await asked_in_deployment(
            request,
            DeploymentKafkaView,
            lambda view, cancellation: view.dead_letters(cancellation, limit=limit, states=state or ()),
        )
    )


@router.get(
    "/dead-letters/{dead_letter}",
    **operation(
        DeploymentKafkaView.dead_letter, models.WholeDeadLetter, *OF_READERS, *OF_LETTERS, "NO_SUCH_DEAD_LETTER"
    ),
)
async def get_dead_letter(request: Request, dead_letter: Annotated[int, Path(ge=0, le=MAX_OFFSET)]) -> Response:
    """One dead letter with its key and value. The read is recorded, since records show users."""
    return json_answer(
        await asked_in_deployment(
            request, DeploymentKafkaView, lambda view, cancellation: view.dead_letter(cancellation, dead_letter)
        )
    )


@router.post(
    "/dead-letters/replays",
    **operation(
        DeploymentKafkaView.replay_dead_letters,
        models.Replayed,
        *OF_READERS,
        *OF_LETTERS,
        "BAD_BODY",
        "NO_SUCH_DEAD_LETTER",
    ),
)
async def replay_dead_letters(request: Request, body: models.DeadLetterSelection) -> Response:
    """Send dead letters to their topics again: the original bytes to the original partitions, each letter once.

    Letters that were replayed or dismissed are left alone. Only a number replays one that is dismissed or interrupted.
    """
    return json_answer(
        await asked_in_deployment(
            request, DeploymentKafkaView, lambda view, _: view.replay_dead_letters(chosen_letters(body))
        )
    )


@router.post(
    "/dead-letters/dismissals",
    **operation(
        DeploymentKafkaView.dismiss_dead_letters,
        models.Dismissed,
        *OF_READERS,
        *OF_LETTERS,
        "BAD_BODY",
        "NO_SUCH_DEAD_LETTER",
    ),
)
async def dismiss_dead_letters(request: Request, body: models.DeadLetterSelection) -> Response:
    """Dismiss dead letters: they stay in their topic, but are no longer open. Replayed ones are left alone."""
    return json_answer(
        await asked_in_deployment(
            request, DeploymentKafkaView, lambda view, _: view.dismiss_dead_letters(chosen_letters(body))
        )
    )


def chosen_letters(body: models.DeadLetterSelection) -> ChosenLetters:
    """The letters that a body selects."""
    return ChosenLetters(dead_letters=body.dead_letters, topic=body.topic, code=body.code, up_to=body.up_to)
