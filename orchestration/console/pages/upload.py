"""Upload a file: the browser sends it to the object store, then the service looks at it before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.audiences import AudiencesView
from orchestration.access.views.jobs import JobsView
from orchestration.access.views.operations import OperationsView
from orchestration.access.views.submissions import SubmissionsView
from orchestration.access.views.uploads import UploadsView
from orchestration.api.models.submissions import ImportSettings, NewColumn, NewImport
from orchestration.console.desk import Desk, ask
from orchestration.console.forms import form_of, fresh_key, key_of
from orchestration.console.frame import Frame, frame_of
from orchestration.console.job_texts import id_of, title_of
from orchestration.console.language import Texts
from orchestration.console.pages.job import Fault, RejectCount, fault_of, reject_text
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.receipts import Sum, sums_of
from orchestration.console.rendering import see_other, shown
from schemas.columns import ImportMode
from schemas.errors import UserError

AUDIENCES: Final = 500
MODES: Final[tuple[ImportMode, ...]] = get_args(ImportMode)
CHECKS: Final = frozenset({"inspection", "dry_run"})
MAX_BROWSER_BYTES: Final = 5 * 2**30
"""What one PUT takes; larger files go by the command line, in parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPage:
    """Choose a file. `like`: a job whose settings the import takes over, and `like_title`: what it imported."""

    uploads_path: str
    next_path: str
    audiences: Sequence[str]
    audience: str
    like: str
    like_title: str
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPage:
    """A file that has arrived, before its import."""

    name: str
    size: int
    audience: str
    check_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedColumn:
    """A column of the file that can be kept. `index`: names its fields in the form."""

    index: int
    name: str
    source: str
    type: str
    nulls: int
    examples: str
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPart:
    """What a look at the file has found so far: nothing yet, a fault, an inspection, or what an import would do."""

    running_path: str | None
    fault: Fault | None
    rows: int = 0
    format: str = ""
    rejects: Sequence[RejectCount] = ()
    rejected: int = 0
    hints: Sequence[str] = ()
    columns: Sequence[CheckedColumn] = ()
    id_column: str = ""
    id_columns: Sequence[str] = ()
    audience: str = ""
    mode: str = "replace"
    modes: Sequence[str] = MODES
    max_reject_percent: str = "0"
    try_path: str = ""
    start_path: str = ""
    key: str = ""
    sums: Sequence[Sum] = ()
    problems: Sequence[Fault] = ()
    tried: bool = False


async def choose(request: Request) -> Response:
    """The page with the drop zone."""
    like, audience = request.query_params.get("like", ""), request.query_params.get("audience", "")[:63]

    def call(desk: Desk) -> Response:
        frame = frame_of(request, desk, "upload")
        uploads = desk.view(UploadsView)
        job = desk.view(JobsView).job(like) if like else None
        found = desk.view(AudiencesView).audiences(limit=AUDIENCES).items if desk.may(Action.READ) else []
        page = UploadPage(
            uploads_path=f"/v1/tenants/{desk.tenant}/uploads",
            next_path=in_tenant(desk.tenant, "uploads", "UPLOAD"),
            audiences=[str(one["audience"]) for one in found],
            audience=str(job["audience"]) if job else audience,
            like="" if job is None else id_of(job),
            like_title="" if job is None else title_of(job, frame.texts),
            max_bytes=MAX_BROWSER_BYTES,
        )
        return shown("upload.html", replace(frame, connect=[uploads.origin()]), page)

    return await ask(request, call)


async def show_upload(request: Request) -> Response:
    """The page of a file that has arrived; it asks for the look at it."""
    given = {name: request.query_params.get(name, "")[:63] for name in ("audience", "like")}

    def call(desk: Desk) -> Response:
        frame = frame_of(request, desk, "upload")
        found = desk.view(UploadsView).upload(request.path_params["upload"])
        page = CheckPage(
            name=found["name"],
            size=found["size"],
            audience=given["audience"],
            check_path=in_tenant(desk.tenant, "uploads", found["upload"], "check", **given),
        )
        return shown("check.html", frame, page)

    return await ask(request, call)


async def check(request: Request) -> Response:
    """Begin to inspect the file."""
    await form_of(request)
    given = {name: request.query_params.get(name, "")[:63] for name in ("audience", "like")}

    def call(desk: Desk) -> Response:
        frame, upload = frame_of(request, desk, "upload"), request.path_params["upload"]
        source = desk.view(UploadsView).upload(upload)["source"]
        begun = desk.view(OperationsView).inspect(source, kind="audience", format_=None)
        return _part(desk, frame, upload, begun, given)

    return await ask(request, call)


async def try_it(request: Request) -> Response:
    """Begin a dry run with the settings of the form."""
    form = await form_of(request)
    wanted = settings_of(form)

    def call(desk: Desk) -> Response:
        frame, upload = frame_of(request, desk, "upload"), request.path_params["upload"]
        source = desk.view(UploadsView).upload(upload)["source"]
        begun = desk.view(OperationsView).try_import(source, target=form.get("audience", ""), spec=wanted.changes())
        return _part(desk, frame, upload, begun, {})

    return await ask(request, call)


async def show_check(request: Request) -> Response:
    """How far a look at the file is, and what it has found."""
    given = {name: request.query_params.get(name, "")[:63] for name in ("audience", "like")}

    def call(desk: Desk) -> Response:
        frame, upload = frame_of(request, desk, "upload"), request.path_params["upload"]
        found = desk.view(OperationsView).operation(request.path_params["operation"])
        if found["kind"] not in CHECKS:
            raise UserError("UNKNOWN_OPERATION", "this operation is no look at a file")
        return _part(desk, frame, upload, found, given)

    return await ask(request, call)


