"""Operations that run on after their request was answered."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.pages import Record
from orchestration.access.problems import OF_MANIFESTS, OF_UPLOADS
from orchestration.access.views.operations import OperationsView
from orchestration.api.answers import json_answer, operation_answer
from orchestration.api.models import operations as models
from orchestration.api.operation import operation
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["operations"])
BUSY = ("READERS_BUSY", "BAD_BODY")


@router.get(
    "/operations/{operation}",
    **operation(OperationsView.operation, models.Operation, "BAD_JOB_ID", "UNKNOWN_OPERATION"),
)
async def get_operation(request: Request, tenant: str, operation: str) -> Response:
    """An operation with its result or error; kept for a day. Questions: only the caller's own."""
    return json_answer(await in_tenant(request, OperationsView, tenant, lambda view: view.operation(operation)))


@router.get(
    "/checks/{operation}",
    **operation(OperationsView.operation, models.Operation, "BAD_JOB_ID", "UNKNOWN_OPERATION"),
)
async def get_check(request: Request, tenant: str, operation: str) -> Response:
    """A check of a file with its result or error; kept for a day."""
    return json_answer(await in_tenant(request, OperationsView, tenant, lambda view: view.operation(operation)))


@router.post(
    "/audiences/{audience}/differences",
    **operation(
        OperationsView.compare_versions,
        models.Operation,
        *BUSY,
        "BAD_NAME",
        "UNKNOWN_AUDIENCE",
        status=202,
        headers=["Location"],
    ),
)
async def compare_versions(request: Request, tenant: str, audience: str, body: models.NewDifference) -> Response:
    """Compare two versions: members added, removed, changed and kept."""
    begun = await in_tenant(
        request,
        OperationsView,
        tenant,
        lambda view: view.compare_versions(
            audience,
            earlier=body.earlier,
            later=body.later,
            sample=body.sample,
            after=body.after,
            change=body.change,
            values=body.values,
        ),
    )
    return operation_answer(tenant, begun)


@router.post(
    "/audiences/{audience}/files",
    **operation(
        OperationsView.write_file,
        models.Operation,
        *BUSY,
        "BAD_DESTINATION",
        "BAD_NAME",
        "BAD_TIME",
        "BAD_URI",
        "UNKNOWN_AUDIENCE",
        status=202,
        headers=["Location"],
    ),
)
async def write_file(request: Request, tenant: str, audience: str, body: models.NewFile) -> Response:
    """Write a version as one Parquet file, whose digest is compared with that of the version."""
    begun = await in_tenant(
        request,
        OperationsView,
        tenant,
        lambda view: view.write_file(
            audience, to=body.to, version=body.version, as_of=body.as_of, overwrite=body.overwrite
        ),
    )
    return operation_answer(tenant, begun)


@router.post(
    "/segments/{segment}/checks",
    **operation(
        OperationsView.check_segment,
        models.Operation,
        *BUSY,
        "BAD_NAME",
        "UNKNOWN_SEGMENT",
        status=202,
        headers=["Location"],
    ),
)
async def check_segment(request: Request, tenant: str, segment: str, body: models.NewSegmentCheck) -> Response:
    """Compare the members that workers have with the rule over the archive, at the same offsets and instant."""
    begun = await in_tenant(
        request, OperationsView, tenant, lambda view: view.check_segment(segment, timeout_s=body.timeout_s)
    )
    return operation_answer(tenant, begun)


@router.post(
    "/checks",
    **operation(
        OperationsView.inspect,
        models.Operation,
        *BUSY,
        *OF_MANIFESTS,
        *OF_UPLOADS,
        "BAD_NAME",
        "BAD_SPEC",
        "BAD_URI",
        "BAD_SOURCE",
        "UPLOAD_UNFINISHED",
        status=202,
        headers=["Location"],
    ),
)
async def check_file(request: Request, tenant: str, body: models.NewCheck) -> Response:
    """Inspect a file in the object store, or try its import: nothing is changed."""

    def begin(view: OperationsView) -> Record:
        source, given = body.source, {} if body.format is None else {"format": body.format}
        if body.target is None:
            return view.inspect(source or "", kind=body.kind, format_=body.format)
        spec = {**given, **body.spec}
        return view.try_import(source, upload=body.upload, target=body.target, spec=spec, manifest=body.manifest)

    return operation_answer(tenant, await in_tenant(request, OperationsView, tenant, begin))
