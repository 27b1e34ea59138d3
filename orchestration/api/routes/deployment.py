"""The health of the service. By hand, since it is public: there is no caller, and so no view."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from muster import __version__
from orchestration.api.answers import json_answer
from orchestration.api.operation import operation
from orchestration.api.schema import model_of
from orchestration.api.service import service_of
from orchestration.records.service import Health

router = APIRouter(tags=["deployment"])


@router.get("/health", **operation(None, model_of(Health)))
async def get_health(request: Request) -> Response:
    """Whether the service and the catalog answer. Public."""
    service = service_of(request)
    await service.calls.run(service.services.check)
    return json_answer(Health(status="ok", version=__version__))