async def start(request: Request) -> Response:
    """Start the import."""
    form = await form_of(request)
    key, wanted = key_of(request, form), settings_of(form)
    upload = request.path_params["upload"]

    def call(desk: Desk) -> Response:
        try:
            order = NewImport(audience=form.get("audience", ""), upload=upload, settings=wanted).order()
        except ValidationError as exc:
            raise _invalid(exc) from exc
        started = desk.view(SubmissionsView).start_import(order, key)
        path = in_tenant(desk.tenant, "jobs", str(started["job"]), started="1")
        return see_other(path)

    return await ask(request, call)


def settings_of(form: Mapping[str, str]) -> ImportSettings:
    """The settings in a form. Raises `UserError` INVALID_REQUEST."""
    indices = sorted(
        (name.removeprefix("keep-") for name in form if name.startswith("keep-")), key=lambda n: (len(n), n)
    )
    try:
        columns = [
            NewColumn.model_validate(
                {
                    "name": form.get(f"name-{index}", ""),
                    "type": form.get(f"type-{index}", "string"),
                    "source": form.get(f"source-{index}") or None,
                }
            )
            for index in indices
        ]
        return ImportSettings.model_validate(
            {
                "mode": form.get("mode", "replace"),
                "id_column": form.get("id_column") or None,
                "columns": columns,
                "max_reject_share": float(form.get("max_reject_percent") or 0) / 100,
            }
        )
    except ValidationError as exc:
        raise _invalid(exc) from exc
    except ValueError as exc:
        raise UserError("INVALID_REQUEST", "the share of rejected rows is a number of percent, from 0 to 100") from exc


def _invalid(exc: ValidationError) -> UserError:
    first = exc.errors()[0]
    return UserError("INVALID_REQUEST", f"{'/'.join(map(str, first['loc']))}: {first['msg']}")


def _part(desk: Desk, frame: Frame, upload: str, found: Record, given: Mapping[str, str]) -> Response:
    t, result = frame.texts, found["result"]
    running = found["state"] in {"pending", "running"}
    path = in_tenant(desk.tenant, "uploads", upload, "checks", found["operation"], **given)
    part = CheckPart(running_path=path if running else None, fault=fault_of(found["error"], t))
    if result is not None:
        fault = fault_of(result.get("fault"), t)
        part = replace(part, fault=fault, **(_tried(result, t) if found["kind"] == "dry_run" else {}))
        if found["kind"] == "inspection":
            part = replace(part, **_inspected(desk, upload, result, given, t))
    return shown("parts/check.html", frame, part)


def _inspected(desk: Desk, upload: str, result: Record, given: Mapping[str, str], t: Texts) -> dict[str, Any]:
    like = desk.view(JobsView).job(given["like"]) if given.get("like") else None
    spec = (like or result)["spec"] or {"id_column": "", "columns": [], "mode": "replace", "max_reject_share": 0.0}
    kept = {one["source"] or one["name"]: one for one in spec["columns"]}
    offered = {one["source"] or one["name"]: one for one in (result["spec"] or spec)["columns"]}
    seen = {one["name"]: one for one in result["columns"]}
    columns = [
        CheckedColumn(
            index=index,
            name=str(kept.get(source, one)["name"]),
            source=source,
            type=str(kept.get(source, one)["type"]),
            nulls=seen.get(source, {}).get("nulls", 0),
            examples=", ".join(seen.get(source, {}).get("examples", ())),
            kept=source in kept,
        )
        for index, (source, one) in enumerate(offered.items())
    ]
    return {
        "rows": result["rows"],
        "format": str(result["format"] or ""),
        "rejected": result["rejected"],
        "rejects": _counts(result, t),
        "hints": result["hints"],
        "columns": columns,
        "id_column": spec["id_column"],
        "id_columns": [one["name"] for one in result["columns"]],
        "audience": given.get("audience", ""),
        "mode": spec["mode"],
        "max_reject_percent": f"{100 * spec['max_reject_share']:g}",
        "try_path": in_tenant(desk.tenant, "uploads", upload, "try"),
        "start_path": in_tenant(desk.tenant, "uploads", upload, "start"),
        "key": fresh_key(),
    }


def _tried(result: Record, t: Texts) -> dict[str, Any]:
    problems = [fault for one in result.get("problems", ()) if (fault := fault_of(one, t)) is not None]
    receipt = {**result, "members": result["membership"]["members"]} if "membership" in result else result
    return {
        "sums": sums_of(receipt, t),
        "problems": problems,
        "rejected": result["rejected"],
        "rejects": _counts(result, t),
        "tried": True,
    }


def _counts(result: Record, t: Texts) -> list[RejectCount]:
    return [
        RejectCount(code=code, text=reject_text(code, t), count=count, path="")
        for code, count in result["rejected_by_code"].items()
    ]


_UPLOAD: Final = f"{IN_TENANT}/uploads/{{upload}}"
ROUTES: Final = (
    Route(f"{IN_TENANT}/upload", choose),
    Route(_UPLOAD, show_upload),
    Route(f"{_UPLOAD}/check", check, methods=["POST"]),
    Route(f"{_UPLOAD}/try", try_it, methods=["POST"]),
    Route(f"{_UPLOAD}/start", start, methods=["POST"]),
    Route(f"{_UPLOAD}/checks/{{operation}}", show_check),
)
