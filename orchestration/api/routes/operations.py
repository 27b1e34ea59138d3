"""Checks of files, by hand: the body decides what is begun, and under which name the audit trail has it."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.bodies.operations import NewCheck
from orchestration.access.problems import OF_MANIFESTS, OF_UPLOADS
from orchestration.access.views.operations import Operations
from orchestration.api.answers import json_answer, location
from orchestration.api.operation import operation
from orchestration.api.schema import model_of
from orchestration.api.service import in_tenant
from orchestration.records.operations import Operation

router = APIRouter(prefix="/tenants/{tenant}", tags=["operations"])


@router.post(
    "/checks",
    **operation(
        Operations.inspect,
        model_of(Operation),
        *OF_MANIFESTS,
        *OF_UPLOADS,
        "READERS_BUSY",
        "BAD_BODY",
        "BAD_NAME",
        "BAD_SPEC",
        "BAD_URI",
        "BAD_SOURCE",
        "UPLOAD_UNFINISHED",
        status=202,
        headers=["Location"],
    ),
)
async def check_file(request: Request, tenant: str, body: NewCheck) -> Response:
    """Inspect a file in the object store, or try its import: nothing is changed."""

    def begin(view: Operations) -> Operation:
        source, given = body.source, {} if body.format is None else {"format": body.format}
        if body.target is None:
            return view.inspect(source or "", kind=body.kind, format_=body.format)
        spec = {**given, **body.spec}
        return view.try_import(
            source,
            listed=body.list,
            upload=body.upload,
            uploads=body.uploads,
            target=body.target,
            spec=spec,
            manifest=body.manifest,
        )

    begun = await in_tenant(request, Operations, tenant, begin)
    return json_answer(begun, 202, location(tenant, begun))
